//! How a thread waits for tasks: a waker that unparks it, cached per thread.
//!
//! A blocking `join`, `.await`, `wait` and `as_completed` are all the same thing: wakers in the
//! node's list. `Condvar`s would cost a system call per finished task even when nobody waits.
//!
//! A worker thread that is about to wait says so first ([`OnBlock`](crate::worker::OnBlock)), so that its pool can lend
//! another thread: nested waiting cannot use a pool up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use crate::{ambient, error::TaskError, worker::Worker};

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first of several wakers pays for the system call.
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    static PARKER: (Arc<Unpark>, Waker) = {
        let parker = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
        (parker.clone(), parker.into())
    };
}

/// Waits until `ready` says so, or until the time has come. `ready` registers the waker wherever
/// something may change. Whether it became ready.
///
/// # Errors
/// If this thread is a worker and no other can take its place meanwhile.
pub(crate) fn wait_until(until: Option<Instant>, mut ready: impl FnMut(&Waker) -> bool) -> Result<bool, TaskError> {
    // Not inside `with`: wakers and hooks run other code that may wait too.
    let (parker, waker) = PARKER.with(Clone::clone);
    parker.woken.store(false, Ordering::Relaxed);
    if ready(&waker) {
        return Ok(true);
    }
    let _lent = Lent::new()?;
    loop {
        // Lowered before `ready` looks: a wake between the two is seen by the next `park`.
        while !parker.woken.swap(false, Ordering::Acquire) {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => break,
                Some(left) => thread::park_timeout(left),
            }
        }
        if ready(&waker) {
            return Ok(true);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(false);
        }
    }
}

/// While it lives another thread may take this worker's place, if this thread is one.
pub(crate) struct Lent(Option<Worker>);

impl Lent {
    /// # Errors
    /// If no other can.
    pub(crate) fn new() -> Result<Self, TaskError> {
        let worker = ambient::host();
        worker.iter().try_for_each(Worker::block)?;
        Ok(Self(worker))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.iter().for_each(Worker::resume);
    }
}
