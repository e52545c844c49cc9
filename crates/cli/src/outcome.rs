//! How one input ended: the record of it, the words for it, and what else is known.

use std::time::Duration;

use serde_json::{Value, json};
use taskloom::TaskError;

use crate::{input::Origin, limits::over_time, printed::Printed, record::Key, words};

/// One input's outcome, with what is known about its run.
#[derive(Debug)]
pub(crate) struct Done {
    /// Number of the input, from 1.
    pub(crate) number: u64,
    pub(crate) origin: Origin,
    /// The input for people, cut.
    pub(crate) shown: String,
    pub(crate) in_bytes: usize,
    /// By what its success is recorded.
    pub(crate) key: Option<Key>,
    pub(crate) status: Status,
    /// What a task returned.
    pub(crate) result: Option<Value>,
    /// What a command printed.
    pub(crate) printed: Option<Printed>,
    pub(crate) trouble: Option<Trouble>,
    /// The last attempt, from 1.
    pub(crate) attempt: u32,
    pub(crate) worker: Option<u32>,
    /// When it started, from the start of the run.
    pub(crate) start: Option<Duration>,
    pub(crate) wall: Option<Duration>,
    pub(crate) cpu: Option<Duration>,
}

/// What is remembered of an input until it has its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Brief {
    pub(crate) number: u64,
    pub(crate) origin: Origin,
    pub(crate) shown: String,
    pub(crate) in_bytes: usize,
    pub(crate) key: Option<Key>,
}

impl Done {
    /// A task's result, of which nothing else is known.
    pub(crate) fn of(input: Brief, result: Result<Value, TaskError>) -> Self {
        let (status, trouble) = (Status::of(&result), result.as_ref().err().map(Trouble::of));
        Self { result: result.ok(), ..Self::new(input, status, trouble) }
    }

    /// An attempt that ended so.
    pub(crate) fn failed(input: Brief, status: Status, trouble: Trouble) -> Self {
        Self::new(input, status, Some(trouble))
    }

    fn new(input: Brief, status: Status, trouble: Option<Trouble>) -> Self {
        let Brief { number, origin, shown, in_bytes, key } = input;
        Self {
            number,
            origin,
            shown,
            in_bytes,
            key,
            status,
            trouble,
            result: None,
            printed: None,
            attempt: 1,
            worker: None,
            start: None,
            wall: None,
            cpu: None,
        }
    }
}

/// Why an input did not succeed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// What equal troubles have in common, in one line.
    pub(crate) key: String,
    /// For people, a line each.
    pub(crate) details: Vec<String>,
    /// For programs.
    pub(crate) record: Value,
    /// How long it ran, where nothing better was measured.
    pub(crate) wall: Option<Duration>,
}

impl Trouble {
    /// One of which nothing more is known than this.
    pub(crate) fn plain(message: String) -> Self {
        Self { record: json!({ "message": message }), details: vec![message.clone()], key: message, wall: None }
    }

    pub(crate) fn of(error: &TaskError) -> Self {
        let (key, wall) = match error {
            // Crashes differ in worker and process; what they have in common is how the worker died.
            TaskError::Crashed(death) | TaskError::OutOfMemory(death) => (death.how(), Some(death.wall)),
            TaskError::Failed(failure) => (failure.message.clone(), None),
            TaskError::Panicked(panic) => (panic.message.clone(), None),
            TaskError::TimedOut(timed_out) => (over_time(timed_out.limit).0, Some(timed_out.limit)),
            other => (other.to_string(), None),
        };
        Self { key, details: details(error), record: record(error), wall }
    }
}

/// How an attempt ended, in the words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Status {
    Ok,
    Fail,
    Panic,
    Crash,
    Timeout,
    Memory,
    Lost,
    Cancelled,
    /// It was done before, in the run that is gone on with.
    Skip,
}

impl Status {
    pub(crate) const FAILURES: [Self; 6] =
        [Self::Fail, Self::Panic, Self::Crash, Self::Timeout, Self::Memory, Self::Lost];

    pub(crate) fn of(result: &Result<Value, TaskError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(TaskError::Panicked(_)) => Self::Panic,
            Err(TaskError::Crashed(_)) => Self::Crash,
            Err(TaskError::TimedOut(_)) => Self::Timeout,
            Err(TaskError::OutOfMemory(_)) => Self::Memory,
            Err(TaskError::Failed(_) | TaskError::Codec(_) | TaskError::Unsupported(_)) => Self::Fail,
            Err(TaskError::Cancelled | TaskError::Closed) => Self::Cancelled,
            Err(_) => Self::Lost,
        }
    }

    /// For programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Panic => "panic",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Skip => "skipped",
        }
    }

    /// In a sentence: "2 crashed".
    pub(crate) fn past(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "failed",
            Self::Panic => "panicked",
            Self::Crash => "crashed",
            Self::Timeout => "timed out",
            Self::Memory => "over memory",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Skip => "done before",
        }
    }
}

/// What is known of a failure, a line each.
fn details(error: &TaskError) -> Vec<String> {
    let mut lines = match error {
        TaskError::Failed(failure) => {
            let causes = failure.causes().map(|cause| format!("caused by: {cause}"));
            std::iter::once(failure.message.clone()).chain(causes).collect()
        }
        TaskError::Panicked(panic) => match &panic.place {
            Some(place) => vec![format!("{place}: {}", panic.message)],
            None => vec![panic.message.clone()],
        },
        TaskError::Crashed(death) | TaskError::OutOfMemory(death) => {
            let mut lines = vec![format!("worker {} {}; it was replaced", death.worker, death.how())];
            lines.extend(death.stderr.last().map(|line| format!("last line on stderr: {line}")));
            lines
        }
        TaskError::TimedOut(timed_out) => vec![over_time(timed_out.limit).0],
        other => vec![other.to_string()],
    };
    // Messages of several lines keep them; anything else that would move a cursor is escaped.
    lines = lines.iter().flat_map(|line| line.lines()).map(|line| words::shown(line, 400)).collect();
    lines
}

/// A failure for programs.
fn record(error: &TaskError) -> Value {
    match error {
        TaskError::Failed(failure) => {
            let causes: Vec<_> = failure.causes().collect();
            let mut record = json!({ "message": failure.message });
            if !causes.is_empty() {
                record["causes"] = causes.into();
            }
            record
        }
        TaskError::Panicked(panic) => json!({ "message": panic.message, "at": panic.place }),
        TaskError::Crashed(death) | TaskError::OutOfMemory(death) => {
            let mut record = json!({ "message": format!("worker {}", death.how()), "pid": death.pid });
            if let Some(signal) = death.signal {
                record["signal"] = signal.into();
            }
            if let Some(code) = death.exit_code {
                record["exit_code"] = code.into();
            }
            if let Some(line) = death.stderr.last() {
                record["stderr_tail"] = line.as_str().into();
            }
            record
        }
        TaskError::TimedOut(timed_out) => {
            json!({ "message": over_time(timed_out.limit).1, "limit_s": timed_out.limit.as_secs_f64() })
        }
        other => json!({ "message": other.to_string() }),
    }
}
