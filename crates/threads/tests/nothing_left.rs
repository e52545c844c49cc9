//! After a pool's end no thread is left. Alone in its program: other tests have threads too.

mod common;

use std::{sync::mpsc::channel, time::Duration};

use common::{Gate, until, watched};
use taskloom_core::{Policy, TaskError};
use taskloom_threads::{pool, spawn};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn no_thread_is_left() {
    watched("no_thread_is_left", || {
        let before = threads();

        for _ in 0..20 {
            let pool = pool().workers(4).build().unwrap();
            let sum: u64 = pool.map((0..100_u64).map(|n| move || n)).map(Result::unwrap).sum();
            assert_eq!(sum, 4950);
            pool.join();
            assert_eq!(threads(), before, "after a join");
        }

        for _ in 0..20 {
            let pool = pool().workers(4).build().unwrap();
            (0..100).for_each(|_| drop(pool.submit(|| ()).unwrap()));
            drop(pool);
            assert_eq!(threads(), before, "after a drop");
        }

        let failed = pool().workers(4).init_with(|cx| if cx.slot() == 3 { Err("no") } else { Ok(()) }).build();
        assert!(failed.is_err());
        assert_eq!(threads(), before, "after a build that failed");

        // With threads that took the place of waiting ones.
        let nested = pool().workers(2).build().unwrap();
        let view = (*nested).clone();
        let outer = nested.submit(move || {
            let inner: Vec<_> = (0..10).map(|n| view.submit(move || n).unwrap()).collect();
            inner.into_iter().map(|mut inner| inner.join_timeout(Duration::MAX).unwrap().unwrap()).sum::<i32>()
        });
        assert_eq!(outer.unwrap().join().unwrap(), 45);
        nested.join();
        assert_eq!(threads(), before, "after nested waiting");

        // The notifier of a thread of its own ends with it, a little after the outcome.
        let (told, was_told) = channel();
        let one = spawn(|| 1).unwrap();
        one.on_done(move |_| told.send(()).unwrap());
        assert_eq!(one.join().unwrap(), 1);
        was_told.recv().unwrap();
        until(|| threads() == before);

        // An abandoned thread is there until it comes back.
        let gate = Gate::default();
        let door = gate.clone();
        let stuck = pool().workers(1).build().unwrap();
        let strict = Policy::new().timeout(Duration::from_millis(5)).grace(Duration::ZERO);
        let late = stuck.with(strict).submit(move || door.pass()).unwrap();
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        stuck.join();
        // The clock ends when it has nothing to watch.
        until(|| threads() == before + 1);
        gate.open();
        until(|| threads() == before);

        idle_costs_nothing();
    });
}

/// An idle pool sleeps.
fn idle_costs_nothing() {
    let pool = pool().workers(8).build().unwrap();
    pool.submit(|| ()).unwrap().join().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // Fields 14 and 15 of proc(5): user and system time, in ticks of 10 ms. The name before may hold spaces.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before <= 2, "an idle pool used {} ticks", ticks() - before);
}
