//! Models of waiting for a task, for room and for a pool's end, over all orders of a few threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p taskloom-core --test loom --release`
//!
//! The files under test are the crate's own, compiled against loom's atomics and threads.
#![cfg(loom)]

#[path = "../src/gauge.rs"]
mod gauge;
#[path = "../src/parker.rs"]
mod parker;
#[path = "../src/waiters.rs"]
mod waiters;

/// In place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    };
    pub(crate) use thread::Thread;

    pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
        locked.unwrap()
    }

    pub(crate) fn between() {
        fence(Ordering::SeqCst);
    }

    /// Parking as std describes it: a token a thread. Loom's own confuses a token that comes while
    /// a thread waits for something else.
    pub(crate) mod thread {
        use loom::sync::{Arc, Condvar, Mutex};

        #[derive(Clone)]
        pub(crate) struct Thread(Arc<(Mutex<bool>, Condvar)>);

        loom::thread_local! {
            static THIS: Thread = Thread(Arc::new((Mutex::new(false), Condvar::new())));
        }

        impl Thread {
            pub(crate) fn unpark(&self) {
                *self.0.0.lock().unwrap() = true;
                self.0.1.notify_one();
            }
        }

        pub(crate) fn current() -> Thread {
            THIS.with(Thread::clone)
        }

        pub(crate) fn park() {
            let this = current();
            let mut token = this.0.0.lock().unwrap();
            while !*token {
                token = this.0.1.wait(token).unwrap();
            }
            *token = false;
        }

        /// Loom has no clock. The models wait without a limit.
        pub(crate) fn park_timeout(_: std::time::Duration) {
            park();
        }
    }
}

use std::task::Waker;

use gauge::{Bound, Full, Gauge};
use loom::{
    sync::{Arc, Mutex},
    thread,
};
use parker::Parker;
use waiters::Waiters;

/// What of a node counts here: whether it is done, and who waits.
#[derive(Default)]
struct Node(Mutex<(bool, Waiters)>);

impl Node {
    fn finish(&self) {
        let mut cell = self.0.lock().unwrap();
        cell.0 = true;
        let waiters = std::mem::take(&mut cell.1);
        drop(cell);
        waiters.into_iter().for_each(|waiter| waiter.waker.wake());
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut cell = self.0.lock().unwrap();
        if !cell.0 {
            cell.1.add(waker, true);
        }
        cell.0
    }
}

/// As `park::wait_until` does.
fn wait(parker: &std::sync::Arc<Parker>, waker: &Waker, ready: impl Fn(&Waker) -> bool) {
    parker.lower();
    while !ready(waker) {
        // It may look before it sleeps, and makes nothing of it.
        parker.is_woken();
        parker.sleep(None);
    }
}

fn this_thread() -> (std::sync::Arc<Parker>, Waker) {
    let parker = Parker::of_this_thread();
    (parker.clone(), parker.into())
}

#[test]
fn who_waits_for_a_node_is_woken_by_its_end() {
    loom::model(|| {
        let node = Arc::new(Node::default());
        let other = node.clone();
        let worker = thread::spawn(move || other.finish());
        let (parker, waker) = this_thread();
        wait(&parker, &waker, |waker| node.poll(waker));
        worker.join().unwrap();
    });
}

#[test]
fn a_late_wake_up_for_one_node_hides_none_for_another() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let nodes = Arc::new([Node::default(), Node::default()]);
        let (parker, waker) = this_thread();
        // A wait that gave up has left its waker behind, and may be woken by it at any time.
        nodes[0].poll(&waker);
        let workers = [0, 1].map(|at| {
            let nodes = nodes.clone();
            thread::spawn(move || nodes[at].finish())
        });
        wait(&parker, &waker, |waker| nodes[1].poll(waker));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn two_threads_wait_for_one_node() {
    loom::model(|| {
        let node = Arc::new(Node::default());
        let other = node.clone();
        let waiting = thread::spawn(move || {
            let (parker, waker) = this_thread();
            wait(&parker, &waker, |waker| other.poll(waker));
        });
        let last = node.clone();
        let worker = thread::spawn(move || last.finish());
        let (parker, waker) = this_thread();
        wait(&parker, &waker, |waker| node.poll(waker));
        waiting.join().unwrap();
        worker.join().unwrap();
    });
}

const ONE: Bound = Bound { items: 1, bytes: usize::MAX };

#[test]
fn who_waits_for_room_gets_what_another_gives_back() {
    loom::model(|| {
        let gauge = Arc::new(Gauge::default());
        gauge.admit(1, 1, ONE).unwrap();
        let other = gauge.clone();
        let waits = thread::spawn(move || other.admit(1, 1, ONE));
        gauge.leave_queue(1, 1);
        assert_eq!(waits.join().unwrap(), Ok(()));
        gauge.done(2);
        gauge.wait_all_done();
    });
}

#[test]
fn what_is_added_for_a_moment_leaves_nobody_waiting() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let gauge = Arc::new(Gauge::default());
        let bound = Bound { items: 2, bytes: usize::MAX };
        gauge.admit(1, 1, bound).unwrap();
        let [too_many, fits] = [gauge.clone(), gauge.clone()];
        // Finds no room, and takes back what it has added.
        let too_many = thread::spawn(move || too_many.try_admit(2, 2, Some(bound)));
        let fits = thread::spawn(move || fits.admit(1, 1, bound));
        assert_eq!(fits.join().unwrap(), Ok(()));
        assert_eq!(too_many.join().unwrap(), Err(Full::Full));
        assert_eq!(gauge.open(), 2);
    });
}

#[test]
fn the_end_waits_for_what_was_accepted_and_nothing_is_accepted_behind_it() {
    loom::model(|| {
        let gauge = Arc::new(Gauge::default());
        let other = gauge.clone();
        let submits = thread::spawn(move || {
            let admitted = other.admit(1, 1, ONE);
            if admitted.is_ok() {
                other.leave_queue(1, 1);
                other.done(1);
            }
            admitted.is_ok()
        });
        gauge.close();
        gauge.wait_all_done();
        assert_eq!(gauge.try_admit(1, 1, Some(ONE)), Err(Full::Closed));
        submits.join().unwrap();
        assert_eq!(gauge.open(), 0);
    });
}

#[test]
fn who_waits_for_room_hears_of_the_end() {
    loom::model(|| {
        let gauge = Arc::new(Gauge::default());
        gauge.admit(1, 1, ONE).unwrap();
        let other = gauge.clone();
        let waits = thread::spawn(move || other.admit(1, 1, ONE));
        gauge.close();
        assert_eq!(waits.join().unwrap(), Err(Full::Closed));
    });
}
