//! Tasks over their time: the handle resolves, the thread is left behind, replaced, counted and capped.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Gate, timed, until, watched};
use taskloom_core::{Context, Event, Policy, Pool, Retry, TaskError, task, task_fn};
use taskloom_threads::{Threads, pool};

const SHORT: Duration = Duration::from_millis(20);

fn strict() -> Policy {
    Policy::new().timeout(SHORT).grace(Duration::ZERO)
}

#[test]
fn a_stuck_task_is_left_behind_and_its_thread_replaced_in_its_slot() {
    watched("a_stuck_task_is_left_behind", || {
        let pool = pool().workers(1).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let stuck = pool.with(strict()).submit(task_fn(move |cx| (door.pass(), cx.worker()))).unwrap();
        let (outcome, took) = timed(|| stuck.join());
        assert!(matches!(outcome, Err(TaskError::TimedOut(_))));
        assert!(took >= SHORT);
        let (worker, slot) = pool.submit(task_fn(|cx| (cx.worker(), cx.slot()))).unwrap().join().unwrap();
        assert_eq!(slot, 0);
        assert_ne!(worker, 0);
        assert_eq!((pool.backend().threads(), pool.backend().abandoned()), (1, 1));
        gate.open();
        until(|| pool.backend().abandoned() == 0);
        assert_eq!(pool.backend().threads(), 1);
    });
}

#[test]
fn a_task_that_ends_within_its_grace_keeps_its_thread() {
    watched("a_task_that_ends_within_its_grace_keeps_its_thread", || {
        let pool = pool().workers(1).build().unwrap();
        let polite = Policy::new().timeout(SHORT).grace(Duration::from_secs(3600));
        let late = pool.with(polite).submit(task_fn(|cx| until(|| cx.is_cancelled()))).unwrap();
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        assert_eq!(pool.submit(task_fn(|cx| cx.worker())).unwrap().join().unwrap(), 0);
        assert_eq!(pool.backend().abandoned(), 0);
        // The end does not wait for a grace that nobody needs.
        pool.join();
    });
}

#[test]
fn a_grace_strikes_no_later_task_of_the_same_thread() {
    watched("a_grace_strikes_no_later_task_of_the_same_thread", || {
        let pool = pool().workers(1).build().unwrap();
        let polite = Policy::new().timeout(SHORT).grace(20 * SHORT);
        // Long enough to be seen when the watch is set, short enough to end before it strikes.
        let task = task_fn(|cx| (until(|| cx.is_cancelled()), thread::sleep(SHORT)));
        assert!(matches!(pool.with(polite).submit(task).unwrap().join(), Err(TaskError::TimedOut(_))));
        // Runs when the grace of the first is over.
        let next = task_fn(|cx| (thread::sleep(30 * SHORT), cx.worker()));
        assert_eq!(pool.submit(next).unwrap().join().unwrap().1, 0);
        assert_eq!(pool.backend().abandoned(), 0);
    });
}

/// A pool of one thread, of which one may be abandoned, and two tasks whose time is over and that wait at these gates.
fn two_stuck() -> (Pool<Threads>, [Gate; 2]) {
    let pool = pool().workers(1).max_abandoned(1).build().unwrap();
    let gates = [Gate::default(), Gate::default()];
    for gate in &gates {
        let door = gate.clone();
        let stuck = pool.with(strict()).submit(move || door.pass()).unwrap();
        assert!(matches!(stuck.join(), Err(TaskError::TimedOut(_))));
    }
    (pool, gates)
}

#[test]
fn at_the_cap_tasks_fail_with_its_name_until_a_thread_comes_back() {
    watched("at_the_cap_tasks_fail_with_its_name", || {
        let (pool, gates) = two_stuck();
        // The first thread is abandoned; the second may not be.
        let mut failed = Ok(());
        until(|| pool.backend().abandoned() == 1);
        for _ in 0..10_000 {
            // Until the grace is over a task may still be queued: it fails then.
            failed = pool.submit(|| ()).unwrap().join();
            if failed.is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(&failed, Err(TaskError::Exhausted(what)) if what.limit == 1), "{failed:?}");
        assert!(failed.unwrap_err().to_string().contains("abandoned"));
        // The stuck one comes back to its place.
        gates[1].open();
        until(|| pool.submit(|| ()).unwrap().join().is_ok());
        gates[0].open();
        until(|| pool.backend().abandoned() == 0);
        assert_eq!(pool.backend().threads(), 1);
    });
}

#[test]
fn at_the_cap_the_next_is_abandoned_when_another_has_come_back() {
    watched("at_the_cap_the_next_is_abandoned", || {
        let (pool, gates) = two_stuck();
        until(|| pool.submit(|| ()).unwrap().join().is_err());
        // The first comes back: the second may be left behind now, and is replaced.
        gates[0].open();
        until(|| pool.submit(|| ()).unwrap().join().is_ok());
        assert_eq!(pool.backend().abandoned(), 1);
        gates[1].open();
    });
}

#[test]
fn with_a_worker_left_tasks_run_at_the_cap() {
    watched("with_a_worker_left_tasks_run_at_the_cap", || {
        let pool = pool().workers(2).max_abandoned(0).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let stuck = pool.with(strict()).submit(move || door.pass()).unwrap();
        assert!(matches!(stuck.join(), Err(TaskError::TimedOut(_))));
        for n in 0..100 {
            assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
        }
        // What is stuck does not keep the pool from ending.
        pool.join();
        assert_eq!((pool.backend().threads(), pool.backend().abandoned()), (0, 1));
        gate.open();
    });
}

