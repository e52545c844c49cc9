//! Models of how work meets threads, over all orders of a few threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p taskloom-threads --test loom --release`
//!
//! The files under test are the crate's own, compiled against loom's locks. The crew around them is
//! the smallest that follows the same steps as `src/crew.rs`.
#![cfg(loom)]

#[path = "../src/bench.rs"]
mod bench;
#[path = "../src/muster.rs"]
#[expect(dead_code, reason = "no thread is abandoned here")]
mod muster;

/// In place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::{Condvar, MutexGuard};

    pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
        locked.unwrap()
    }
}

use std::{collections::VecDeque, sync::Arc};

use bench::{Bell, Bench};
use loom::{
    sync::{Condvar, Mutex},
    thread,
};
use muster::{Answer, Muster};

struct Crew {
    state: Mutex<State>,
    idle: Bell,
    spare: Bell,
    /// Rung when an item has been done; the place of a node's wakers.
    done: Condvar,
}

struct State {
    muster: Muster,
    queue: VecDeque<u32>,
    done: Vec<u32>,
    hired: Vec<thread::JoinHandle<()>>,
    closing: bool,
}

impl State {
    fn idlers(&mut self) -> &mut Bench {
        &mut self.muster.idle
    }
    fn spares(&mut self) -> &mut Bench {
        &mut self.muster.spare
    }
    fn is_closing(&self) -> bool {
        self.closing
    }
}

impl Crew {
    /// A crew with so many places, all of them taken by threads of the model.
    fn new(places: usize) -> Arc<Self> {
        let mut muster = Muster::new(places);
        (0..places).for_each(|_| muster.join());
        Arc::new(Self {
            state: Mutex::new(State {
                muster,
                queue: VecDeque::new(),
                done: Vec::new(),
                hired: Vec::new(),
                closing: false,
            }),
            idle: Bell::default(),
            spare: Bell::default(),
            done: Condvar::new(),
        })
    }

    fn submit(self: &Arc<Self>, item: u32) {
        let mut state = self.state.lock().unwrap();
        state.queue.push_back(item);
        let bell = self.summon(&mut state);
        drop(state);
        bell.ring();
    }

    fn summon(self: &Arc<Self>, state: &mut State) -> bench::Ring<'_> {
        match state.muster.summon() {
            Answer::Idle => self.idle.later(),
            Answer::Spare => self.spare.later(),
            Answer::Hire => {
                let crew = self.clone();
                state.hired.push(thread::spawn(move || crew.work()));
                bench::Ring::default()
            }
            Answer::Enough => bench::Ring::default(),
            Answer::Nobody => panic!("there is a place for somebody"),
        }
    }

    /// A worker's life; it counts as being at work when this begins.
    fn work(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            let surplus = !state.closing && state.muster.has_surplus();
            if !surplus && let Some(item) = state.queue.pop_front() {
                drop(state);
                state = self.state.lock().unwrap();
                state.done.push(item);
                self.done.notify_all();
                continue;
            }
            if state.closing {
                return state.muster.leave();
            }
            if surplus {
                state.muster.leave();
                let called;
                (state, called) = self.spare.sit(state, State::spares, State::is_closing, None);
                if !called {
                    return;
                }
            } else {
                (state, _) = self.idle.sit(state, State::idlers, State::is_closing, None);
            }
        }
    }

    /// A task waits for an item, as `Crew::block` and `Crew::resume` do around it.
    fn wait_in_task(self: &Arc<Self>, item: u32) {
        let mut state = self.state.lock().unwrap();
        if !state.done.contains(&item) {
            state.muster.leave();
            if !state.queue.is_empty() {
                let bell = self.summon(&mut state);
                drop(state);
                bell.ring();
                state = self.state.lock().unwrap();
            }
            while !state.done.contains(&item) {
                state = self.done.wait(state).unwrap();
            }
            state.muster.join();
        }
    }

    /// Ends it, when all of `items` are done; whoever never gets up would hang the model.
    fn end(&self, items: &[u32]) {
        let mut state = self.state.lock().unwrap();
        while !items.iter().all(|item| state.done.contains(item)) {
            state = self.done.wait(state).unwrap();
        }
        state.closing = true;
        let hired = std::mem::take(&mut state.hired);
        drop(state);
        self.idle.ring_for_all();
        self.spare.ring_for_all();
        hired.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_sleeper_is_never_missed() {
    loom::model(|| {
        let crew = Crew::new(1);
        let other = crew.clone();
        let worker = thread::spawn(move || other.work());
        crew.submit(1);
        crew.end(&[1]);
        worker.join().unwrap();
    });
}

#[test]
fn two_items_for_two_sleepers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let crew = Crew::new(2);
        let workers = [0, 1].map(|_| {
            let crew = crew.clone();
            thread::spawn(move || crew.work())
        });
        crew.submit(1);
        crew.submit(2);
        crew.end(&[1, 2]);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn what_a_waiting_task_waits_for_is_done_by_another() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        // The only place is taken by a task that waits for an item which comes before, while or after it begins to wait.
        let crew = Crew::new(1);
        let other = crew.clone();
        let submitter = thread::spawn(move || other.submit(1));
        crew.wait_in_task(1);
        // Back at work: it takes what comes then, though the lent thread may be there still.
        let worker = {
            let crew = crew.clone();
            thread::spawn(move || crew.work())
        };
        crew.submit(2);
        crew.end(&[1, 2]);
        submitter.join().unwrap();
        worker.join().unwrap();
        assert!(crew.state.lock().unwrap().muster.is_deserted());
    });
}
