//! What core promises about handles, under real threads: who sees an outcome may rely on the rest.

mod common;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{Gate, until, watched};
use taskloom_core::{Event, Kind, Policy, TaskError, Until, as_completed, task_fn, wait};
use taskloom_threads::pool;

#[test]
fn a_joined_task_is_not_open_any_more() {
    watched("a_joined_task_is_not_open_any_more", || {
        let pool = pool().workers(2).build().unwrap();
        for n in 0..5000 {
            assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
            assert_eq!(pool.open_tasks(), 0);
        }
    });
}

#[test]
fn callbacks_come_in_order_of_registration_also_around_the_end() {
    watched("callbacks_come_in_order", || {
        let pool = pool().workers(2).build().unwrap();
        for _ in 0..2000 {
            let said = Arc::new(Mutex::new(Vec::new()));
            let handle = pool.submit(|| ()).unwrap();
            let (last, is_last) = channel();
            // The task ends somewhere in between.
            for n in 0..20 {
                let (said, last) = (said.clone(), last.clone());
                handle.on_done(move |_| {
                    said.lock().unwrap().push(n);
                    if n == 19 {
                        last.send(()).unwrap();
                    }
                });
            }
            is_last.recv().unwrap();
            assert_eq!(*said.lock().unwrap(), (0..20).collect::<Vec<_>>());
        }
    });
}

#[test]
fn callbacks_are_delivered_before_a_join_of_the_pool_returns_also_if_one_of_them_ended_it() {
    watched("callbacks_are_delivered_before_a_join", || {
        for _ in 0..50 {
            let pool = Arc::new(pool().workers(1).build().unwrap());
            let gate = Gate::default();
            let door = gate.clone();
            let heard = Arc::new(AtomicBool::new(false));
            let (own, late) = (pool.clone(), heard.clone());
            let handle = pool.submit(move || door.pass()).unwrap();
            handle.on_done(move |_| own.cancel_all(Duration::ZERO));
            handle.on_done(move |_| {
                thread::sleep(Duration::from_millis(2));
                late.store(true, Ordering::SeqCst);
            });
            gate.open();
            handle.join().unwrap();
            pool.join();
            assert!(heard.load(Ordering::SeqCst));
        }
    });
}

struct Panicking;
impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("a bad executor");
    }
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    watched("a_waker_that_panics_harms_nobody", || {
        let pool = pool().workers(1).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let mut handle = pin!(pool.submit(move || door.pass()).unwrap());
        let bad = Waker::from(Arc::new(Panicking));
        assert!(handle.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            gate.open();
        });
        // Whoever waits behind the bad one is woken all the same.
        wait([&*handle], Until::All, None);
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
        pool.join();
        assert_eq!(pool.open_tasks(), 0);
        assert!(matches!(handle.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    });
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn values_that_panic_when_dropped_end_neither_worker_nor_clock() {
    watched("values_that_panic_when_dropped", || {
        let pool = pool().workers(1).build().unwrap();
        let soon = pool.with(Policy::new().timeout(Duration::from_millis(10)).grace(Duration::ZERO));
        // Nobody takes these; the last owner is a worker, or the clock.
        for _ in 0..20 {
            drop(pool.submit(|| Bomb).unwrap());
            drop(soon.submit(|| Bomb).unwrap());
        }
        until(|| pool.open_tasks() == 0);
        let late = soon.submit(task_fn(|cx| until(|| cx.is_cancelled()))).unwrap();
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn waiting_sees_what_it_waits_for() {
    watched("waiting_sees_what_it_waits_for", || {
        let pool = pool().workers(2).build().unwrap();
        let gates: Vec<Gate> = (0..3).map(|_| Gate::default()).collect();
        let start = |bad: usize| -> Vec<_> {
            let tasks = gates.iter().cloned().enumerate();
            tasks
                .map(|(at, door)| {
                    pool.submit(move || {
                        door.pass();
                        assert_ne!(at, bad);
                    })
                    .unwrap()
                })
                .collect()
        };
        let handles = start(0);
        let nothing = wait(&handles, Until::All, Some(Duration::from_millis(5)));
        assert_eq!((nothing.done.len(), nothing.pending.len()), (0, 3));
        gates[1].open();
        assert_eq!(wait(&handles, Until::FirstCompleted, None).done, [1]);
        gates[0].open();
        assert!(wait(&handles, Until::FirstFailed, None).done.contains(&0));
        let known = wait(&handles, Until::All, Some(Duration::ZERO));
        assert_eq!((known.done, known.pending), (vec![0, 1], vec![2]));
        gates[2].open();
        assert_eq!(wait(&handles, Until::All, None).done, [0, 1, 2]);
        assert_eq!(wait(&handles[1..], Until::FirstFailed, None).done, [0, 1]);
        assert!(wait(&handles[..0], Until::FirstCompleted, None).done.is_empty());
    });
}

#[test]
fn all_of_many_are_waited_for() {
    watched("all_of_many_are_waited_for", || {
        let pool = pool().workers(2).build().unwrap();
        let handles: Vec<_> = (0..50_000).map(|n| pool.submit(move || n).unwrap()).collect();
        assert_eq!(wait(&handles, Until::All, None).done.len(), 50_000);
        assert_eq!(as_completed(handles).map(|handle| handle.join().unwrap()).max(), Some(49_999));
    });
}

#[test]
fn no_event_of_a_task_comes_after_its_last() {
    watched("no_event_of_a_task_comes_after_its_last", || {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        let pool = pool()
            .workers(4)
            .on_event(move |event| {
                if let Some(task) = event.task() {
                    let word = match event {
                        Event::Queued { .. } => "queued",
                        Event::Started { .. } => "started",
                        Event::Progress { .. } => "progress",
                        Event::Finished(_) => "finished",
                        _ => "other",
                    };
                    log.lock().unwrap().push((task, word));
                }
            })
            .build()
            .unwrap();
        // Deadlines strike before, at and after the start; what was left behind goes on reporting.
        let view = pool.with(Policy::new().deadline(Duration::from_micros(300)).grace(Duration::from_secs(3600)));
        let tasks = (0..500_u64).map(|n| {
            task_fn(move |cx| {
                for step in 0..50 {
                    cx.progress(step, 50);
                    if n % 3 == 0 {
                        thread::sleep(Duration::from_micros(20));
                    }
                }
            })
        });
        let kinds: Vec<_> =
            view.map(tasks).map(|result| result.map_or_else(|e| e.kind(), |()| Kind::Succeeded)).collect();
        assert_eq!(kinds.len(), 500);
        pool.join();
        let mut last = std::collections::HashMap::new();
        for (task, word) in events.lock().unwrap().iter() {
            let before = last.insert(*task, *word);
            let fits = match *word {
                "queued" => before.is_none(),
                "started" => before == Some("queued"),
                "progress" => matches!(before, Some("started" | "progress")),
                _ => matches!(before, Some("queued" | "started" | "progress")),
            };
            assert!(fits, "task {task}: {word} after {before:?}");
        }
        assert!(last.values().all(|word| *word == "finished"));
    });
}
