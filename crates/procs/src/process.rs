//! One task in a fresh process of its own, as Python's `Process`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    process::ExitStatus,
    sync::Arc,
    task::{self, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use taskloom_core::{Cancel, Handle, IntoTask, OutputOf, Pool, ReachOf, RunsOn, State, TaskError, Waitable};

use crate::{backend::Procs, builder::Builder, launch, line::Vital};

/// Starts a process for one task and returns at once; the process ends with the task. That it does not come as far as
/// the task, because `main` ends before it becomes a worker perhaps, is the task's outcome.
///
/// # Errors
/// As [`Builder::build`], and as `submit`.
pub fn spawn<W, M>(task: W) -> Result<Process<OutputOf<W, M>>, TaskError>
where
    W: IntoTask<M>,
    ReachOf<W, M>: RunsOn<Procs>,
{
    // The reason may be that there are too few descriptors: that says what to do about it.
    let pool = Builder::one_shot().build().map_err(|error| launch::check_descriptors(1).err().unwrap_or(error))?;
    let handle = pool.submit(task)?;
    let shared = &pool.backend().shared;
    // A pool that has been built has had a worker.
    let vital = shared.remembered().ok_or(TaskError::Closed)?;
    Ok(Process { handle: Some(handle), pool: Some(pool), vital })
}

/// A process that runs one task, and the task's outcome when it has one.
///
/// Dropping it detaches the process: the task still runs. The process never outlives this program.
pub struct Process<T: 'static> {
    handle: Option<Handle<T>>,
    pool: Option<Pool<Procs>>,
    vital: Arc<Vital>,
}

impl<T> Process<T> {
    fn handle(&self) -> &Handle<T> {
        self.handle.as_ref().expect("only `join` takes the handle, and itself with it")
    }

    fn handle_mut(&mut self) -> &mut Handle<T> {
        self.handle.as_mut().expect("only `join` takes the handle, and itself with it")
    }

    /// Waits for the outcome, and for the end of the process.
    ///
    /// # Errors
    /// How the task ended other than well.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join(mut self) -> Result<T, TaskError> {
        let outcome = self.handle.take().map_or(Err(TaskError::Closed), Handle::join);
        if let Some(pool) = self.pool.take() {
            pool.join();
        }
        outcome
    }

    /// The outcome, if there is one already. `None` means: not yet, ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn try_join(&mut self) -> Option<Result<T, TaskError>> {
        self.handle_mut().try_join()
    }

    /// Waits for the outcome, at most this long. `None` takes nothing away: ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<T, TaskError>> {
        self.handle_mut().join_timeout(limit)
    }

    /// Waits for the outcome until that instant. `None` takes nothing away: ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join_deadline(&mut self, until: Instant) -> Option<Result<T, TaskError>> {
        self.handle_mut().join_deadline(until)
    }

    /// The task's id.
    pub fn id(&self) -> u64 {
        self.handle().id()
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.handle().name()
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.vital.pid()
    }

    /// Whether the process has not ended. It ends soon after its task.
    pub fn is_alive(&self) -> bool {
        self.vital.exit().is_none()
    }

    /// How the process ended; `None` while it lives, and if something else in this program took its status.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        crate::backend::exit_status(&self.vital)
    }

    /// Whether the task has its outcome.
    pub fn is_finished(&self) -> bool {
        self.handle().is_finished()
    }

    /// How far the task is.
    pub fn state(&self) -> State {
        self.handle().state()
    }

    /// Stops the task if it has not started, else asks it to stop, and kills it after a grace period of 1 s.
    pub fn cancel(&self) -> Cancel {
        self.handle().cancel()
    }

    /// Sends SIGTERM to the process's group. Unless the task handles it, its outcome is `Crashed`.
    pub fn terminate(&self) {
        self.vital.signal(libc::SIGTERM);
    }

    /// Sends SIGKILL to the process's group. The outcome of a task that had begun is `Crashed`.
    pub fn kill(&self) {
        self.vital.signal(libc::SIGKILL);
    }
}

impl<T> Future for Process<T> {
    type Output = Result<T, TaskError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(self.handle_mut()).poll(cx)
    }
}

impl<T> Waitable for Process<T> {
    fn task_id(&self) -> u64 {
        self.handle().id()
    }
    fn poll_finished(&self, waker: &Waker) -> bool {
        self.handle().poll_finished(waker)
    }
    fn has_failed(&self) -> bool {
        self.handle().has_failed()
    }
}

impl<T> Drop for Process<T> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if !self.is_alive() || pool.backend().shared.is_foreign() {
            return;
        }
        // Somebody has to hold the pool until the task is done. Without a thread to be had, its end
        // is that of a dropped pool: the task gets some time, and is killed.
        let _ = thread::Builder::new().name("taskloom-detached".to_owned()).spawn(move || pool.join());
    }
}

impl<T> fmt::Debug for Process<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid()).field("task", &self.handle).finish_non_exhaustive()
    }
}
