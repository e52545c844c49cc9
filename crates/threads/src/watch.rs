//! Grace periods, and what happens at their end: threads are left behind in their tasks.
//!
//! A task that was told to stop keeps its thread for a while. If it is still there at the end, its
//! handle has its outcome, or gets it now, and the thread is *abandoned*: it loses its seat to a
//! new one. A watcher thread waits for that; it is started when there is something to watch and
//! ends when there is nothing any more.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use taskloom_core::{Event, TaskError, Ticket, backend_api::Hub};

use crate::{
    crew::{Crew, State, Stranded},
    queue::Errand,
    seats::{Badge, Seat, Stance},
    sync::{Arc, MutexGuard, unpoisoned},
    worker::guarded,
};

/// What is being watched.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    entries: Vec<(Instant, Prey)>,
    watcher: Option<JoinHandle<()>>,
}

/// Who is to be gone by then.
#[derive(Debug, Clone, Copy)]
enum Prey {
    /// This thread, from the errand of this number.
    Errand(Badge, u64),
    /// All threads: the pool ends.
    Everybody,
}

/// What a thread that is left behind leaves to do, once the lock has been let go.
#[must_use]
#[derive(Debug)]
pub(crate) struct Left {
    badge: Badge,
    errand: Option<Errand>,
    stranded: Option<Stranded>,
    unreplaced: Option<TaskError>,
}

impl Watch {
    pub(crate) fn is_manned(&self) -> bool {
        self.watcher.is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn end(&mut self) -> Option<JoinHandle<()>> {
        self.watcher.take()
    }

    /// What is due at `now`, or else when the next is.
    fn due(&mut self, now: Instant) -> Option<Result<Prey, Instant>> {
        let (at, &(when, _)) = self.entries.iter().enumerate().min_by_key(|(_, (when, _))| *when)?;
        Some(if when <= now { Ok(self.entries.swap_remove(at).1) } else { Err(when) })
    }
}

impl Crew {
    /// A task was told to stop: its thread is left behind if it is still in it after `grace`.
    pub(crate) fn expect_end(self: &Arc<Self>, id: u64, grace: Duration) {
        let mut state = self.lock();
        // Of several attempts at a task the earlier ones have been told already.
        let seat = state
            .seats
            .iter_mut()
            .find(|seat| !seat.told && seat.errand.as_ref().is_some_and(|errand| errand.ticket.contains(id)));
        let Some(seat) = seat else { return };
        seat.told = true;
        let number = seat.errand.as_ref().map_or(0, |errand| errand.number);
        let prey = Prey::Errand(seat.badge, number);
        self.watch(state, grace, prey);
    }

    /// The pool ends: whoever is still in a task after `grace` is left behind.
    pub(crate) fn expect_all(self: &Arc<Self>, grace: Duration) {
        let state = self.lock();
        // Whoever has no errand gets none any more, and is on its way out.
        if state.seats.iter().any(Seat::is_busy) {
            self.watch(state, grace, Prey::Everybody);
        }
    }

    fn watch(self: &Arc<Self>, mut state: MutexGuard<'_, State>, grace: Duration, prey: Prey) {
        // A grace beyond the end of time never ends.
        let Some(at) = Instant::now().checked_add(grace) else { return };
        if !state.watch.is_manned() {
            let crew = self.clone();
            let name = format!("{}-watch", self.plan.name);
            match thread::Builder::new().name(name).spawn(move || crew.keep_watch()) {
                Ok(thread) => state.watch.watcher = Some(thread),
                Err(error) => {
                    let struck = self.strike(&mut state, prey);
                    drop(state);
                    log::warn!(target: "taskloom", "no thread to wait for the end of a grace period ({error}): it ends now");
                    struck.settle(&self.hub);
                    return;
                }
            }
        }
        state.watch.entries.push((at, prey));
        drop(state);
        self.watched.notify_one();
    }

    /// The body of the watcher.
    fn keep_watch(self: Arc<Self>) {
        let mut state = self.lock();
        while let Some(due) = state.watch.due(Instant::now()) {
            match due {
                Ok(prey) => {
                    let struck = self.strike(&mut state, prey);
                    drop(state);
                    // Loggers run there.
                    guarded("the end of a grace period panicked", || struck.settle(&self.hub));
                    state = self.lock();
                }
                Err(when) => {
                    let left = when.saturating_duration_since(Instant::now());
                    state = unpoisoned(self.watched.wait_timeout(state, left)).0;
                }
            }
        }
        self.leave_watch(state);
    }

