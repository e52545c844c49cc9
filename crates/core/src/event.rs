//! What happens in a pool, as one stream: journal, progress bar, trace and report are readers of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Kind, TaskError};

/// One step of one task, or of one worker. A task's events come in this order: queued, started,
/// progress, (retrying, started, progress), finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A task was accepted.
    #[non_exhaustive]
    Queued {
        /// The task.
        task: u64,
        /// Its name.
        name: String,
        /// Its place in its map.
        index: u64,
    },
    /// An attempt began on a worker.
    #[non_exhaustive]
    Started {
        /// The task.
        task: u64,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The worker.
        worker: u32,
    },
    /// A task said how far it is.
    #[non_exhaustive]
    Progress {
        /// The task.
        task: u64,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// An attempt ended, and there will be another.
    #[non_exhaustive]
    Retrying {
        /// The task.
        task: u64,
        /// The attempt that ended.
        attempt: u32,
        /// How it ended.
        kind: Kind,
        /// Its error, in one line.
        error: String,
        /// How long until the next one may start.
        after: Duration,
    },
    /// A task has its outcome.
    Finished(Finished),
    /// A worker is ready.
    #[non_exhaustive]
    WorkerStarted {
        /// Its number.
        worker: u32,
        /// Its process id; the own one for threads.
        pid: u32,
    },
    /// A worker is gone.
    #[non_exhaustive]
    WorkerEnded {
        /// Its number.
        worker: u32,
        /// Its process id.
        pid: u32,
        /// How it ended; empty if it was told to.
        how: String,
    },
}

impl Event {
    /// A task said how far it is.
    pub fn progress(task: u64, done: u64, total: u64) -> Self {
        Self::Progress { task, done, total }
    }
    /// A worker is ready.
    pub fn worker_started(worker: u32, pid: u32) -> Self {
        Self::WorkerStarted { worker, pid }
    }
    /// A worker is gone; `how` is empty if it was told to end.
    pub fn worker_ended(worker: u32, pid: u32, how: impl Into<String>) -> Self {
        Self::WorkerEnded { worker, pid, how: how.into() }
    }
    /// The task it is about, if it is about one.
    pub fn task(&self) -> Option<u64> {
        match self {
            Self::Queued { task, .. }
            | Self::Started { task, .. }
            | Self::Progress { task, .. }
            | Self::Retrying { task, .. } => Some(*task),
            Self::Finished(finished) => Some(finished.task),
            Self::WorkerStarted { .. } | Self::WorkerEnded { .. } => None,
        }
    }
}

/// How a task ended: everything but its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finished {
    /// The task's id.
    pub task: u64,
    /// Its name.
    pub name: String,
    /// Its place in its map.
    pub index: u64,
    /// How it ended, in one word.
    pub kind: Kind,
    /// Its error in one line; empty if it succeeded.
    pub error: String,
    /// The last attempt, from 1; 0 if it never started.
    pub attempt: u32,
    /// The worker of the last attempt.
    pub worker: Option<u32>,
    /// What was measured. Tasks of a pool are measured if it was built with `metrics(true)` or has readers of events.
    pub metrics: Metrics,
    /// What the last attempt printed, in pools built with `capture_output(true)`.
    pub output: Option<Box<TaskOutput>>,
}

/// What a task printed, as far as it was kept: the end of it, if it was much.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Bytes of both that came before what was kept.
    pub dropped: u64,
}

impl Finished {
    pub(crate) fn error(error: Option<&TaskError>) -> (Kind, String) {
        error.map_or((Kind::Succeeded, String::new()), |error| (error.kind(), error.to_string()))
    }
}

/// What a task cost. `None` where it was not measured or cannot be on that backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// From submission to the start of the last attempt.
    pub queued: Option<Duration>,
    /// Running time of the last attempt.
    pub wall: Option<Duration>,
    /// CPU time of the worker's thread during the last attempt.
    pub cpu: Option<Duration>,
    /// Size of the encoded arguments, where they were encoded.
    pub bytes_in: Option<u64>,
    /// Size of the encoded result, where it was encoded.
    pub bytes_out: Option<u64>,
    /// Highest resident memory of the worker so far, in bytes, where it is a process.
    pub peak_memory: Option<u64>,
}
