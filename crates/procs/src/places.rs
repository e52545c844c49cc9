//! Where the two sides of a fast lane run: whether it helps to look for what the other one is about to send.
//!
//! Who looks on the very processor on which the other side is to run keeps it from running, and waits for itself. Systems put a
//! thread that is woken on the processor of whoever wakes it more often than one might think: on virtual machines (seen: Linux
//! 6.18 under KVM) even if another is idle. So each side notes in the shared memory on which processor it is, and whether
//! it sleeps there; the worker, which is a thread of our own, moves to another processor before it looks, and the caller, which
//! is not, goes to sleep in place of looking.
//!
//! All this is a guess about what is over already, and nothing but time depends on it: whatever a worker writes there.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::os::mapping::Mapping;

/// Of the parent, and of the worker; on cache lines of their own.
const PLACES: [usize; 2] = [2176, 2304];
/// Beside the processor's number: it sleeps there, or is being woken.
const ASLEEP: u64 = 1 << 63;

/// One of the two sides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Parent,
    Worker,
}

/// One side's view of both places.
#[derive(Debug)]
pub(crate) struct Places {
    mapping: Arc<Mapping>,
    own: Side,
}

impl Places {
    pub(crate) fn new(mapping: Arc<Mapping>, own: Side) -> Self {
        Self { mapping, own }
    }

    /// This thread acts for its side, on this processor.
    pub(crate) fn note(&self) {
        self.set(here());
    }

    /// This thread acts for its side, and is about to go to sleep.
    pub(crate) fn note_rest(&self) {
        self.set(here() | ASLEEP);
    }

    /// Whether the other side's place is, or lately was, the processor that this thread is on.
    pub(crate) fn are_same(&self) -> bool {
        self.is_other_at(here())
    }

    /// Whether the other side sleeps, or has been woken and has not noticed.
    pub(crate) fn is_other_asleep(&self) -> bool {
        self.of_other() & ASLEEP != 0
    }

    /// Gets out of the other side's way, if this thread is in it.
    pub(crate) fn part(&self) {
        if self.are_same() {
            taskloom_cpu::leave(taskloom_cpu::here());
            self.note();
        }
    }

    fn is_other_at(&self, here: u64) -> bool {
        here != 0 && self.of_other() & !ASLEEP == here
    }

    fn set(&self, place: u64) {
        let noted = self.word(self.own);
        // Not written to without need: the other side looks at it.
        if noted.load(Ordering::Relaxed) != place {
            noted.store(place, Ordering::Relaxed);
        }
    }

    fn of_other(&self) -> u64 {
        let other = match self.own {
            Side::Parent => Side::Worker,
            Side::Worker => Side::Parent,
        };
        self.word(other).load(Ordering::Relaxed)
    }

    fn word(&self, side: Side) -> &AtomicU64 {
        self.mapping.get(PLACES[side as usize])
    }
}

/// A number for the processor that this thread is on; 0 if that cannot be told.
fn here() -> u64 {
    taskloom_cpu::here().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::mapping;

    #[test]
    fn each_side_sees_where_the_other_is_and_whether_it_sleeps() {
        let size = 4096;
        let mapping = Arc::new(Mapping::new(&mapping::create(size).unwrap(), size).unwrap());
        let [parent, worker] = [Side::Parent, Side::Worker].map(|own| Places::new(mapping.clone(), own));
        assert!(!parent.is_other_at(0) && !parent.is_other_asleep(), "nothing has been noted");
        worker.set(7 | ASLEEP);
        assert!(parent.is_other_asleep() && !worker.is_other_asleep());
        assert!(parent.is_other_at(7) && !parent.is_other_at(6) && !worker.is_other_at(7));
        worker.set(6);
        assert!(!parent.is_other_asleep() && parent.is_other_at(6));
        worker.note_rest();
        assert!(parent.is_other_asleep());
        worker.note();
        assert!(!parent.is_other_asleep());
    }
}
