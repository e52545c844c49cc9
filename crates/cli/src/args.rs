//! What was typed: parsing only. Whether it makes sense is [`Plan`](crate::plan::Plan)'s question.

mod about;
mod exec;
mod inputs;
mod limits;
mod record;
mod run;
mod runs;
mod show;

use clap::{Args, Parser, Subcommand};

use crate::terminal::Colour;

pub(crate) use self::{
    about::{CompletionsArgs, DoctorArgs, ManArgs},
    exec::ExecArgs,
    inputs::{InputArgs, OnBadInput},
    limits::LimitArgs,
    record::RecordArgs,
    run::RunArgs,
    runs::{RunsArgs, RunsCommand},
    show::ShowArgs,
};

/// Runs tasks inline, on threads, or in isolated worker processes.
#[derive(Debug, Parser)]
#[command(name = "taskloom", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "auto|always|never", hide_possible_values = true)]
    pub(crate) color: Option<Colour>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tasks in this binary, or one task's arguments
    Tasks(TasksArgs),
    /// Run a task once per input; results are JSON lines on standard output
    Run(Box<RunArgs>),
    /// Run a command once per input, without a shell
    Exec(Box<ExecArgs>),
    /// List recorded runs, look at them, stop, go on with or delete them
    Runs(RunsArgs),
    /// Show cores, memory, backends and settings as this program sees them
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Show this task alone, with its arguments
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
