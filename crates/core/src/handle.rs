//! The caller's end of a task.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    ambient,
    error::TaskError,
    event::Finished,
    park,
    work::{Cancel, State, Take},
};

/// A task that was submitted, and its outcome when it has one.
///
/// Every accepted task gets exactly one outcome. Dropping the handle detaches the task: it still
/// runs. The handle is a [`Future`] too.
pub struct Handle<T> {
    node: Arc<dyn Take<T>>,
}

impl<T> Handle<T> {
    pub(crate) fn new(node: Arc<dyn Take<T>>) -> Self {
        Self { node }
    }

    /// Waits for the outcome.
    ///
    /// From inside a task of the same in-process pool, a task that has not started runs right
    /// here, to a fixed depth; else another thread takes this one's place while it waits.
    ///
    /// # Errors
    /// How the task ended other than well. [`TaskError::Exhausted`] if this is a worker and no thread can take its place.
    ///
    /// # Panics
    /// If the outcome has been taken already, by `try_join` or `join_timeout`.
    pub fn join(self) -> Result<T, TaskError> {
        self.help();
        self.wait_until(None)?;
        self.node.take(0).unwrap_or(Err(TaskError::Closed))
    }

    /// The outcome, if there is one already. `None` means: not yet, ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already, as a future that is polled again.
    pub fn try_join(&mut self) -> Option<Result<T, TaskError>> {
        self.node.take(0)
    }

    /// Waits for the outcome, at most this long. `None` takes nothing away: ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<T, TaskError>> {
        self.join_until(Instant::now().checked_add(limit))
    }

    /// Waits for the outcome until that instant. `None` takes nothing away: ask again.
    ///
    /// # Panics
    /// If the outcome has been taken already.
    pub fn join_deadline(&mut self, until: Instant) -> Option<Result<T, TaskError>> {
        self.join_until(Some(until))
    }

    fn join_until(&mut self, until: Option<Instant>) -> Option<Result<T, TaskError>> {
        match self.wait_until(until) {
            Ok(_) => self.node.take(0),
            Err(error) => Some(Err(error)),
        }
    }

    fn wait_until(&self, until: Option<Instant>) -> Result<bool, TaskError> {
        let backend = &*self.node.head().core.backend;
        park::wait_until(until, Some(backend), |waker| self.node.poll(0, waker))
    }

    /// Runs the task in place of waiting for it, where that is safe: on a worker of its own pool,
    /// without limits, and only if nobody has begun it.
    fn help(&self) {
        let head = self.node.head();
        let capabilities = &head.core.capabilities;
        if capabilities.encodes || !capabilities.nests || head.policy.as_ref().is_some_and(|policy| policy.has_limits())
        {
            return;
        }
        if let Some(worker) = ambient::worker().filter(|worker| worker.pool() == head.core.hub.id()) {
            ambient::in_place(|| {
                let work = self.node.clone() as Arc<dyn crate::work::Work>;
                work.clone().run(0, 1, &worker).follow(&work, 0);
            });
        }
    }

    /// The task's id, unique in this program's run.
    pub fn id(&self) -> u64 {
        self.node.head().id
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.node.head().name
    }

    /// Whether there is an outcome.
    pub fn is_finished(&self) -> bool {
        self.state() == State::Finished
    }

    /// How far the task is.
    pub fn state(&self) -> State {
        self.node.state(0)
    }

    /// Stops the task if it has not started, else asks it to stop. Says which.
    pub fn cancel(&self) -> Cancel {
        self.node.cancel(0)
    }

    /// Calls `callback` with how the task ended, on the pool's notifier thread, in order of
    /// registration; at once if it has ended. A panic in it is logged. It may submit, cancel, or shut the pool down.
    pub fn on_done(&self, callback: impl FnOnce(&Finished) + Send + 'static) {
        self.node.on_done(0, Box::new(callback));
    }

    /// What is known of a finished task beyond its value: worker, attempts, measurements. `None`
    /// before it is finished, and in pools that measure nothing.
    pub fn summary(&self) -> Option<Finished> {
        self.node.finished(0)
    }
}

impl<T> Future for Handle<T> {
    type Output = Result<T, TaskError>;
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if self.node.poll(0, cx.waker()) { self.node.take(0).map_or(Poll::Pending, Poll::Ready) } else { Poll::Pending }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("state", &self.state())
            .finish()
    }
}

/// Something that can be waited for along with others: a handle, a reference to one, or a handle with a key.
pub trait Waitable {
    /// The task's id.
    fn task_id(&self) -> u64;
    /// Whether it is finished; if it is not, `waker` will be woken.
    fn poll_finished(&self, waker: &Waker) -> bool;
    /// Whether it is finished, and not well.
    fn has_failed(&self) -> bool;
}

impl<T> Waitable for Handle<T> {
    fn task_id(&self) -> u64 {
        self.id()
    }
    fn poll_finished(&self, waker: &Waker) -> bool {
        self.node.poll(0, waker)
    }
    fn has_failed(&self) -> bool {
        self.node.has_failed(0)
    }
}

/// Whatever leads to a waitable is one.
macro_rules! waitable_through {
    ([$($generics:tt)*] $type:ty, $this:ident => $inner:expr) => {
        impl<$($generics)*> Waitable for $type {
            fn task_id(&self) -> u64 {
                let $this = self;
                $inner.task_id()
            }
            fn poll_finished(&self, waker: &Waker) -> bool {
                let $this = self;
                $inner.poll_finished(waker)
            }
            fn has_failed(&self) -> bool {
                let $this = self;
                $inner.has_failed()
            }
        }
    };
}
waitable_through!([W: Waitable + ?Sized] &W, this => (**this));
waitable_through!([W: Waitable + ?Sized] &mut W, this => (**this));
waitable_through!([W: Waitable + ?Sized] Box<W>, this => (**this));
waitable_through!([K, W: Waitable] (K, W), this => this.1);
