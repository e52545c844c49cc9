//! One thread for one task.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use taskloom_core::{Handle, IntoTask, OutputOf, Reach, ReachOf, RunsOn, TaskError, TaskOf, Waitable};

use crate::{backend::Threads, builder::pool};

/// Starts a fresh thread for this task alone. The thread is named after the task.
///
/// ```
/// # use taskloom_threads as threads;
/// let thread = threads::spawn(|| 6 * 7)?;
/// assert_eq!(thread.join()?, 42);
/// # Ok::<(), taskloom_core::TaskError>(())
/// ```
///
/// # Errors
/// [`TaskError::Start`] if the system starts no other thread.
pub fn spawn<W, M>(task: W) -> Result<Thread<OutputOf<W, M>>, TaskError>
where
    W: IntoTask<M>,
    ReachOf<W, M>: RunsOn<Threads>,
{
    let task = task.into_task();
    let name = <ReachOf<W, M> as Reach<TaskOf<W, M>>>::name(&task);
    let short = name.rsplit("::").next().unwrap_or(name);
    let pool = pool().workers(1).name(short).build()?;
    let handle = pool.submit(task)?;
    // From now on the pool belongs to its thread, and ends with it.
    let crew = pool.backend().crew.clone();
    crew.keep(pool);
    Ok(Thread { handle })
}

/// A task that has a thread of its own. Made by [`spawn`].
///
/// It is a [`Handle`] and has its methods: `try_join`, `join_timeout`, `cancel`, `name`, `on_done`.
/// Dropping it detaches the thread, which runs on.
#[derive(Debug)]
pub struct Thread<T> {
    handle: Handle<T>,
}

impl<T> Thread<T> {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// How the task ended other than well.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join(self) -> Result<T, TaskError> {
        self.handle.join()
    }

    /// Whether the task has not ended yet.
    pub fn is_alive(&self) -> bool {
        !self.handle.is_finished()
    }

    /// The handle alone.
    pub fn into_handle(self) -> Handle<T> {
        self.handle
    }
}

impl<T> Deref for Thread<T> {
    type Target = Handle<T>;
    fn deref(&self) -> &Handle<T> {
        &self.handle
    }
}

impl<T> DerefMut for Thread<T> {
    fn deref_mut(&mut self) -> &mut Handle<T> {
        &mut self.handle
    }
}

impl<T> Future for Thread<T> {
    type Output = Result<T, TaskError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(cx)
    }
}

impl<T> Waitable for Thread<T> {
    fn task_id(&self) -> u64 {
        self.handle.task_id()
    }
    fn poll_finished(&self, waker: &Waker) -> bool {
        self.handle.poll_finished(waker)
    }
    fn has_failed(&self) -> bool {
        self.handle.has_failed()
    }
}
