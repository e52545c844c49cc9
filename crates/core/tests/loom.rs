//! Models of waiting for a task, over all orders of two threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p taskloom-core --test loom --release`
//!
//! The files under test are the crate's own, compiled against loom's atomics and threads.
#![cfg(loom)]

#[path = "../src/parker.rs"]
mod parker;
#[path = "../src/waiters.rs"]
mod waiters;

/// In place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use thread::Thread;

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
        waiters.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut cell = self.0.lock().unwrap();
        if !cell.0 {
            cell.1.add(waker);
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
