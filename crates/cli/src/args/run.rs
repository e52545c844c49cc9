//! `run`.

use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, LimitArgs, RecordArgs, ShowArgs};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The task: its name, or the end of it
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// Where tasks run
    #[arg(short, long, value_name = "inline|threads|procs", help_heading = "Running")]
    pub(crate) backend: Option<String>,
    /// How many run at once: a number, all usable cores but N, or a share [default: one per usable core]
    #[arg(short = 'j', long, value_name = "N|-N|N%", allow_hyphen_values = true, help_heading = "Running")]
    pub(crate) workers: Option<String>,
    /// Inputs per dispatch; `auto` sends short tasks together
    #[arg(long, value_name = "N|auto", default_value = "auto", help_heading = "Running")]
    pub(crate) chunk: String,
    /// Print what would run, and where; run nothing
    #[arg(short = 'n', long, help_heading = "Running")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Write results to FILE, which must be new, instead of standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the file of `--output`
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) force: bool,
    /// Results in input order, not as they come
    #[arg(short, long, help_heading = "Output")]
    pub(crate) keep_order: bool,
    /// Say nothing but what goes wrong
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    /// Print events as JSON Lines in place of bare results
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}
