//! What a backend is: the small trait that everything else in this crate is built above.
//!
//! ```text
//!  View::submit ─▶ Job ─▶ Backend::submit ─▶ a worker: Job::run            (in process)
//!                                            a worker: Frame ─▶ Batch::run (elsewhere) ─▶ Job::reply
//! ```
//!
//! Retries, clocks, chunks, order, back-pressure and events are core's. A backend moves jobs to
//! workers and says truthfully what became of them. The behaviours that every backend keeps are in
//! [`contract`](crate::contract).
//!
//! # For who uses a backend
//! Nothing here is for you but [`Capabilities`]: what a pool can do, asked by `pool.capabilities()`.
//!
//! # For who writes a backend
//! - A [`Job`] is move-only and finishes by [`Job::run`], [`Job::reply`], [`Job::died`] or
//!   [`Job::fail`]. One that is dropped ends as `Lost`: a task cannot be forgotten.
//! - Hold no lock of yours while you call a method of `Job` or [`Ticket`](crate::Ticket): it may wake
//!   callers, submit the next attempt to you, or drop users' values.
//! - A job that goes to another process is marked [`Job::sent`] before it can start there, and
//!   each item is [`Job::started`] before its body runs.
//! - [`Backend::submit`] does not wait: how much may be queued was settled before.

use std::time::Duration;

use crate::{
    error::{TaskError, Unsupported},
    job::Job,
};

/// Runs jobs. See the [module](self) for the rules.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a Taskloom backend")]
pub trait Backend: Send + Sync + 'static {
    /// What this backend can do; constant for its life, but for the number of workers.
    fn capabilities(&self) -> Capabilities;
    /// Takes a job. Returns at once; a job that cannot be run is [failed](Job::fail), not refused.
    fn submit(&self, job: Job);
    /// Stops the job that task `id` belongs to, as far as `how` says. Returns at once; does nothing
    /// if it is not here any more.
    fn stop(&self, id: u64, how: Stop);
    /// A caller is about to wait for a task of this backend: for a moment, and until `is_done`, its thread may bring outcomes
    /// home. It may hold any lock of the program: no code of anybody else's may run here.
    fn attend(&self, is_done: &dyn Fn() -> bool) {
        let _ = is_done;
    }
    /// Changes the number of workers, which is at least one. Returns at once: whoever is too many leaves when idle.
    ///
    /// # Errors
    /// If the backend cannot.
    fn resize(&self, workers: usize) -> Result<(), TaskError> {
        let _ = workers;
        Err(Unsupported::new("changing the number of workers", self.capabilities().name).into())
    }
    /// Ends all workers and returns when they are gone. What is queued or running has been let to
    /// finish before `Shutdown::Finish`; under `Shutdown::Cancel` it ends here. Called once or more.
    fn shutdown(&self, how: Shutdown);
}

/// Marks backends that run tasks in this process: they also take closures and `#[task(local)]` functions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` runs tasks in other processes",
    label = "needs a pool that runs in this process",
    note = "closures and `#[task(local)]` functions cannot leave the process"
)]
pub trait InProcess: Backend {}
// A pool chosen at run time answers `Unsupported` at run time.
impl InProcess for dyn Backend {}

/// What a backend can do. What it cannot is refused at submission, never ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's name: `inline`, `threads`, `procs`.
    pub name: &'static str,
    /// How many tasks run at once.
    pub workers: usize,
    /// Tasks go through bytes; closures are refused.
    pub encodes: bool,
    /// A crash costs one task and nothing else.
    pub isolates: bool,
    /// A running task can be stopped against its will.
    pub kills: bool,
    /// A running task that overruns its limit can be left behind, its handle resolved in time.
    pub abandons: bool,
    /// A task's memory can be limited.
    pub limits_memory: bool,
    /// Workers can be replaced by the number of their tasks, and by the memory that they hold.
    pub recycles: bool,
    /// What a task prints can be kept for its outcome.
    pub captures_output: bool,
    /// The number of workers can change, and idle ones can leave.
    pub resizes: bool,
    /// A task runs while it is submitted.
    pub runs_at_submission: bool,
    /// A task may wait for another task of its own pool.
    pub nests: bool,
}

impl Capabilities {
    /// A backend called `name` with so many workers, that runs in this process and can do nothing beyond the contract.
    pub const fn new(name: &'static str, workers: usize) -> Self {
        Self {
            name,
            workers,
            encodes: false,
            isolates: false,
            kills: false,
            abandons: false,
            limits_memory: false,
            recycles: false,
            captures_output: false,
            resizes: false,
            runs_at_submission: false,
            nests: false,
        }
    }
}

/// How a task that was told to stop is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// What of its job has not started is taken back; what runs goes on.
    Recall,
    /// Also what runs: its worker is killed after the grace period, or its thread abandoned and
    /// replaced, unless it ends by itself before.
    Kill {
        /// How long it has.
        grace: Duration,
    },
}

/// How a pool ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Everything accepted is finished first.
    Finish,
    /// What has not started is cancelled; what runs is told to stop, and after this long killed or abandoned.
    Cancel {
        /// How long running tasks have.
        grace: Duration,
    },
}
