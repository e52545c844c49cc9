//! Where inputs come from: alike for `run` and `exec`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Inputs as JSON Lines, one per line, or as a `.json` array; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,
    /// One string per line of FILE; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) lines: Vec<PathBuf>,
    /// Lines end with NUL, as `find -print0` writes them
    #[arg(short = '0', long)]
    pub(crate) null: bool,
    /// One path per file that fits: `*`, `?`, `[a-z]`, `**`; quote it
    #[arg(long, value_name = "GLOB")]
    pub(crate) files: Vec<PathBuf>,
    /// The integers from A up to, not including, B
    #[arg(long, value_name = "A..B", allow_hyphen_values = true)]
    pub(crate) range: Vec<String>,
    /// One input, as JSON
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) arg: Vec<String>,
    /// Only these inputs, by number: `3,10-12`
    #[arg(long, value_name = "NUMBERS")]
    pub(crate) only: Option<String>,
    /// No input at all is no error
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// What an input that cannot be used does
    #[arg(long, value_enum, default_value_t, value_name = "stop|skip", hide_possible_values = true)]
    pub(crate) on_bad_input: OnBadInput,
    /// What stood behind each `:::`.
    #[arg(skip)]
    pub(crate) lists: Vec<Vec<OsString>>,
    /// What is read in place of standard input.
    #[arg(skip)]
    pub(crate) stdin: Option<PathBuf>,
}

/// What an input does that cannot be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadInput {
    /// It ends the run; in a regular file before the first task starts.
    #[default]
    Stop,
    /// It is left out, and listed at the end.
    Skip,
}
