//! Where threads sleep until they are called.
//!
//! A call is a *token* under the pool's lock, not a notification: a thread sits down under the
//! same lock under which work is put down, and gets up only with a token. So a call is never lost
//! between looking for work and falling asleep, a spurious wake-up changes nothing, and whoever
//! calls knows whether there was anybody to call.
//!
//! One of the seated may look around for a moment before it falls asleep, without the lock: a call that it
//! sees needs no bell. Before it falls asleep it takes the lock and looks for a token, so the tokens for which no bell
//! is rung are never more than those who are still to do that.

use std::time::{Duration, Instant};

use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard, Ordering, Spin, cpu, unpoisoned};

/// Who sits, and how many of them have been called. Lives under the lock.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    seated: usize,
    /// Of the seated; which of them gets up does not matter.
    called: usize,
    /// Of the seated, who have not fallen asleep yet.
    awake: usize,
}

/// What wakes the seated. Lives beside the lock.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    sleepers: Condvar,
    /// How often it has been rung or would have been, for those who are awake.
    rung: AtomicU32,
    /// On which processor it was rung last.
    rung_on: AtomicU32,
    spin: Spin,
}

/// A bell that is to be rung after the lock has been let go: rung under it, the thread that wakes
/// would run into the lock at once.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Ring<'a>(Option<Rung<'a>>);

#[derive(Debug)]
struct Rung<'a> {
    bell: &'a Bell,
    anybody_asleep: bool,
}

impl Bench {
    /// Calls one of the seated, unless all have been called already. Whether there was one; then the bell must be rung.
    pub(crate) fn call(&mut self) -> bool {
        let anybody = self.called < self.seated;
        self.called += usize::from(anybody);
        anybody
    }

    /// How many have been called and are not up yet.
    pub(crate) fn called(&self) -> usize {
        self.called
    }

    fn get_up(&mut self) -> bool {
        self.seated -= 1;
        let called = self.called > 0;
        self.called -= usize::from(called);
        called
    }
}

impl Bell {
    /// The duty to ring it, after a call.
    pub(crate) fn later(&self, bench: &Bench) -> Ring<'_> {
        Ring(Some(Rung { bell: self, anybody_asleep: bench.called > bench.awake }))
    }

    /// Gets out of the way of whoever has rung, and goes on: the system may have put this thread, which it woke, on the same
    /// processor, where the two would work in turns.
    pub(crate) fn make_way(&self) {
        cpu::leave(self.rung_on.load(Ordering::Relaxed));
    }

    /// Wakes all, for them to see that it is over.
    pub(crate) fn ring_for_all(&self) {
        self.rung.fetch_add(1, Ordering::Relaxed);
        self.sleepers.notify_all();
    }

    /// Sits down until called, until it is `over`, or for `limit`. Whether it was called.
    pub(crate) fn sit<'a, S>(
        &self,
        mutex: &'a Mutex<S>,
        mut state: MutexGuard<'a, S>,
        bench: fn(&mut S) -> &mut Bench,
        over: fn(&S) -> bool,
        limit: Option<Duration>,
    ) -> (MutexGuard<'a, S>, bool) {
        // A limit beyond the end of time never ends.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        bench(&mut state).seated += 1;
        // One is enough: the others' processors are needed elsewhere, if only for sleep.
        if bench(&mut state).called == 0 && bench(&mut state).awake == 0 && !over(&state) && self.spin.pays() {
            bench(&mut state).awake += 1;
            let rung = self.rung.load(Ordering::Relaxed);
            drop(state);
            self.spin.look(|| self.rung.load(Ordering::Relaxed) != rung);
            state = unpoisoned(mutex.lock());
            bench(&mut state).awake -= 1;
        }
        while bench(&mut state).called == 0 && !over(&state) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => unpoisoned(self.sleepers.wait(state)),
                Some(left) if left.is_zero() => break,
                Some(left) => unpoisoned(self.sleepers.wait_timeout(state, left)).0,
            };
        }
        let called = bench(&mut state).get_up();
        (state, called)
    }
}

impl Ring<'_> {
    /// Wakes one, unless somebody is awake.
    pub(crate) fn ring(self) {
        let Some(Rung { bell, anybody_asleep }) = self.0 else { return };
        bell.rung.fetch_add(1, Ordering::Relaxed);
        if anybody_asleep {
            // A guess for those who wake up: nothing depends on it but time.
            bell.rung_on.store(cpu::here(), Ordering::Relaxed);
            bell.sleepers.notify_one();
        }
    }
}
