//! A node without its types: what jobs, clocks and handles need of it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    backend::{Backend, Capabilities, Stop},
    clock,
    context::{Link, RunId},
    error::{Clock, TaskError},
    event::{Finished, TaskOutput},
    hub::Hub,
    job::{Cargo, Job, Reply},
    map::Inbox,
    park,
    policy::{DEFAULT_GRACE, Policy},
    worker::Worker,
};

/// What all nodes of a pool share.
pub(crate) struct Core {
    pub(crate) hub: Hub,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) capabilities: Capabilities,
}

/// What of a node never changes, and its two flags.
pub(crate) struct Head {
    pub(crate) core: Arc<Core>,
    pub(crate) policy: Option<Arc<Policy>>,
    /// Id of the first item; the others follow.
    pub(crate) id: u64,
    pub(crate) batch: u64,
    /// Index of the first item in its map.
    pub(crate) index: u64,
    pub(crate) name: &'static str,
    pub(crate) slot: u32,
    pub(crate) count: u32,
    /// Whether these are items of a map, which wants to know how long they take.
    pub(crate) in_map: bool,
    /// Where an unordered map hears of finished items, and the chunk's number there.
    pub(crate) inbox: Option<(Arc<Inbox>, u64)>,
    pub(crate) cancelled: AtomicBool,
    /// Attempts up to this number have been told to stop: their time is over.
    pub(crate) stopped: AtomicU32,
    pub(crate) unclaimed: AtomicU32,
}

impl Head {
    #[expect(clippy::too_many_arguments, reason = "a constructor of plain fields, called in two places")]
    pub(crate) fn new(
        core: Arc<Core>,
        policy: Option<Arc<Policy>>,
        id: u64,
        batch: u64,
        index: u64,
        name: &'static str,
        slot: u32,
        count: u32,
        in_map: bool,
        inbox: Option<(Arc<Inbox>, u64)>,
    ) -> Self {
        Self {
            core,
            policy,
            id,
            batch,
            index,
            name,
            slot,
            count,
            in_map,
            inbox,
            cancelled: AtomicBool::new(false),
            stopped: AtomicU32::new(0),
            unclaimed: AtomicU32::new(count),
        }
    }

    pub(crate) fn run_id(&self, item: u32, attempt: u32) -> RunId {
        let index = self.index + u64::from(item);
        RunId { id: self.id(item), pool_seed: self.core.hub.settings().seed, batch: self.batch, index, attempt }
    }

    /// Whether anybody wants to know what these items cost.
    pub(crate) fn measuring(&self) -> bool {
        let hub = &self.core.hub;
        if self.in_map { hub.measuring_maps() } else { hub.measuring() }
    }

    /// Whether nobody has to know more of a result than that it came.
    pub(crate) fn is_plain(&self) -> bool {
        let settled = |policy: &Arc<Policy>| policy.has_limits() || policy.retry.is_some();
        !self.measuring() && !self.policy.as_ref().is_some_and(settled)
    }

    pub(crate) fn stop_policy(&self) -> Stop {
        Stop::Kill { grace: self.policy.as_ref().map_or(DEFAULT_GRACE, |policy| policy.grace_period()) }
    }

    pub(crate) fn id(&self, item: u32) -> u64 {
        self.id + u64::from(item)
    }
}

pub(crate) type Callback = Box<dyn FnOnce(&Finished) + Send>;

/// What is known of a task from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Waits for a worker, or for its next attempt.
    Queued,
    /// Its body has begun.
    Running,
    /// It has its outcome.
    Finished,
}

/// What a cancel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancel {
    /// The task had not started and never will; its outcome is `Cancelled`.
    Prevented,
    /// The task runs, or may have been about to: it has been told to stop, and where the backend
    /// can kill it is killed after its grace period. What it returns before that is its outcome.
    Requested,
    /// The task had finished; its outcome stands.
    TooLate,
}

/// What follows from the end of an attempt.
#[must_use]
pub(crate) enum Next {
    /// It came too late: nothing changed.
    Ignored,
    /// The item has its outcome.
    Ended,
    /// The item has its outcome, which has not been read; and somebody waits to be told of it.
    Unannounced,
    /// There is another attempt.
    Again { attempt: u32, after: Duration, cargo: Option<Arc<Cargo>> },
}

