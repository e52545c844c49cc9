//! How a command ended: its status, and the words for it.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Instant};

use serde_json::json;
use taskloom::Death;

use super::command::EndedBy;
use crate::{
    limits::{self, Limits},
    outcome::{Status, Trouble},
    words,
};

/// What is known of an end.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) status: ExitStatus,
    pub(crate) ended_by: Option<EndedBy>,
    /// Whether it had to be killed after it was asked to end.
    pub(crate) killed: bool,
    /// Whether the kernel killed somebody for want of memory meanwhile.
    pub(crate) kernel_killed: bool,
}

impl Ending {
    pub(crate) fn judge(&self, limits: &Limits) -> (Status, Option<Trouble>) {
        let how = how(self.status);
        match self.ended_by {
            Some(EndedBy::Timeout(at)) => {
                let limit = limits.timeout.unwrap_or_default();
                let (by, after) = (if self.killed { "SIGKILL" } else { "SIGTERM" }, at.elapsed());
                let (key, message) = limits::over_time(limit);
                let end = if self.killed { "it had to be killed" } else { "it ended" };
                let detail = format!("{key}: sent TERM, {end} after {:.1}s", after.as_secs_f64());
                let record = json!({ "message": message, "limit_s": limit.as_secs_f64(), "stopped_by": by });
                (Status::Timeout, Some(trouble(key, detail, record)))
            }
            Some(EndedBy::Memory(held)) => {
                let limit = limits.memory.unwrap_or_default();
                let key = format!("over --memory {}", words::size(limit));
                let detail = format!("held {}, {key}: killed", words::size(held));
                let record = json!({ "message": detail, "limit_bytes": limit, "held_bytes": held });
                (Status::Memory, Some(trouble(key, detail, record)))
            }
            _ if self.status.success() => (Status::Ok, None),
            Some(EndedBy::Run) => {
                let record = json!({ "message": format!("the run was ended; the command {how}") });
                (Status::Cancelled, Some(trouble(how.clone(), how, record)))
            }
            None => match (self.status.code(), self.status.signal()) {
                (Some(code), _) => {
                    let text = format!("exit code {code}");
                    let record = json!({ "message": text, "exit_code": code });
                    (Status::Fail, Some(trouble(text.clone(), text, record)))
                }
                (None, signal) => {
                    let status = if self.kernel_killed { Status::Memory } else { Status::Crash };
                    let text = match signal {
                        Some(9) if self.kernel_killed => format!("{how}: the system was out of memory"),
                        Some(9) => format!("{how}: nothing shows who sent it"),
                        _ => how,
                    };
                    let record = json!({ "message": text, "signal": signal });
                    (status, Some(trouble(text.clone(), text, record)))
                }
            },
        }
    }
}

/// A command that could not be started.
pub(crate) fn not_started(error: &std::io::Error) -> Trouble {
    let text = match error.raw_os_error().and_then(advice) {
        Some(help) => format!("cannot be started: {error}; {help}"),
        None => format!("cannot be started: {error}"),
    };
    let record = json!({ "message": text });
    trouble(text.clone(), text, record)
}

fn advice(code: i32) -> Option<&'static str> {
    let error = rustix::io::Errno::from_raw_os_error(code);
    match error {
        rustix::io::Errno::TOOBIG => Some("one argument may have 128 KiB"),
        rustix::io::Errno::NOEXEC => Some("a script begins with `#!` and its interpreter"),
        _ => None,
    }
}

fn trouble(key: String, detail: String, record: serde_json::Value) -> Trouble {
    Trouble { key, details: vec![detail], record, wall: None }
}

fn how(status: ExitStatus) -> String {
    let mut death = Death::default();
    death.signal = status.signal();
    death.exit_code = status.code();
    death.how()
}

/// The next of these points in time.
pub(crate) fn earliest(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    times.into_iter().flatten().min()
}
