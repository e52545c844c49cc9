//! How a run is shown: alike for `run` and `exec`.

use std::path::PathBuf;

use clap::Args;

use crate::{progress::Progress, report::Show};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShowArgs {
    /// Say of each input that it is done
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// How progress is shown: `auto` is a bar on a terminal, and a line every ten seconds elsewhere
    #[arg(long, value_enum, default_value_t, value_name = "auto|bar|lines|none", hide_possible_values = true)]
    pub(crate) progress: Progress,
}

impl ShowArgs {
    pub(crate) fn show(&self, json: bool, quiet: bool, output: &Option<PathBuf>, force: bool) -> Show {
        Show { json, quiet, verbose: self.verbose, progress: self.progress, output: output.clone(), force }
    }
}
