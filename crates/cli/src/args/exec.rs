//! `exec`.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

use super::{InputArgs, LimitArgs, RecordArgs, ShowArgs};

const USAGE: &str = "taskloom exec [OPTIONS] [::: INPUT...]... -- COMMAND [ARG...]";

const PLACEHOLDERS: &str = "\
Placeholders in COMMAND and ARGs (with none, the input becomes the last argument):
  {}      the input                 {#}     its number, from 1
  {.}     without its extension     {slot}  a number from 0, unique among running commands
  {/}     base name                 {name}  a field of a JSON input
  {//}    folder                    {1}     with several `:::`: the value from the first one

Commands see TASKLOOM_TASK_INPUT, TASKLOOM_TASK_INDEX, TASKLOOM_TASK_SLOT and TASKLOOM_TASK_ATTEMPT.";

#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = PLACEHOLDERS)]
pub(crate) struct ExecArgs {
    /// The command and its arguments, behind `--`
    #[arg(last = true, value_name = "COMMAND", required = true)]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    #[command(flatten)]
    pub(crate) running: RunningArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunningArgs {
    /// Where commands run: they are processes of their own, `procs`
    #[arg(short, long, value_name = "procs")]
    pub(crate) backend: Option<String>,
    /// How many run at once: a number, all usable cores but N, or a share [default: one per usable core]
    #[arg(short = 'j', long, value_name = "N|-N|N%", allow_hyphen_values = true)]
    pub(crate) workers: Option<String>,
    /// Have the words read by a shell as one line; placeholders are quoted for it
    #[arg(long)]
    pub(crate) shell: bool,
    /// Set a variable of the environment
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<OsString>,
    /// Start commands in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Print what would run; run nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write what commands print to FILE, which must be new, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the file of `--output`
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// What commands print in input order, not as they end
    #[arg(short, long)]
    pub(crate) keep_order: bool,
    /// Begin each line with its input
    #[arg(long)]
    pub(crate) tag: bool,
    /// Let commands write directly, mixed as it comes
    #[arg(long, conflicts_with_all = ["output", "keep_order", "tag", "json"])]
    pub(crate) ungroup: bool,
    /// Say nothing but what goes wrong
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    /// Print events as JSON Lines; what commands print is in them
    #[arg(long)]
    pub(crate) json: bool,
}
