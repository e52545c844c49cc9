//! Tasks that overrun, fail a while, or come back late.

use std::{
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use taskloom::{Context, task};

use super::{End, end};
use crate::{
    misdeeds,
    scratch::{Gate, append_line},
};

/// Its number; the one numbered `slow` takes until it is told to stop.
#[task]
pub fn overruns_if(cx: &Context, number: u64, slow: u64) -> u64 {
    while number == slow && !cx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    number
}

/// Ignores SIGTERM as its child does, notes both processes in `file`, and never ends.
#[task]
pub fn never_ends(file: PathBuf) -> Result<u64, io::Error> {
    misdeeds::ignore(libc::SIGTERM);
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
    append_line(&file, &format!("{} {}", std::process::id(), child.id()));
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Notes its attempt, and ends as told on the attempts before `succeeds_at`; its attempt then.
#[task]
pub fn ends_until(cx: &Context, file: PathBuf, how: End, succeeds_at: u32) -> Result<u64, String> {
    append_line(&file, &cx.attempt().to_string());
    end(if cx.attempt() < succeeds_at { how } else { End::Value }, cx.attempt().into())
}

/// Notes the beginning and the end of each attempt; the attempts before `succeeds_at` last until they are told to stop.
#[task]
pub fn notes_both_ends(cx: &Context, file: PathBuf, succeeds_at: u32) -> u32 {
    let attempt = cx.attempt();
    append_line(&file, &format!("begin {attempt}"));
    while attempt < succeeds_at && !cx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    append_line(&file, &format!("end {attempt}"));
    attempt
}

/// Notes its thread, as a path below `/proc`. The first attempt waits at its gate, whatever it is told, all others at
/// theirs. Gives its attempt.
#[task]
pub fn comes_late(cx: &Context, file: PathBuf, first: Gate, others: Gate) -> Result<u32, io::Error> {
    append_line(&file, &fs::read_link("/proc/thread-self")?.to_string_lossy());
    let gate = if cx.attempt() == 1 { first } else { others };
    gate.pass(|| false);
    Ok(cx.attempt())
}
