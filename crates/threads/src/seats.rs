//! Where the threads of a pool are: each has a seat while it belongs to the pool.
//!
//! Numbers of seats stay small: who comes takes the lowest that is free. With ten thousand threads nobody looks
//! through all of them for that.

use std::{collections::BTreeSet, thread::JoinHandle};

use crate::queue::Errand;

/// Seats, by slot.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    by_slot: Vec<Option<Seat>>,
    /// Slots that had a seat and have none.
    free: BTreeSet<u32>,
}

/// A running thread's place.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) badge: Badge,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) stance: Stance,
    /// Its initialiser has run.
    pub(crate) ready: bool,
    pub(crate) errand: Option<Errand>,
    /// Its errand has been told to stop, and is watched.
    pub(crate) told: bool,
    /// Its errand's time is over, but it could not be replaced.
    pub(crate) overdue: bool,
}

/// Which thread, in which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Badge {
    pub(crate) worker: u32,
    pub(crate) slot: u32,
}

/// How a thread counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    /// Counted as being at work.
    AtWork,
    /// Its task waits for others; not counted.
    Waiting,
    /// On the spare bench; not counted.
    Spare,
    /// On its way out; not counted.
    Leaving,
    /// In a task that nobody waits for any more; not counted, and its place is lost until it returns.
    Stuck,
}

impl Seat {
    /// Whether user's code runs there.
    pub(crate) fn is_busy(&self) -> bool {
        self.errand.is_some() || !self.ready
    }
}

impl Seats {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.by_slot.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.by_slot.iter_mut().flatten()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.by_slot.len() - self.free.len()
    }

    /// This thread's, if it still has one.
    pub(crate) fn get(&mut self, badge: Badge) -> Option<&mut Seat> {
        self.by_slot.get_mut(badge.slot as usize)?.as_mut().filter(|seat| seat.badge == badge)
    }

    /// The lowest slot without a seat.
    pub(crate) fn free_slot(&self) -> u32 {
        self.free.first().copied().unwrap_or(self.by_slot.len() as u32)
    }

    /// Puts a seat in its slot, which is free.
    pub(crate) fn place(&mut self, seat: Seat) {
        let slot = seat.badge.slot;
        for passed in self.by_slot.len() as u32..=slot {
            self.by_slot.push(None);
            self.free.insert(passed);
        }
        self.free.remove(&slot);
        self.by_slot[slot as usize] = Some(seat);
    }

    /// Takes this thread's seat away, if it still has one.
    pub(crate) fn vacate(&mut self, badge: Badge) -> Option<Seat> {
        let seat = self.by_slot.get_mut(badge.slot as usize)?.take_if(|seat| seat.badge == badge)?;
        self.free.insert(badge.slot);
        Some(seat)
    }
}
