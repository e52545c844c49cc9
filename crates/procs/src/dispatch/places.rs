//! Who comes to a place for a worker, and who leaves one: the part of the books that is not about jobs.

use std::{sync::Arc, time::Instant};

use super::{Books, Order};
use crate::{
    lane::{Lane, Stage},
    line::Line,
};

impl Books {
    /// Has workers come back that left because there was no work; whether any has to be started for that.
    pub(crate) fn call_back(&mut self) -> bool {
        if !self.is_open() || self.queue.is_empty() || self.lanes.away() == 0 {
            return false;
        }
        let coming = |lane: &&Lane| {
            !lane.unwanted && matches!(lane.stage, Stage::Vacant | Stage::VacantUntil(_) | Stage::Starting { .. })
        };
        let missing = self.queue.len().saturating_sub(self.lanes.iter().filter(coming).count());
        let mut called = 0;
        self.lanes.touch_all(|_, lane| {
            if called < missing && matches!(lane.stage, Stage::Away) {
                lane.stage = Stage::Vacant;
                called += 1;
            }
        });
        called > 0
    }

    /// Changes the number of places. Who is too many gives back what waits, and leaves when idle.
    pub(crate) fn resize(&mut self, workers: usize) -> Vec<Order> {
        let mut orders = Vec::new();
        self.lanes.grow(workers);
        self.lanes.touch_all(|slot, lane| {
            lane.unwanted = slot >= workers;
            match lane.stage {
                Stage::Vacant | Stage::VacantUntil(_) | Stage::Away if lane.unwanted => lane.stage = Stage::Shut,
                Stage::Ready(_) if lane.unwanted => lane.recall_all(&mut orders),
                // Also where starts have failed too often: it is one more try, and may be the only place that is left.
                Stage::Shut if !lane.unwanted => lane.stage = Stage::Vacant,
                _ => {}
            }
        });
        orders
    }

    /// Idle workers that have no reason to stay; each is given once, and its place is free.
    pub(crate) fn leavers(&mut self) -> Vec<Arc<Line>> {
        let now = Instant::now();
        let open = self.is_open();
        let quiet = self.queue.is_empty();
        let mut leaving = Vec::new();
        let most = self.lanes.most_tasks();
        let may_be_bored = quiet && self.idle_timeout.is_some();
        let asked = if open && !may_be_bored { self.lanes.leaving() } else { self.lanes.idle() };
        for slot in asked.clone() {
            let mut lane = self.lanes.touch(slot);
            let Stage::Ready(line) = &lane.stage else { continue };
            if !lane.duty.is_clear() || lane.duty.accused {
                continue;
            }
            let duty = &lane.duty;
            let is_old = duty.is_spent(most);
            let is_bored = || {
                let until = duty.idle_since.zip(self.idle_timeout).and_then(|(since, limit)| since.checked_add(limit));
                may_be_bored && until.is_some_and(|until| until <= now)
            };
            let next = if !open || lane.unwanted || (is_old && self.one_shot) {
                Stage::Shut
            } else if is_old {
                Stage::Vacant
            } else if is_bored() {
                Stage::Away
            } else {
                continue;
            };
            leaving.push(line.clone());
            let _ = lane.vacate(next);
        }
        leaving
    }

    /// When the next worker will have been idle for too long.
    pub(crate) fn next_leave(&self) -> Option<Instant> {
        let limit = self.idle_timeout?;
        // Who is accused does not leave: it is killed.
        let staying = self.lanes.iter().filter(|lane| lane.line().is_some() && !lane.duty.accused);
        let idle = staying.filter_map(|lane| lane.duty.idle_since);
        idle.min()?.checked_add(limit)
    }

    /// Workers that are being started.
    pub(crate) fn starting(&self) -> impl Iterator<Item = u32> {
        self.lanes.iter().filter_map(|lane| match lane.stage {
            Stage::Starting { worker } => Some(worker),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use taskloom_core::backend_api::Settings;

    use super::*;

    fn books(stages: Vec<Stage>) -> Books {
        let mut books = Books::new(stages.len(), false, &Settings::default());
        books.phase = super::super::Phase::Open;
        for (slot, stage) in stages.into_iter().enumerate() {
            books.lanes.touch(slot).stage = stage;
        }
        books
    }

    #[test]
    fn the_last_place_that_is_wanted_is_tried_again() {
        // Starts have failed there too often; who was in the other place is not wanted any more.
        let mut books = books(vec![Stage::Shut, Stage::Away]);
        books.resize(1);
        assert!(matches!(books.lanes[0].stage, Stage::Vacant), "somebody has to come");
        assert!(matches!(books.lanes[1].stage, Stage::Shut));
    }
}