impl Next {
    /// Submits the next attempt, if there is one. Whether the call before it changed anything.
    pub(crate) fn follow(self, work: &Arc<dyn Work>, item: u32) -> bool {
        match self {
            Self::Ignored => false,
            Self::Ended => true,
            Self::Unannounced => {
                let work = work.clone();
                work.head().core.hub.clone().notify(move || work.announce(item));
                true
            }
            Self::Again { attempt, after, cargo } => {
                let job = Job::new(work.clone(), attempt, item..item + 1, cargo);
                if after.is_zero() {
                    job.resubmit()
                } else if work.head().core.capabilities.runs_at_submission {
                    // No other thread runs it, least of all the clock's. Whoever ends it meanwhile ends the wait.
                    let until = Instant::now().checked_add(after);
                    // On a worker whose place nobody can take there is no pause.
                    let _ = park::wait_until(until, None, |waker| work.poll(item, waker));
                    job.resubmit()
                } else {
                    clock::submit_later(job, work.head().core.hub.id(), after)
                }
                true
            }
        }
    }
}

/// A node without its types: what jobs and clocks need.
pub(crate) trait Work: Link {
    fn head(&self) -> &Head;
    /// Runs an item here, unless somebody else has it already.
    fn run(self: Arc<Self>, item: u32, attempt: u32, worker: &Worker) -> Next;
    /// Marks items as sent to a worker elsewhere, but for those that are over already, which it gives.
    fn sent(&self, items: Range<u32>, attempt: u32) -> Vec<u32>;
    /// A sent item came back without having been started; `Ignored` if it goes to another worker.
    fn returned(&self, item: u32, attempt: u32) -> Next;
    /// An item's body begins elsewhere.
    fn started(self: Arc<Self>, item: u32, attempt: u32, worker: u32);
    /// What an item printed, before its end is told.
    fn output(&self, item: u32, attempt: u32, output: TaskOutput);
    /// A worker elsewhere is done with an item.
    fn reply(self: Arc<Self>, item: u32, attempt: u32, reply: Reply<'_>) -> Next;
    /// A worker elsewhere is done with items that follow each other, and all is well. See [`Job::replies`].
    fn replies(self: Arc<Self>, first: u32, attempt: u32, worker: u32, outputs: &[&[u8]], took: Duration);
    /// Ends an item that has no outcome yet; unless it is in one of the stages that are spared.
    fn fail(&self, item: u32, attempt: u32, spare: Spare, error: TaskError) -> Next;
    fn expire(&self, item: u32, attempt: u32, clock: Clock, limit: Duration) -> Next;
    fn cancel(&self, item: u32) -> Cancel;
    /// Tells all items to stop; those that nobody has are cancelled.
    fn cancel_all(&self);
    fn is_open(&self, item: u32, attempt: u32) -> bool;
    /// Whether none of these is open.
    fn are_over(&self, items: Range<u32>, attempt: u32) -> bool;
    fn has_begun(&self, item: u32, attempt: u32) -> bool;
    fn state(&self, item: u32) -> State;
    /// Whether an item ended other than well.
    fn has_failed(&self, item: u32) -> bool;
    /// Whether an item is finished; if it is not, `waker` will be woken.
    fn poll(&self, item: u32, waker: &Waker) -> bool;
    fn on_done(&self, item: u32, callback: Callback);
    /// Reads the result of an item that is finished, and tells those who wait to be told.
    fn announce(&self, item: u32);
    fn finished(&self, item: u32) -> Option<Finished>;
    /// Items that nobody has begun or been sent.
    fn unclaimed(&self) -> u32 {
        self.head().unclaimed.load(Ordering::Relaxed)
    }
}

/// Which items are left alone when the rest of a job is failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    Nothing,
    /// Somebody in this process runs them, and will finish them.
    Claimed,
}

/// A node that gives its values away.
pub(crate) trait Take<R>: Work {
    /// The outcome of an item, once.
    ///
    /// # Panics
    /// If it has been taken before.
    fn take(&self, item: u32) -> Option<Result<R, TaskError>>;
    /// The outcomes of items from this one on, one behind the other, as many as there are and at most so many; each once.
    fn take_run(&self, first: u32, most: usize) -> Vec<Result<R, TaskError>>;
}
