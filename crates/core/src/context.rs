//! What a task can ask and say while it runs.

use std::{cell::RefCell, fmt, sync::Arc};

use crate::{
    error::TaskError,
    failure::Failure,
    worker::{NoLink, Worker},
};

/// A task's view of its run: cancellation, progress, attempt, worker, seed. The same on every backend.
///
/// A function asks for it with a leading `&Context`; it stays on the task's thread. For other
/// threads take a [`cancel_token`](Self::cancel_token).
pub struct Context {
    worker: Worker,
    link: Arc<dyn Link>,
    run: RunId,
    escaped: RefCell<Option<TaskError>>,
}

/// How a running task is connected to its pool; implemented by backends whose workers are elsewhere.
pub trait Link: Send + Sync {
    /// Whether this attempt at the task has been asked to stop.
    fn is_cancelled(&self, attempt: u32) -> bool;
    /// Passes a task's progress report on.
    fn progress(&self, task: u64, done: u64, total: u64);
}

/// What identifies a run of a task; travels with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RunId {
    pub(crate) id: u64,
    pub(crate) pool_seed: u64,
    /// Number of the map or submission.
    pub(crate) batch: u64,
    pub(crate) index: u64,
    pub(crate) attempt: u32,
}

impl RunId {
    pub(crate) fn seed(&self) -> u64 {
        seed_of(self.pool_seed, self.batch, self.index)
    }
}

impl Context {
    pub(crate) fn new(worker: &Worker, link: Arc<dyn Link>, run: RunId) -> Self {
        Self { worker: worker.clone(), link, run, escaped: RefCell::new(None) }
    }

    /// For another run, in the same place.
    pub(crate) fn set_run(&mut self, run: RunId) {
        self.run = run;
    }

    pub(crate) fn set_link(&mut self, link: Arc<dyn Link>) {
        self.link = link;
    }

    /// The worker that it is on.
    pub(crate) fn host(&self) -> &Worker {
        &self.worker
    }

    pub(crate) fn for_init(worker: &Worker) -> Self {
        Self::new(worker, Arc::new(NoLink), RunId { attempt: 1, ..RunId::default() })
    }

    /// Whether the task has been asked to stop: cancelled, over a time limit, or its pool is ending.
    /// A task that looks now and then and returns early keeps its worker alive.
    pub fn is_cancelled(&self) -> bool {
        self.link.is_cancelled(self.run.attempt)
    }

    /// The same question for threads that the task starts itself.
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken { link: self.link.clone(), attempt: self.run.attempt }
    }

    /// Reports that `done` of `total` steps are done; readers of the pool's events see it. A report costs about as much as a message to a worker.
    pub fn progress(&self, done: u64, total: u64) {
        self.link.progress(self.run.id, done, total);
    }

    /// The task's id, as its handle and the events have it.
    pub fn id(&self) -> u64 {
        self.run.id
    }

    /// Its place in the map it belongs to, from 0; 0 for a task submitted alone.
    pub fn index(&self) -> u64 {
        self.run.index
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.run.attempt
    }

    /// The number of the worker, unique in its pool.
    pub fn worker(&self) -> u32 {
        self.worker.id()
    }

    /// The worker's place: small, unique among running workers, inherited by a replacement. Good for port and device numbers.
    pub fn slot(&self) -> u32 {
        self.worker.slot()
    }

    /// A number for random generators. It depends on the pool's seed, the number of the map or
    /// submission and the index alone: not on backend, worker, attempt or order.
    pub fn seed(&self) -> u64 {
        self.run.seed()
    }

    /// What the pool's initialiser made on this worker; `None` if there is none, or it is of another type.
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.worker.state()
    }

    /// Keeps an error that is not the task's own. The failure returned is never seen.
    pub(crate) fn escape(&self, error: TaskError) -> Failure {
        self.escaped.replace(Some(error));
        Failure::new("")
    }

    pub(crate) fn escaped(&self) -> Option<TaskError> {
        self.escaped.take()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.run.id)
            .field("index", &self.run.index)
            .field("attempt", &self.run.attempt)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

/// Tells a task's own threads whether the task has been asked to stop.
#[derive(Clone)]
pub struct CancelToken {
    link: Arc<dyn Link>,
    attempt: u32,
}

impl CancelToken {
    /// Whether the task has been asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.link.is_cancelled(self.attempt)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}

/// Mixes a pool's seed, the number of a map or submission and an index: three rounds of
/// SplitMix64's output function (Steele, Lea and Flood 2014).
pub(crate) fn seed_of(pool: u64, batch: u64, index: u64) -> u64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(mix(mix(pool) ^ batch) ^ index)
}
