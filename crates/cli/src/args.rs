//! What was typed: parsing only. Whether it makes sense is [`Plan`](crate::plan::Plan)'s question.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs tasks inline, on threads, or in isolated worker processes.
#[derive(Debug, Parser)]
#[command(name = "taskloom", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tasks in this binary, or one task's arguments
    Tasks(TasksArgs),
    /// Run a task once per input; results are JSON lines on standard output
    Run(RunArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Show this task alone, with its arguments
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The task: its name, or the end of it
    pub(crate) task: String,
    /// Inputs as JSON Lines, one per line; `-` for standard input
    #[arg(short, long, value_name = "FILE", help_heading = "Input")]
    pub(crate) input: Vec<PathBuf>,
    /// One string per line of FILE; `-` for standard input
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) lines: Vec<PathBuf>,
    /// One path per file that fits: `*`, `?`, `[a-z]`, `**`; quote it
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    pub(crate) files: Vec<PathBuf>,
    /// The integers from A up to, not including, B
    #[arg(long, value_name = "A..B", allow_hyphen_values = true, help_heading = "Input")]
    pub(crate) range: Vec<String>,
    /// No input at all is no error
    #[arg(long, help_heading = "Input")]
    pub(crate) allow_empty: bool,
    /// What an input that does not fit the task does
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "stop|skip",
        hide_possible_values = true,
        help_heading = "Input"
    )]
    pub(crate) on_bad_input: OnBadInput,
    /// Where tasks run
    #[arg(short, long, value_name = "inline|threads|procs", help_heading = "Running")]
    pub(crate) backend: Option<String>,
    /// How many run at once [default: one per usable core]
    #[arg(short = 'j', long, value_name = "N", help_heading = "Running")]
    pub(crate) workers: Option<usize>,
    /// Inputs per dispatch; `auto` sends short tasks together
    #[arg(long, value_name = "N|auto", default_value = "auto", help_heading = "Running")]
    pub(crate) chunk: String,
    /// Results in input order, not as they come
    #[arg(short, long, help_heading = "Output")]
    pub(crate) keep_order: bool,
    /// Print events as JSON Lines in place of bare results
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// What an input does that is not the task's arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadInput {
    /// It ends the run; in a regular file before the first task starts.
    #[default]
    Stop,
    /// It is left out, and listed at the end.
    Skip,
}
