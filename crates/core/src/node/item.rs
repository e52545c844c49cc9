//! One item of a node: how far it is, and what is known of it.

use std::time::Instant;

use crate::{
    error::{Kind, TaskError},
    event::{Finished, Metrics, TaskOutput},
    parcel::Parcel,
    task::Task,
    work::Callback,
};

pub(crate) struct Item<T: Task> {
    pub(super) stage: Stage<T>,
    pub(super) attempt: u32,
    pub(super) worker: u32,
    /// Whether it still counts as queued.
    pub(super) counted: bool,
    pub(super) extra: Option<Box<Extra>>,
}

pub(super) enum Stage<T: Task> {
    /// Waits; the arguments are here, or in the cargo.
    Queued(Option<T>),
    /// With a worker elsewhere that has not said that it began.
    Sent,
    Running,
    /// It succeeded elsewhere, and nobody has read the result.
    Arrived(Parcel),
    Done(Result<T::Output, TaskError>),
    /// The value was given away; this is how it ended.
    Taken(Kind),
}

/// What few tasks need.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) submitted: Option<Instant>,
    pub(super) started: Option<Instant>,
    pub(super) metrics: Metrics,
    /// What the attempt printed.
    pub(super) output: Option<Box<TaskOutput>>,
    pub(super) doom: Option<Doom>,
    pub(super) callbacks: Vec<Callback>,
    /// How it ended, once it has.
    pub(super) finished: Option<Finished>,
}

/// An end that was decided before the task's own.
pub(super) struct Doom {
    pub(super) error: TaskError,
    /// Whether it counts even if the task still returns.
    pub(super) whatever: bool,
}

pub(super) const NO_WORKER: u32 = u32::MAX;

/// What came of an attempt.
pub(super) enum Outcome<R> {
    Read(Result<R, TaskError>),
    Unread(Parcel),
}

impl<R> Outcome<R> {
    pub(super) fn error(&self) -> Option<&TaskError> {
        match self {
            Self::Read(Err(error)) => Some(error),
            _ => None,
        }
    }
}

impl<R> From<Result<R, TaskError>> for Outcome<R> {
    fn from(outcome: Result<R, TaskError>) -> Self {
        Self::Read(outcome)
    }
}

impl<T: Task> Stage<T> {
    /// Whether nothing about it will change any more, but that it is read and taken.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Arrived(_) | Self::Done(_) | Self::Taken(_))
    }
}

impl<T: Task> Item<T> {
    /// An item that waits. `None` if its arguments are in the node's cargo.
    pub(crate) fn new(task: Option<T>, submitted: Option<Instant>) -> Self {
        let extra = submitted.map(|at| Box::new(Extra { submitted: Some(at), ..Extra::default() }));
        Self { stage: Stage::Queued(task), attempt: 1, worker: NO_WORKER, counted: true, extra }
    }

    /// An item that ended before it was submitted: its arguments cannot be carried.
    pub(crate) fn refused(error: TaskError) -> Self {
        Self { stage: Stage::Done(Err(error)), attempt: 1, worker: NO_WORKER, counted: false, extra: None }
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(super) fn begin(&mut self, worker: u32) {
        self.stage = Stage::Running;
        self.worker = worker;
        if let Some(extra) = &mut self.extra {
            let now = Instant::now();
            extra.started = Some(now);
            extra.metrics.queued = extra.submitted.map(|at| now - at);
            extra.output = None;
        }
    }
}
