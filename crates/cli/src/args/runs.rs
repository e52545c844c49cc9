//! `runs`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) what: Option<RunsCommand>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List recorded runs, the newest first
    List,
    /// Show what is recorded of a run, by default of the newest
    Show {
        /// Its id, or the start of it
        run: Option<String>,
    },
    /// Ask a run to stop, as Ctrl-C does
    Cancel {
        /// Its id, or the start of it
        run: String,
    },
    /// Run again whatever is not a recorded success, with the words that were typed then
    Resume {
        /// Its id, or the start of it
        run: String,
    },
    /// Delete recorded runs; by default those that are over the limits on number, age and size
    Prune {
        /// These, by id or the start of it
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// Keep this many, the newest
        #[arg(long, value_name = "N", conflicts_with = "runs")]
        keep: Option<usize>,
        /// Delete what is older than this
        #[arg(long, value_name = "TIME", conflicts_with = "runs")]
        older: Option<String>,
        /// Say what would be deleted; delete nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}