#[test]
fn a_task_that_waits_may_be_abandoned_too() {
    watched("a_task_that_waits_may_be_abandoned_too", || {
        let pool = pool().workers(1).build().unwrap();
        let gate = Gate::default();
        let (door, view) = (gate.clone(), (*pool).clone());
        let outer = move || {
            let mut inner = view.submit(move || door.pass()).unwrap();
            drop(inner.join_timeout(Duration::MAX));
        };
        let late = pool.with(strict()).submit(outer).unwrap();
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        until(|| pool.backend().abandoned() == 1);
        // The thread that runs the inner task has its place; two of one place would be one too many.
        assert_eq!(pool.backend().threads(), 1);
        gate.open();
        until(|| pool.backend().abandoned() == 0);
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
        until(|| pool.backend().threads() == 1);
    });
}

#[test]
fn an_abandoned_thread_is_reported() {
    watched("an_abandoned_thread_is_reported", || {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let log = ends.clone();
        let pool = pool()
            .workers(1)
            .on_event(move |event| {
                if let Event::WorkerEnded { worker, how, .. } = event {
                    log.lock().unwrap().push((*worker, how.clone()));
                }
            })
            .build()
            .unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let stuck = pool.with(strict()).submit(move || door.pass()).unwrap();
        let id = stuck.id();
        assert!(stuck.join().is_err());
        until(|| pool.backend().abandoned() == 1);
        gate.open();
        until(|| pool.backend().abandoned() == 0);
        pool.join();
        let ends = ends.lock().unwrap();
        assert_eq!(ends.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(), [0, 1]);
        assert!(ends[0].1.starts_with(&format!("abandoned in task {id} ")), "{ends:?}");
        assert_eq!(ends[1].1, "");
    });
}

static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);

/// Hangs in its first attempt until the second is over, and returns another value then.
#[task]
fn slow_at_first(_unused: u8) -> usize {
    let attempt = ATTEMPTS.fetch_add(1, Ordering::SeqCst);
    if attempt == 0 {
        until(|| ATTEMPTS.load(Ordering::SeqCst) >= 3);
    }
    attempt
}

#[test]
fn the_late_result_of_an_abandoned_attempt_is_ignored() {
    watched("the_late_result_of_an_abandoned_attempt_is_ignored", || {
        let pool = pool().workers(2).build().unwrap();
        let policy = strict().retry(Retry::timeouts(2)).allow_overlap();
        let late = pool.with(policy).submit(slow_at_first::task(0)).unwrap();
        assert_eq!(late.join().unwrap(), 1);
        ATTEMPTS.fetch_add(1, Ordering::SeqCst);
        until(|| pool.backend().abandoned() == 0);
        pool.join();
        assert_eq!(pool.open_tasks(), 0);
    });
}

#[test]
fn an_initialiser_that_hangs_does_not_hold_the_end() {
    watched("an_initialiser_that_hangs_does_not_hold_the_end", || {
        let gate = Gate::default();
        let door = gate.clone();
        let first_only = move |cx: &Context| {
            if cx.slot() > 0 {
                door.pass();
            }
            Ok::<_, String>(())
        };
        let pool = pool().workers(1).init_with(first_only).build().unwrap();
        let view = (*pool).clone();
        // The inner task would run on a lent thread, which never gets ready.
        let outer = pool.submit(move || view.submit(|| ()).unwrap().join_timeout(Duration::MAX)).unwrap();
        until(|| pool.backend().threads() == 2);
        pool.cancel_all(SHORT);
        assert!(matches!(outer.join(), Ok(Some(Err(TaskError::Cancelled)))));
        assert_eq!((pool.backend().threads(), pool.backend().abandoned()), (0, 1));
        gate.open();
        until(|| pool.backend().abandoned() == 0);
    });
}

#[test]
fn as_many_threads_may_be_lent_as_there_are_numbers() {
    let pool = pool().workers(2).max_extra(usize::MAX).max_abandoned(usize::MAX).build().unwrap();
    let view = (*pool).clone();
    let outer = move || view.submit(|| 1).unwrap().join_timeout(Duration::MAX).unwrap().unwrap();
    assert_eq!(pool.submit(outer).unwrap().join().unwrap(), 1);
}

static HANGING: Mutex<Option<Gate>> = Mutex::new(None);

/// Hangs in its first two attempts.
#[task]
fn hangs_twice(cx: &Context) -> u32 {
    let gate = HANGING.lock().unwrap().clone();
    if cx.attempt() <= 2 {
        gate.unwrap().pass();
    }
    cx.attempt()
}

#[test]
fn each_attempt_that_hangs_is_left_behind() {
    watched("each_attempt_that_hangs_is_left_behind", || {
        let gate = Gate::default();
        *HANGING.lock().unwrap() = Some(gate.clone());
        let pool = pool().workers(3).build().unwrap();
        // The second attempt's time is over before the first one's grace.
        let policy = Policy::new().timeout(SHORT).grace(5 * SHORT).retry(Retry::timeouts(2)).allow_overlap();
        let handle = pool.with(policy).submit(hangs_twice::task()).unwrap();
        assert_eq!(handle.join().unwrap(), 3);
        until(|| pool.backend().abandoned() == 2);
        gate.open();
        until(|| pool.backend().abandoned() == 0);
    });
}
