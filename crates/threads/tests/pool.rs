//! A pool of threads as its users see it: how it is built, what runs on it, how it ends.

mod common;

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Gate, timed, until, watched};
use taskloom_core::{Cancel, Context, Event, TaskError, task_fn};
use taskloom_threads::pool;

#[test]
fn capabilities_are_those_of_threads() {
    let pool = pool().workers(3).build().unwrap();
    let can = pool.capabilities();
    assert_eq!((can.name, can.workers), ("threads", 3));
    assert!(can.abandons && can.nests);
    assert!(!(can.encodes || can.isolates || can.kills || can.limits_memory || can.runs_at_submission));
}

#[test]
fn a_pool_has_as_many_threads_as_it_was_told() {
    watched("a_pool_has_as_many_threads_as_it_was_told", || {
        let pool = pool().workers(3).build().unwrap();
        let gate = Gate::default();
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let (gate, seen) = (gate.clone(), seen.clone());
                pool.submit(move || {
                    seen.lock().unwrap().insert(thread::current().id());
                    gate.pass();
                })
                .unwrap()
            })
            .collect();
        // All three run at once, each on a thread of its own.
        until(|| seen.lock().unwrap().len() == 3);
        assert_eq!(pool.backend().threads(), 3);
        gate.open();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn all_who_sleep_come_for_tasks_that_need_each_other() {
    watched("all_who_sleep_come_for_tasks_that_need_each_other", || {
        // Far more than are called or started at a time, or with the pool: each has to call the next.
        let workers = 100;
        let pool = pool().workers(workers).build().unwrap();
        for round in 1..=20 {
            let (gate, inside) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let (gate, inside) = (gate.clone(), inside.clone());
                    pool.submit(move || {
                        inside.fetch_add(1, Ordering::Relaxed);
                        gate.pass();
                    })
                    .unwrap()
                })
                .collect();
            until(|| inside.load(Ordering::Relaxed) == workers);
            gate.open();
            handles.into_iter().for_each(|handle| handle.join().unwrap());
            // Some rounds begin when all have fallen asleep, some before.
            thread::sleep(Duration::from_micros(500 * (round % 3)));
        }
    });
}

#[test]
fn no_worker_is_an_error_of_the_build() {
    assert!(matches!(pool().workers(0).build(), Err(TaskError::Start(_))));
}

#[test]
fn threads_have_the_name_and_their_slot() {
    let pool = pool().workers(1).name("loom").build().unwrap();
    let name = pool.submit(|| thread::current().name().map(str::to_owned)).unwrap().join().unwrap();
    assert_eq!(name.as_deref(), Some("loom-0"));
}

#[test]
fn a_name_that_is_none_is_an_error_of_the_build() {
    assert!(matches!(pool().name("a\0b").build(), Err(TaskError::Start(_))));
}

#[test]
fn the_stack_is_as_large_as_asked_for() {
    // Twice the default of std, all of it touched.
    fn deep(left: usize) -> u64 {
        let page = std::hint::black_box([1_u8; 4096]);
        if left == 0 { u64::from(page[0]) } else { deep(left - 1) + u64::from(page[left % 4096]) }
    }
    let pool = pool().workers(1).stack_size(16 << 20).build().unwrap();
    assert_eq!(pool.submit(|| deep(1000)).unwrap().join().unwrap(), 1001);
}

#[test]
fn a_stack_that_no_system_gives_is_an_error_of_the_build() {
    let error = watched("a_stack_that_no_system_gives", || pool().workers(2).stack_size(1 << 46).build().unwrap_err());
    assert!(matches!(error, TaskError::Start(_)), "{error}");
}

#[test]
fn each_worker_has_its_own_state() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let pool = pool()
        .workers(3)
        .init_with(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            // Neither `Send` nor `Sync`.
            Ok::<_, String>(Cell::new(0_u32))
        })
        .build()
        .unwrap();
    // All have been initialised when the pool is there.
    assert_eq!(made.load(Ordering::Relaxed), 3);
    let bump = |cx: &Context| {
        let state = cx.state::<Cell<u32>>().unwrap();
        state.set(state.get() + 1);
        (cx.worker(), state.get())
    };
    let mut last = std::collections::HashMap::new();
    let handles: Vec<_> = (0..100).map(|_| pool.submit(task_fn(bump)).unwrap()).collect();
    for handle in handles {
        let (worker, count) = handle.join().unwrap();
        let best = last.entry(worker).or_insert(0);
        *best = count.max(*best);
    }
    assert_eq!(last.values().sum::<u32>(), 100);
}