    fn strike(self: &Arc<Self>, state: &mut State, prey: Prey) -> Struck {
        let mut struck = Struck::default();
        match prey {
            Prey::Errand(badge, number) => {
                let still =
                    state.seats.get(badge).is_some_and(|seat| seat.errand.as_ref().is_some_and(|e| e.number == number));
                if still {
                    struck.left.push(self.abandon(state, badge));
                }
            }
            Prey::Everybody => {
                let late: Vec<Badge> =
                    state.seats.iter().filter(|seat| seat.is_busy()).map(|seat| seat.badge).collect();
                struck.left.extend(late.into_iter().map(|badge| self.abandon(state, badge)));
                struck.in_place = std::mem::take(&mut state.in_place);
                struck.end = true;
            }
        }
        struck
    }

    /// Leaves a thread behind: below the cap, and when the pool ends in any case.
    pub(crate) fn abandon(self: &Arc<Self>, state: &mut State, badge: Badge) -> Left {
        let mut left = Left { badge, errand: None, stranded: None, unreplaced: None };
        let closing = state.closing;
        if !closing && state.abandoned >= self.plan.max_abandoned {
            hold(state, badge);
            left.stranded = self.cover(state);
            return left;
        }
        let Some(seat) = state.seats.vacate(badge) else { return left };
        state.abandoned += 1;
        match seat.stance {
            Stance::AtWork => state.muster.leave(),
            Stance::Stuck => state.muster.unstick(),
            Stance::Waiting | Stance::Spare | Stance::Leaving => {}
        }
        if !seat.ready {
            state.muster.arrive();
        }
        left.errand = seat.errand;
        // One that waited may have been replaced before.
        if !closing && state.muster.is_short() {
            left.unreplaced = self.fill(state, badge.slot).err();
        }
        left.stranded = self.cover(state);
        self.is_empty(state);
        self.note_change();
        left
    }

    /// An abandoned thread has come back: another that is overdue may be abandoned instead.
    pub(crate) fn come_back(self: &Arc<Self>, state: &mut State) -> Option<Left> {
        state.abandoned -= 1;
        let overdue = state.seats.iter().find(|seat| seat.overdue).map(|seat| seat.badge)?;
        Some(self.abandon(state, overdue))
    }
}

/// A thread ought to be abandoned and must not: its place is lost until it comes back.
fn hold(state: &mut State, badge: Badge) {
    let Some(seat) = state.seats.get(badge) else { return };
    seat.overdue = true;
    if seat.stance == Stance::AtWork {
        seat.stance = Stance::Stuck;
        state.muster.leave();
        state.muster.stick();
    }
}

/// What is left to do after some threads' time was over, once the lock has been let go.
#[must_use]
#[derive(Debug, Default)]
struct Struck {
    left: Vec<Left>,
    /// Tasks on those threads' stacks that are no errand of theirs.
    in_place: Vec<Ticket>,
    /// Whether the pool ends: then what runs gets its outcome now.
    end: bool,
}

impl Struck {
    fn settle(self, hub: &Hub) {
        if self.end {
            let open = self.left.iter().filter_map(|left| left.errand.as_ref()).map(|errand| &errand.ticket);
            for ticket in open.chain(&self.in_place).filter(|ticket| ticket.is_open()) {
                log::warn!(
                    target: "taskloom",
                    "task {} `{}` did not end within the grace period: its thread is left behind",
                    ticket.id(),
                    ticket.name()
                );
                ticket.give_up(&TaskError::Cancelled);
            }
        }
        self.left.into_iter().for_each(|left| left.settle(hub));
    }
}

impl Left {
    pub(crate) fn settle(self, hub: &Hub) {
        if let Some(errand) = &self.errand {
            let how = || format!("abandoned in task {} `{}`", errand.ticket.id(), errand.ticket.name());
            hub.emit(|| Event::worker_ended(self.badge.worker, std::process::id(), how()));
        }
        if let Some(error) = self.unreplaced {
            log::warn!(target: "taskloom", "worker {} was abandoned and cannot be replaced: {error}", self.badge.worker);
        }
        self.stranded.into_iter().for_each(Stranded::fail);
    }
}
