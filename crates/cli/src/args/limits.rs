//! What tasks and commands may take, and what happens when they fail: alike for `run` and `exec`.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Stop what runs longer than this
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Time between asking it to end and killing it
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) grace: String,
    /// Mark what runs longer than this
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) slow: String,
    /// Kill what takes more memory
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Try again so many times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// After which ends to try again: fail, panic, crash, timeout, memory, lost [default: all]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) retry_on: Vec<String>,
    /// Time before the second attempt; doubles with each
    #[arg(long, value_name = "TIME")]
    pub(crate) backoff: Option<String>,
    /// Start nothing more after so many failures; with `:now`, end what runs as well
    #[arg(long, value_name = "N|P%|all[:now]", default_value = "all")]
    pub(crate) max_fail: String,
    /// Limit for the whole run
    #[arg(long, value_name = "TIME")]
    pub(crate) run_timeout: Option<String>,
    /// Start nothing while less memory than this is free
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free_memory: Option<String>,
}