#[test]
fn an_initialiser_that_fails_on_one_worker_fails_the_build() {
    watched("an_initialiser_that_fails", || {
        let error = pool()
            .workers(4)
            .init_with(|cx| if cx.slot() == 2 { Err("no license left") } else { Ok(()) })
            .build()
            .unwrap_err();
        assert!(error.to_string().contains("no license left"), "{error}");
        let error = pool().workers(2).init_with(|_| -> Result<(), String> { panic!("oh") }).build().unwrap_err();
        assert!(matches!(error, TaskError::Panicked(_)), "{error}");
    });
}

#[test]
fn workers_announce_themselves_and_their_end() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let pool = pool()
        .workers(2)
        .on_event(move |event| match event {
            Event::WorkerStarted { worker, .. } => log.lock().unwrap().push(("started", *worker)),
            Event::WorkerEnded { worker, how, .. } => {
                assert_eq!(how, "");
                log.lock().unwrap().push(("ended", *worker));
            }
            _ => {}
        })
        .build()
        .unwrap();
    pool.join();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [("ended", 0), ("ended", 1), ("started", 0), ("started", 1)]);
}

#[test]
fn a_task_is_measured_with_its_threads_clock() {
    let pool = pool().workers(1).metrics(true).build().unwrap();
    let mut busy = pool
        .submit(|| {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        })
        .unwrap();
    until(|| busy.is_finished());
    let metrics = busy.summary().unwrap().metrics;
    busy.try_join().unwrap().unwrap();
    assert!(metrics.wall.unwrap() >= Duration::from_millis(30));
    assert!(metrics.cpu.unwrap() > Duration::ZERO);
    let asleep = pool.submit(|| thread::sleep(Duration::from_millis(200))).unwrap();
    until(|| asleep.is_finished());
    let metrics = asleep.summary().unwrap().metrics;
    assert!(metrics.wall.unwrap() >= Duration::from_millis(200));
    assert!(metrics.cpu.unwrap() < metrics.wall.unwrap());
}

