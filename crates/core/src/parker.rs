//! A thread that sleeps until it is woken, as a waker.
//!
//! A flag and `unpark`, not a `Condvar`: a wake-up costs nothing but an atomic swap if the thread
//! is awake, or has been woken already. None is lost: the flag is lowered *before* the sleeper looks at what it
//! waits for, so whatever changes after that look raises it again, and `unpark` keeps a token if it
//! comes before `park`. Others may unpark the thread for reasons of their own: only the flag counts.

use std::{sync::Arc, task::Wake, time::Instant};

use crate::sync::{AtomicBool, Ordering, Thread, thread};

/// The current thread as one that is woken.
pub(crate) struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    pub(crate) fn of_this_thread() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), woken: AtomicBool::new(false) })
    }

    /// Forgets wake-ups of the past. Called before the first look.
    pub(crate) fn lower(&self) {
        // A swap, not a store: when every change of the flag reads the one before it, they stand in one
        // chain, and the argument needs no more than that. (Nor can loom follow a plain store here.)
        self.woken.swap(false, Ordering::Relaxed);
    }

    /// Whether it has been woken since. For looking before it sleeps; sleeping is what makes sure.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    /// Sleeps until woken, and forgets that; or until the time has come. Whether it was woken. By its own thread only.
    pub(crate) fn sleep(&self, until: Option<Instant>) -> bool {
        // Pairs with the swap of `wake_by_ref`: what was done before the wake-up is seen by the look after it.
        while !self.woken.swap(false, Ordering::Acquire) {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
        true
    }
}

impl Wake for Parker {
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
