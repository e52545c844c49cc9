//! How threads come: with the pool, when work needs another, and when the pool is told to have more.

use std::thread;

use taskloom_core::{Exhausted, StartError, TaskError};

use crate::{
    crew::{Crew, State},
    muster::Answer,
    seats::{Badge, Seat, Stance},
    sync::{Arc, unpoisoned},
    worker,
};

/// So many workers start when the pool is built.
const AT_ONCE: usize = 64;

impl Crew {
    /// Starts the workers and waits for their initialisers. Of very many the others come when there is work for them, unless
    /// an initialiser of theirs could fail: that is to be an error of the build.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), TaskError> {
        let mut state = self.lock();
        let at_once = if self.plan.init.is_some() { usize::MAX } else { AT_ONCE };
        for slot in 0..self.plan.workers.min(at_once) as u32 {
            if let Err(error) = self.fill(&mut state, slot) {
                state.failure = Some(not_started(&error));
                break;
            }
        }
        // Without an initialiser there is nothing that can fail any more.
        while self.plan.init.is_some() && state.failure.is_none() && state.seats.iter().any(|seat| !seat.ready) {
            state = unpoisoned(self.changed.wait(state));
        }
        let Some(error) = state.failure.clone() else {
            state.is_built = true;
            return Ok(());
        };
        state.closing = true;
        drop(state);
        self.ring_for_all();
        self.wait_gone();
        Err(error)
    }

    /// How many are to work at a time.
    pub(crate) fn places(&self) -> usize {
        self.lock().muster.places()
    }

    /// Changes how many are to work at a time. As many as there are more of now are started; places of threads that wait or
    /// have left for want of work are filled when there is work. If one cannot be started nothing is changed.
    pub(crate) fn resize(self: &Arc<Self>, places: usize) -> Result<(), TaskError> {
        let mut state = self.lock();
        if state.closing {
            return Err(TaskError::Closed);
        }
        let before = state.muster.places();
        state.muster.resize(places);
        let mut done = Ok(());
        for _ in before..places {
            if !state.muster.is_short() {
                break;
            }
            let slot = state.seats.free_slot();
            if let Err(error) = self.fill(&mut state, slot) {
                state.muster.resize(before);
                done = Err(not_started(&error));
                break;
            }
        }
        drop(state);
        self.ring_for_all();
        done
    }

    /// Gives a free place to a spare thread, or else to a new one in this slot.
    pub(crate) fn fill(self: &Arc<Self>, state: &mut State, slot: u32) -> Result<(), TaskError> {
        if state.muster.fill() == Answer::Spare {
            self.spare.later(&state.muster.spare).ring();
            return Ok(());
        }
        self.hire(state, slot).inspect_err(|_| {
            state.muster.arrive();
            state.muster.leave();
        })
    }

    /// Starts a thread for work that nobody can come for.
    pub(crate) fn hire_extra(self: &Arc<Self>, state: &mut State) -> Result<(), TaskError> {
        let limit = state.muster.places().saturating_add(self.plan.max_extra);
        let leaving = |state: &State| state.seats.iter().filter(|seat| seat.stance == Stance::Leaving).count();
        // Those who leave are looked for only when it matters.
        if state.seats.count() >= limit && state.seats.count() - leaving(state) >= limit {
            return Err(Exhausted::new("threads to take the place of those that wait", limit as u64).into());
        }
        let slot = state.seats.free_slot();
        self.hire(state, slot)
    }

    /// Starts a thread in a free place. The muster has counted it already.
    pub(crate) fn hire(self: &Arc<Self>, state: &mut State, slot: u32) -> Result<(), TaskError> {
        let badge = Badge { worker: state.hired, slot };
        let mut builder = thread::Builder::new().name(format!("{}-{slot}", self.plan.name));
        if let Some(size) = self.plan.stack_size {
            builder = builder.stack_size(size);
        }
        let crew = self.clone();
        let thread = builder.spawn(move || worker::run(&crew, badge)).map_err(|error| {
            Exhausted::new(format!("threads (the system starts no other: {error})"), state.seats.count() as u64)
        })?;
        state.hired += 1;
        state.seats.place(Seat {
            badge,
            thread,
            stance: Stance::AtWork,
            ready: false,
            errand: None,
            told: false,
            overdue: false,
        });
        Ok(())
    }
}

fn not_started(error: &TaskError) -> TaskError {
    let limits =
        "the system allows no more threads: see `ulimit -u`, the cgroup's `pids.max`, or ask for a smaller stack";
    StartError::new(format!("a worker did not start: {error} ({limits})")).into()
}
