//! What is kept of a run: alike for `run` and `exec`.

use clap::Args;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Record")]
pub(crate) struct RecordArgs {
    /// Keep the record of this run under this name; `none` keeps none
    #[arg(long, value_name = "NAME|none", conflicts_with = "resume")]
    pub(crate) record: Option<String>,
    /// Leave out what RUN has recorded as done, and go on with its record
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<String>,
}
