//! What you will see: the number of words in `Cargo.toml`, then one line for each entry of the current folder: its
//! count, or the error that reading it as text gave. A folder is no text, and costs nobody else anything.
//!
//! ```sh
//! cargo run -p taskloom-examples --bin 01_first
//! ```
//!
//! The idea: a task is written once. Change `procs` to `threads` or `inline`, in the two places where it stands, and
//! everything else stays as it is.

use std::{path::PathBuf, time::Duration};
use taskloom::{Context, Policy, Retry, procs, task};

/// Plain Rust function; still callable as `count_words(path)`.
#[task]
fn count_words(path: PathBuf) -> anyhow::Result<u64> {
    Ok(std::fs::read_to_string(path)?.split_whitespace().count() as u64)
}

/// A task may ask for its context: cancellation, progress, attempt, worker, a seed that depends on the task's index alone.
#[task]
fn crunch(cx: &Context, seed: u64) -> u64 {
    if cx.is_cancelled() { 0 } else { seed }
}

fn main() -> anyhow::Result<()> {
    taskloom::init(); // first line; in a worker process it never returns

    let pool = procs::pool().workers(4).build()?; // or threads::pool(), inline::pool()
    let handle = pool.submit(count_words::task("Cargo.toml".into()))?; // one task, one handle
    println!("{}", handle.join()?); // join, try_join, join_timeout, join_deadline, .await

    let files = std::fs::read_dir(".")?.map(|e| e.unwrap().path());
    for (i, count) in pool.map(files.map(count_words::task)).enumerate() {
        // lazy, in input order; map_unordered too
        println!("{i}: {:?}", count); // Result<u64, TaskError>, one per input
    }

    let careful = pool.with(Policy::new().timeout(Duration::from_secs(5)).retry(Retry::crashes(2))); // a view with another policy
    careful.submit(crunch::task(7))?.join()?;
    Ok(())
}
