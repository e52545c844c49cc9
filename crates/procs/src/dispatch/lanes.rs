//! All places of a pool, and which of them are worth a look: who hands out work does not look at all of them each time.

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
};

use crate::{
    lane::{Lane, Stage},
    line::Line,
};

/// The places, by their slots. They are changed through [`touch`](Self::touch) and [`touch_all`](Self::touch_all) only, which
/// sort them anew.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// As what each is known, in the same order.
    known: Vec<Sort>,
    /// How many tasks a worker's life is long.
    most_tasks: Option<u64>,
    /// Workers that are ready and have nothing to do.
    idle: BTreeSet<usize>,
    /// Those of them that may be sent something.
    hungry: BTreeSet<usize>,
    /// Workers that are ready and have something to do.
    working: BTreeSet<usize>,
    /// Idle workers that are to leave.
    leaving: BTreeSet<usize>,
    away: usize,
    recalled: usize,
}

/// What decides for what a place is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sort {
    idle: bool,
    hungry: bool,
    working: bool,
    leaving: bool,
    away: bool,
    recalled: bool,
}

impl Sort {
    fn of(lane: &Lane, most_tasks: Option<u64>) -> Self {
        let duty = &lane.duty;
        let is_ready = lane.line().is_some();
        let idle = is_ready && duty.is_idle();
        Self {
            idle,
            hungry: idle && lane.room(most_tasks) > 0,
            working: is_ready && !idle,
            leaving: idle && (lane.unwanted || duty.is_spent(most_tasks)),
            away: matches!(lane.stage, Stage::Away),
            recalled: duty.recalling > 0,
        }
    }
}

impl Lanes {
    pub(crate) fn new(places: usize, most_tasks: Option<u64>) -> Self {
        let mut this = Self { most_tasks, ..Self::default() };
        this.grow(places);
        this
    }

    /// Makes it so many places, if they are fewer.
    pub(crate) fn grow(&mut self, places: usize) {
        for _ in self.lanes.len()..places {
            self.lanes.push(Lane::default());
            self.known.push(Sort::default());
        }
    }

    pub(crate) fn most_tasks(&self) -> Option<u64> {
        self.most_tasks
    }

    /// A place, to be changed.
    pub(crate) fn touch(&mut self, slot: usize) -> Touched<'_> {
        Touched { lanes: self, slot }
    }

    /// Changes what is to be changed at any place.
    pub(crate) fn touch_all(&mut self, mut change: impl FnMut(usize, &mut Lane)) {
        for slot in 0..self.lanes.len() {
            change(slot, &mut self.touch(slot));
        }
    }

    /// The slot of a worker, if it is still there.
    pub(crate) fn slot_of(&self, line: &Line) -> Option<usize> {
        let slot = line.vital.slot as usize;
        (self.lanes.get(slot)?.worker() == Some(line.worker())).then_some(slot)
    }

    /// The slot of a worker of which no more than the number is known.
    pub(crate) fn find(&self, worker: u32) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.worker() == Some(worker))
    }

    /// Workers that have nothing to do.
    pub(crate) fn idle(&self) -> &BTreeSet<usize> {
        &self.idle
    }

    /// Idle workers that may be sent something.
    pub(crate) fn hungry(&self) -> &BTreeSet<usize> {
        &self.hungry
    }

    /// Workers that have something to do.
    pub(crate) fn working(&self) -> &BTreeSet<usize> {
        &self.working
    }

    /// Idle workers that are to leave: they are old, hold too much, or are too many.
    pub(crate) fn leaving(&self) -> &BTreeSet<usize> {
        &self.leaving
    }

    /// Places whose worker left because there was no work.
    pub(crate) fn away(&self) -> usize {
        self.away
    }

    /// Workers that have been asked to give something back, and have not answered.
    pub(crate) fn recalled(&self) -> usize {
        self.recalled
    }

    fn sort(&mut self, slot: usize) {
        let now = Sort::of(&self.lanes[slot], self.most_tasks);
        let before = std::mem::replace(&mut self.known[slot], now);
        if now == before {
            return;
        }
        let sets = [
            (&mut self.idle, before.idle, now.idle),
            (&mut self.hungry, before.hungry, now.hungry),
            (&mut self.working, before.working, now.working),
            (&mut self.leaving, before.leaving, now.leaving),
        ];
        for (set, was, is) in sets {
            match (was, is) {
                (false, true) => drop(set.insert(slot)),
                (true, false) => drop(set.remove(&slot)),
                _ => {}
            }
        }
        self.away = self.away + usize::from(now.away) - usize::from(before.away);
        self.recalled = self.recalled + usize::from(now.recalled) - usize::from(before.recalled);
    }
}

impl Deref for Lanes {
    type Target = [Lane];

    fn deref(&self) -> &[Lane] {
        &self.lanes
    }
}

/// A place that is being changed; it is sorted anew when this is dropped.
pub(crate) struct Touched<'l> {
    lanes: &'l mut Lanes,
    slot: usize,
}

impl Deref for Touched<'_> {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.lanes.lanes[self.slot]
    }
}

impl DerefMut for Touched<'_> {
    fn deref_mut(&mut self) -> &mut Lane {
        &mut self.lanes.lanes[self.slot]
    }
}

impl Drop for Touched<'_> {
    fn drop(&mut self) {
        self.lanes.sort(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Flight;

    #[test]
    fn who_changes_is_sorted_anew() {
        let mut lanes = Lanes::new(3, None);
        assert_eq!((lanes.len(), lanes.away(), lanes.recalled()), (3, 0, 0));
        lanes.touch(2).stage = Stage::Away;
        lanes.touch_all(|slot, lane| lane.duty.recalling = slot);
        assert_eq!((lanes.away(), lanes.recalled()), (1, 2));
        lanes.touch(2).stage = Stage::Vacant;
        lanes.touch(1).duty.recalling = 0;
        assert_eq!((lanes.away(), lanes.recalled()), (0, 1));
        // A place without a worker is nobody's, whatever is booked there.
        lanes.touch(0).duty.flights.push(Flight::new(0, 1, 1));
        assert!(lanes.idle().is_empty() && lanes.working().is_empty() && lanes.find(0).is_none());
        lanes.touch(1).stage = Stage::Starting { worker: 8 };
        assert_eq!((lanes.find(8), lanes.idle().len()), (Some(1), 0));
        lanes.grow(2);
        assert_eq!(lanes.len(), 3, "no place goes away");
    }
}