#[test]
fn jobs_start_in_the_order_of_submission() {
    let pool = pool().workers(1).build().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::default();
    let first = gate.clone();
    pool.submit(move || first.pass()).unwrap();
    for n in 0..50 {
        let order = order.clone();
        pool.submit(move || order.lock().unwrap().push(n)).unwrap();
    }
    gate.open();
    pool.join();
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_panic_costs_one_task() {
    let pool = pool().workers(1).build().unwrap();
    let bad = pool.submit(|| panic!("once")).unwrap();
    let good = pool.submit(|| 1).unwrap();
    assert!(matches!(bad.join(), Err(TaskError::Panicked(_))));
    assert_eq!(good.join().unwrap(), 1);
}

#[test]
fn a_slow_item_of_a_chunk_delays_no_other() {
    watched("a_slow_item_of_a_chunk_delays_no_other", || {
        let pool = pool().workers(2).build().unwrap();
        let gate = Gate::default();
        let done = Arc::new(AtomicUsize::new(0));
        // One chunk: the other worker has to help with what the first cannot get at.
        let view = pool.with(taskloom_core::Policy::new().chunk(64).window(64));
        let tasks = (0..64_usize).map(|n| {
            let (gate, done) = (gate.clone(), done.clone());
            move || {
                if n == 0 {
                    gate.pass();
                }
                done.fetch_add(1, Ordering::SeqCst);
                n
            }
        });
        let mut results = view.map_unordered(tasks);
        let mut quick: Vec<_> = results.by_ref().take(63).map(Result::unwrap).collect();
        assert_eq!(done.load(Ordering::SeqCst), 63);
        gate.open();
        quick.extend(results.map(Result::unwrap));
        assert_eq!(quick.last(), Some(&0));
        quick.sort_unstable();
        assert_eq!(quick, (0..64).collect::<Vec<_>>());
    });
}

#[test]
fn many_workers_share_one_chunk() {
    watched("many_workers_share_one_chunk", || {
        let pool = pool().workers(8).build().unwrap();
        let view = pool.with(taskloom_core::Policy::new().chunk(8).window(8));
        for _ in 0..3 {
            // Threads that are asleep have to be called; those that have just started look by themselves.
            thread::sleep(Duration::from_millis(20));
            let arrived = Arc::new(AtomicUsize::new(0));
            // Each item waits for all: they run at once or never end.
            let tasks = (0..8).map(|_| {
                let arrived = arrived.clone();
                move || {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    until(|| arrived.load(Ordering::SeqCst) == 8);
                }
            });
            assert_eq!(view.map(tasks).filter(Result::is_ok).count(), 8);
        }
    });
}

#[test]
fn join_finishes_everything() {
    let pool = pool().workers(2).build().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let done = done.clone();
        pool.submit(move || done.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
    pool.join();
    assert_eq!(done.load(Ordering::SeqCst), 1000);
    assert_eq!(pool.backend().threads(), 0);
    assert!(matches!(pool.submit(|| ()), Err(TaskError::Closed)));
    pool.join();
    pool.cancel_all(Duration::ZERO);
}

#[test]
fn cancel_all_ends_what_waits_and_what_listens() {
    watched("cancel_all_ends_what_waits_and_what_listens", || {
        let pool = pool().workers(1).build().unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let polite = pool
            .submit(task_fn(move |cx| {
                started.send(()).unwrap();
                until(|| cx.is_cancelled());
                7
            }))
            .unwrap();
        let waiting = pool.submit(|| ()).unwrap();
        has_started.recv().unwrap();
        pool.cancel_all(Duration::from_secs(3600));
        // What a running task returns in time is its outcome.
        assert_eq!(polite.join().unwrap(), 7);
        assert!(matches!(waiting.join(), Err(TaskError::Cancelled)));
        assert_eq!((pool.backend().threads(), pool.backend().abandoned()), (0, 0));
    });
}

#[test]
fn cancel_all_leaves_behind_what_does_not_listen() {
    watched("cancel_all_leaves_behind_what_does_not_listen", || {
        let pool = pool().workers(2).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let (started, has_started) = std::sync::mpsc::channel();
        let deaf = pool
            .submit(move || {
                started.send(()).unwrap();
                door.pass();
            })
            .unwrap();
        has_started.recv().unwrap();
        let ((), took) = timed(|| pool.cancel_all(Duration::from_millis(50)));
        assert!(took >= Duration::from_millis(50));
        assert!(matches!(deaf.join(), Err(TaskError::Cancelled)));
        assert_eq!((pool.backend().threads(), pool.backend().abandoned()), (0, 1));
        assert_eq!(pool.open_tasks(), 0);
        // It comes back after all, and ends quietly.
        gate.open();
        until(|| pool.backend().abandoned() == 0);
        pool.join();
    });
}

#[test]
fn a_task_that_runs_inside_its_joiner_gets_an_outcome_too() {
    watched("a_task_that_runs_inside_its_joiner_gets_an_outcome_too", || {
        let pool = pool().workers(2).build().unwrap();
        let view = (*pool).clone();
        let gate = Gate::default();
        let door = gate.clone();
        let (started, has_started) = std::sync::mpsc::channel();
        let (told, was_told) = std::sync::mpsc::channel();
        let outer = pool
            .submit(move || {
                let inner = view
                    .submit(move || {
                        started.send(()).unwrap();
                        door.pass();
                    })
                    .unwrap();
                inner.on_done(move |finished| told.send(finished.kind).unwrap());
                inner.join()
            })
            .unwrap();
        has_started.recv().unwrap();
        pool.cancel_all(Duration::from_millis(10));
        assert!(matches!(outer.join(), Err(TaskError::Cancelled)));
        assert_eq!(was_told.recv().unwrap(), taskloom_core::Kind::Cancelled);
        assert_eq!(pool.open_tasks(), 0);
        pool.join();
        gate.open();
    });
}

#[test]
fn a_pool_ends_from_a_callback() {
    watched("a_pool_ends_from_a_callback", || {
        let pool = Arc::new(pool().workers(2).build().unwrap());
        let (done, is_done) = std::sync::mpsc::channel();
        let inner = pool.clone();
        pool.submit(|| ()).unwrap().on_done(move |_| {
            inner.cancel_all(Duration::from_secs(3600));
            inner.join();
            done.send(()).unwrap();
        });
        is_done.recv().unwrap();
        assert!(matches!(pool.submit(|| ()), Err(TaskError::Closed)));
        pool.join();
        assert_eq!(pool.backend().threads(), 0);
    });
}

#[test]
fn a_pool_ends_from_within_its_task() {
    watched("a_pool_ends_from_within_its_task", || {
        let pool = Arc::new(pool().workers(2).build().unwrap());
        let inner = pool.clone();
        let ending = pool
            .submit(move || {
                inner.join();
                inner.cancel_all(Duration::from_secs(3600));
                1
            })
            .unwrap();
        assert_eq!(ending.join().unwrap(), 1);
        pool.join();
        assert_eq!(pool.backend().threads(), 0);
    });
}

#[test]
fn the_last_owner_of_a_pool_may_be_its_own_task() {
    watched("the_last_owner_of_a_pool_may_be_its_own_task", || {
        let pool = Arc::new(pool().workers(2).build().unwrap());
        let gate = Gate::default();
        let (inner, door) = (pool.clone(), gate.clone());
        let last = pool
            .submit(move || {
                door.pass();
                drop(inner);
                5
            })
            .unwrap();
        let view = (**pool).clone();
        drop(pool);
        gate.open();
        assert_eq!(last.join().unwrap(), 5);
        until(|| view.backend().threads() == 0);
    });
}

#[test]
fn a_pool_ends_from_many_threads_at_once() {
    watched("a_pool_ends_from_many_threads_at_once", || {
        for round in 0..50_u64 {
            let pool = pool().workers(3).build().unwrap();
            let handles: Vec<_> = (0..20).map(|n| pool.submit(move || n).unwrap()).collect();
            thread::scope(|scope| {
                for n in 0..4 {
                    let pool = &pool;
                    scope.spawn(
                        move || if (n + round) % 2 == 0 { pool.join() } else { pool.cancel_all(Duration::ZERO) },
                    );
                }
            });
            assert_eq!(pool.backend().threads(), 0);
            for handle in handles {
                assert!(matches!(handle.join(), Ok(_) | Err(TaskError::Cancelled)));
            }
        }
    });
}

#[test]
fn a_cancelled_task_never_starts() {
    let pool = pool().workers(1).build().unwrap();
    let gate = Gate::default();
    let door = gate.clone();
    pool.submit(move || door.pass()).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let waiting = pool.submit(move || count.fetch_add(1, Ordering::SeqCst)).unwrap();
    assert_eq!(waiting.cancel(), Cancel::Prevented);
    assert!(matches!(waiting.join(), Err(TaskError::Cancelled)));
    gate.open();
    pool.join();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn the_state_of_a_worker_may_panic_when_it_is_dropped() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a bad end");
        }
    }
    watched("the_state_of_a_worker_may_panic_when_it_is_dropped", || {
        let pool = pool().workers(2).init_with(|_| Ok::<_, String>(Bad)).build().unwrap();
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
        pool.join();
        assert_eq!(pool.backend().threads(), 0);
    });
}

#[test]
fn ten_threads_use_one_pool_at_once() {
    watched("ten_threads_use_one_pool_at_once", || {
        let pool = pool().workers(4).build().unwrap();
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let handles: Vec<_> = (0..200_u64).map(|n| pool.submit(move || n).unwrap()).collect();
                    for handle in handles.iter().step_by(3) {
                        let _ = handle.cancel();
                    }
                    let sum: u64 = pool.map((0..500_u64).map(|n| move || n)).map(Result::unwrap).sum();
                    assert_eq!(sum, 499 * 250);
                    for handle in handles {
                        assert!(matches!(handle.join(), Ok(_) | Err(TaskError::Cancelled)));
                    }
                });
            }
        });
        pool.join();
        assert_eq!(pool.open_tasks(), 0);
    });
}
