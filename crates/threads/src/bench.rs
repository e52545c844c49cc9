//! Where threads sleep until they are called.
//!
//! A call is a *token* under the pool's lock, not a notification: a thread sits down under the
//! same lock under which work is put down, and gets up only with a token. So a call is never lost
//! between looking for work and falling asleep, a spurious wake-up changes nothing, and whoever
//! calls knows whether there was anybody to call.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, MutexGuard, unpoisoned};

/// Who sits, and how many of them have been called. Lives under the lock.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    seated: usize,
    /// Of the seated; which of them gets up does not matter.
    called: usize,
}

/// What wakes the seated. Lives beside the lock.
#[derive(Debug, Default)]
pub(crate) struct Bell(Condvar);

/// A bell that is to be rung after the lock has been let go: rung under it, the thread that wakes
/// would run into the lock at once.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Ring<'a>(Option<&'a Bell>);

impl Bench {
    /// Calls one of the seated, unless all have been called already. Whether there was one; then the bell must be rung.
    pub(crate) fn call(&mut self) -> bool {
        let anybody = self.called < self.seated;
        self.called += usize::from(anybody);
        anybody
    }

    fn get_up(&mut self) -> bool {
        self.seated -= 1;
        let called = self.called > 0;
        self.called -= usize::from(called);
        called
    }
}

impl Bell {
    /// The duty to ring it.
    pub(crate) fn later(&self) -> Ring<'_> {
        Ring(Some(self))
    }

    /// Wakes all, for them to see that it is over.
    pub(crate) fn ring_for_all(&self) {
        self.0.notify_all();
    }

    /// Sits down until called, until it is `over`, or for `limit`. Whether it was called.
    pub(crate) fn sit<'a, S>(
        &self,
        mut state: MutexGuard<'a, S>,
        bench: fn(&mut S) -> &mut Bench,
        over: fn(&S) -> bool,
        limit: Option<Duration>,
    ) -> (MutexGuard<'a, S>, bool) {
        // A limit beyond the end of time never ends.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        bench(&mut state).seated += 1;
        while bench(&mut state).called == 0 && !over(&state) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => unpoisoned(self.0.wait(state)),
                Some(left) if left.is_zero() => break,
                Some(left) => unpoisoned(self.0.wait_timeout(state, left)).0,
            };
        }
        let called = bench(&mut state).get_up();
        (state, called)
    }
}

impl Ring<'_> {
    /// Wakes one.
    pub(crate) fn ring(self) {
        if let Some(bell) = self.0 {
            bell.0.notify_one();
        }
    }
}
