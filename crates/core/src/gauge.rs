//! How much is queued and how much is open, counted without a lock: every task passes here three times, on different threads.
//!
//! Whoever takes room adds first and looks then: if it was too much it takes that back, and waits. So the counts are never
//! too low, only too high for a moment; then somebody else may have found no room that there was, and is woken to look again.
//!
//! # Why no wake-up is lost
//! Who waits says so (`waiting`, `ending`), then looks at the counts, then sleeps; who lowers a count does that, then looks whether
//! anybody waits. All four are sequentially consistent, so at least one of the two sees the other: the sleeper the lower
//! count, or the other that somebody waits. The lock is held from the sleeper's look to its sleep, and taken by whoever wakes: so it
//! cannot wake too early. In the same way a pool's end and an acceptance: one adds to `open` and looks at `closed`, the other
//! sets `closed` and looks at `open`.

use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering::SeqCst, between, unpoisoned};

#[derive(Default)]
pub(crate) struct Gauge {
    /// Accepted and not started: items, and their bytes.
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// Accepted and without an outcome.
    open: AtomicUsize,
    closed: AtomicBool,
    /// Threads that wait for room, and for the end.
    waiting: AtomicUsize,
    ending: AtomicUsize,
    lock: Mutex<()>,
    room: Condvar,
    all_done: Condvar,
}

/// Most that may be queued. One item beyond it is let in alone, else it could never run.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Full,
    Closed,
}

impl Gauge {
    /// Accepts items of so many bytes if there is room now; any number of them if there is no `bound`.
    pub(crate) fn try_admit(&self, items: usize, bytes: usize, bound: Option<Bound>) -> Result<(), Full> {
        let admitted = self.add(items, bytes, bound);
        if admitted == Err(Full::Full) {
            // Somebody may have found no room because of what was added for a moment.
            self.tell(&self.waiting, &self.room);
        }
        admitted
    }

    /// Accepts items of so many bytes; waits for room.
    pub(crate) fn admit(&self, items: usize, bytes: usize, bound: Bound) -> Result<(), Full> {
        match self.try_admit(items, bytes, Some(bound)) {
            Err(Full::Full) => {}
            settled => return settled,
        }
        let mut guard = self.guard();
        self.waiting.fetch_add(1, SeqCst);
        between();
        let admitted = loop {
            match self.add(items, bytes, Some(bound)) {
                Err(Full::Full) => guard = unpoisoned(self.room.wait(guard)),
                settled => break settled,
            }
        };
        self.waiting.fetch_sub(1, SeqCst);
        admitted
    }

    fn add(&self, items: usize, bytes: usize, bound: Option<Bound>) -> Result<(), Full> {
        self.open.fetch_add(items, SeqCst);
        between();
        if self.closed.load(SeqCst) {
            self.done(items);
            return Err(Full::Closed);
        }
        let queued = self.queued.fetch_add(items, SeqCst);
        let queued_bytes = self.queued_bytes.fetch_add(bytes, SeqCst);
        let fits = |bound: Bound| queued + items <= bound.items && queued_bytes + bytes <= bound.bytes;
        if queued == 0 || bound.is_none_or(fits) {
            return Ok(());
        }
        self.queued.fetch_sub(items, SeqCst);
        self.queued_bytes.fetch_sub(bytes, SeqCst);
        self.done(items);
        Err(Full::Full)
    }

    /// Items have started, or will never start.
    pub(crate) fn leave_queue(&self, items: usize, bytes: usize) {
        self.queued.fetch_sub(items, SeqCst);
        if bytes > 0 {
            self.queued_bytes.fetch_sub(bytes, SeqCst);
        }
        self.tell(&self.waiting, &self.room);
    }

    /// Items have their outcomes, or were not accepted after all.
    pub(crate) fn done(&self, items: usize) {
        if items > 0 && self.open.fetch_sub(items, SeqCst) == items {
            self.tell(&self.ending, &self.all_done);
        }
    }

    /// From now on nothing is accepted. Whoever waits for room is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.tell(&self.waiting, &self.room);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Accepted and without an outcome.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Returns when everything accepted has its outcome.
    pub(crate) fn wait_all_done(&self) {
        let mut guard = self.guard();
        self.ending.fetch_add(1, SeqCst);
        between();
        while self.open() > 0 {
            guard = unpoisoned(self.all_done.wait(guard));
        }
        self.ending.fetch_sub(1, SeqCst);
    }

    /// Wakes those who wait, if anybody does. Called behind what they wait for.
    fn tell(&self, waiting: &AtomicUsize, by: &Condvar) {
        between();
        if waiting.load(SeqCst) > 0 {
            drop(self.guard());
            by.notify_all();
        }
    }

    fn guard(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.lock.lock())
    }
}
