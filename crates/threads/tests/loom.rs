//! Models of how work meets threads, over all orders of a few threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p taskloom-threads --test loom --release`
//!
//! The files under test are the crate's own, compiled against loom's locks. The crew around them is
//! the smallest that follows the same steps as `src/crew.rs`.
#![cfg(loom)]

#[path = "../src/bench.rs"]
#[expect(dead_code, reason = "a model has no processors to choose from")]
mod bench;
#[path = "../src/muster.rs"]
#[expect(dead_code, reason = "no thread is abandoned here")]
mod muster;

/// In place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    };

    /// Where a thread runs is no part of the protocol.
    pub(crate) mod cpu {
        pub(crate) fn here() -> u32 {
            0
        }
        pub(crate) fn leave(_: u32) {}
    }

    /// Everybody looks around before falling asleep, and how often is all the same: what is seen only makes the look short.
    #[derive(Debug, Default)]
    pub(crate) struct Spin;

    impl Spin {
        pub(crate) fn pays(&self) -> bool {
            true
        }
        pub(crate) fn look(&self, happened: impl Fn() -> bool) -> bool {
            happened()
        }
    }

    pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
        locked.unwrap()
    }
}

use std::{collections::VecDeque, sync::Arc, time::Duration};

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
    /// `Some(0)` for threads that leave as soon as they find nothing to do; loom has no clock for more.
    idle_timeout: Option<Duration>,
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
        Self::leaving_after(None, places)
    }

    fn leaving_after(idle_timeout: Option<Duration>, places: usize) -> Arc<Self> {
        // One is called, or started, at a time, so that whoever gets up has to call the next.
        let mut muster = Muster::new(places, 1, 1);
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
            idle_timeout,
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
            Answer::Idle => self.idle.later(&state.muster.idle),
            Answer::Spare => self.spare.later(&state.muster.spare),
            Answer::Hire => {
                let crew = self.clone();
                state.hired.push(thread::spawn(move || crew.arrive()));
                bench::Ring::default()
            }
            Answer::Enough => bench::Ring::default(),
            Answer::Nobody => panic!("there is a place for somebody"),
        }
    }

    /// The life of one that was hired.
    fn arrive(self: &Arc<Self>) {
        self.state.lock().unwrap().muster.arrive();
        self.work();
    }

    /// A worker's life; it counts as being at work when this begins.
    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock().unwrap();
        loop {
            let surplus = !state.closing && state.muster.has_surplus();
            if !surplus && let Some(item) = state.queue.pop_front() {
                let bell = if state.queue.is_empty() { bench::Ring::default() } else { self.summon(&mut state) };
                drop(state);
                bell.ring();
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
                if !state.queue.is_empty() && state.muster.idle.call() {
                    self.idle.later(&state.muster.idle).ring();
                }
                let called;
                (state, called) = self.spare.sit(&self.state, state, State::spares, State::is_closing, None);
                if !called {
                    return;
                }
            } else {
                let called;
                (state, called) =
                    self.idle.sit(&self.state, state, State::idlers, State::is_closing, self.idle_timeout);
                if !called && !state.closing && state.muster.can_spare_one() {
                    return state.muster.leave();
                }
            }
        }
    }

    /// As `Crew::resize` does; who comes is a thread of the model.
    fn resize(self: &Arc<Self>, places: usize) {
        let mut state = self.state.lock().unwrap();
        let before = state.muster.places();
        state.muster.resize(places);
        for _ in before..places {
            if state.muster.is_short() && state.muster.fill() == Answer::Hire {
                let crew = self.clone();
                state.hired.push(thread::spawn(move || crew.arrive()));
            }
        }
        drop(state);
        self.idle.ring_for_all();
        self.spare.ring_for_all();
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
            drop(state);
            self.resume();
        }
    }

    /// What a task waited for is over.
    fn resume(&self) {
        self.state.lock().unwrap().muster.join();
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

/// Every order of steps with up to three preemptions.
fn check(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

fn two_at_work(crew: &Arc<Crew>) -> [thread::JoinHandle<()>; 2] {
    [0, 1].map(|_| {
        let crew = crew.clone();
        thread::spawn(move || crew.work())
    })
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
    check(|| {
        let crew = Crew::new(2);
        let workers = two_at_work(&crew);
        crew.submit(1);
        crew.submit(2);
        crew.end(&[1, 2]);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn what_a_waiting_task_waits_for_is_done_by_another() {
    check(|| {
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

#[test]
fn who_is_too_many_takes_no_call_away() {
    check(|| {
        // Two sleepers; a third thread goes on with its task, before, while or after one of the two is called for an item.
        let crew = Crew::new(2);
        let workers = two_at_work(&crew);
        let other = crew.clone();
        let submitter = thread::spawn(move || other.submit(1));
        crew.resume();
        crew.end(&[1]);
        submitter.join().unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn a_sleeper_is_found_while_the_size_changes() {
    check(|| {
        // Two sleepers; one of them is called for an item before, while or after one becomes too many.
        let crew = Crew::new(2);
        let workers = two_at_work(&crew);
        let other = crew.clone();
        let submitter = thread::spawn(move || other.submit(1));
        crew.resize(1);
        crew.end(&[1]);
        submitter.join().unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(crew.state.lock().unwrap().muster.is_deserted());
    });
}

#[test]
fn one_more_finds_what_was_there_before() {
    check(|| {
        // The only place is taken by a task that goes on until an item is done, and does not say that it waits.
        let crew = Crew::new(1);
        let other = crew.clone();
        let submitter = thread::spawn(move || other.submit(1));
        crew.resize(2);
        crew.end(&[1]);
        submitter.join().unwrap();
    });
}

#[test]
fn work_that_comes_when_all_have_left_is_done() {
    check(|| {
        let crew = Crew::leaving_after(Some(Duration::ZERO), 1);
        let other = crew.clone();
        let worker = thread::spawn(move || other.work());
        crew.submit(1);
        crew.submit(2);
        crew.end(&[1, 2]);
        worker.join().unwrap();
    });
}
