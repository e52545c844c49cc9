//! What core promises about maps, under real threads.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Gate, until, watched};
use taskloom_core::{Kind, Policy, Retry, TaskError, task};
use taskloom_threads::pool;

#[test]
fn unordered_maps_give_each_result_once_whatever_the_chunk() {
    watched("unordered_maps_give_each_result_once", || {
        let pool = pool().workers(4).build().unwrap();
        for chunk in [1, 3, 100, 1000] {
            let view = pool.with(Policy::new().chunk(chunk).window(chunk * 5));
            for _ in 0..20 {
                let mut all: Vec<u64> = view.map_unordered((0..100).map(|n| move || n)).map(Result::unwrap).collect();
                all.sort_unstable();
                assert_eq!(all, (0..100).collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn a_map_that_is_dropped_half_way_leaves_nothing_queued() {
    watched("a_map_that_is_dropped_half_way", || {
        let pool = pool().workers(2).queue_items(64).build().unwrap();
        for round in 0..200 {
            let view = pool.with(Policy::new().chunk(1 + round % 7).window(40));
            let taken = if round % 2 == 0 {
                view.map((0..).map(|n: usize| move || n)).take(round % 30).filter(Result::is_ok).count()
            } else {
                view.map_unordered((0..).map(|n: usize| move || n)).take(round % 30).filter(Result::is_ok).count()
            };
            assert_eq!(taken, round % 30);
        }
        until(|| pool.open_tasks() == 0);
        // The count of what waits is back at zero: one more than the bound would not be taken else.
        let gate = Gate::default();
        let door = gate.clone();
        let (started, has_started) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let (door, started) = (door.clone(), started.clone());
            drop(pool.submit(move || (started.send(()).unwrap(), door.pass())).unwrap());
        }
        (0..2).for_each(|_| has_started.recv().unwrap());
        let waiting: Vec<_> = (0..64).map(|n| pool.try_submit(move || n).unwrap()).collect();
        assert!(pool.try_submit(|| 64).is_err());
        gate.open();
        assert_eq!(waiting.into_iter().map(|handle| handle.join().unwrap()).sum::<i32>(), 63 * 32);
    });
}

#[test]
fn a_pool_that_ends_under_a_map_ends_the_map() {
    watched("a_pool_that_ends_under_a_map", || {
        for ordered in [true, false] {
            let pool = pool().workers(2).build().unwrap();
            let view = (*pool).clone();
            let tasks = (0..10_000_u64).map(|n| move || n);
            let results: Box<dyn Iterator<Item = Result<u64, TaskError>>> =
                if ordered { Box::new(view.map(tasks)) } else { Box::new(view.map_unordered(tasks)) };
            let mut kinds = Vec::new();
            for (at, result) in results.enumerate() {
                kinds.push(result.map_or_else(|error| error.kind(), |_| Kind::Succeeded));
                if at == 100 {
                    pool.cancel_all(Duration::ZERO);
                }
            }
            assert!(kinds.len() > 100 && kinds.len() <= 10_000);
            assert!(
                kinds.iter().all(|kind| matches!(kind, Kind::Succeeded | Kind::Cancelled | Kind::Closed)),
                "{kinds:?}"
            );
            assert_eq!(pool.open_tasks(), 0);
        }
    });
}

static TRIES: AtomicUsize = AtomicUsize::new(0);

/// Fails twice out of three times.
#[task]
fn flaky(n: u64) -> Result<u64, String> {
    if TRIES.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { Ok(n) } else { Err("not yet".to_owned()) }
}

#[test]
fn items_of_a_chunk_are_retried_apart() {
    watched("items_of_a_chunk_are_retried_apart", || {
        let pool = pool().workers(4).build().unwrap();
        for (chunk, backoff) in [(1, 0), (16, 0), (16, 1)] {
            let retry =
                Retry::failures(1000).backoff(Duration::from_millis(backoff)).longest_backoff(Duration::from_millis(2));
            let view = pool.with(Policy::new().chunk(chunk).retry(retry));
            let results: Vec<u64> = view.map((0..100).map(flaky::task)).map(Result::unwrap).collect();
            assert_eq!(results, (0..100).collect::<Vec<_>>());
        }
        pool.join();
        assert_eq!(pool.open_tasks(), 0);
    });
}

#[test]
fn all_that_can_happen_at_once_leaves_the_counts_right() {
    watched("all_that_can_happen_at_once", || {
        let pool = pool().workers(3).max_abandoned(1000).queue_items(200).build().unwrap();
        let outcomes = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (pool, outcomes) = (&pool, &outcomes);
                scope.spawn(move || {
                    let policies = [
                        Policy::new(),
                        Policy::new().queue_timeout(Duration::from_micros(50)),
                        Policy::new().timeout(Duration::from_micros(100)).grace(Duration::from_millis(1)),
                        Policy::new().deadline(Duration::from_micros(200)),
                        Policy::new().retry(Retry::any(2)).timeout(Duration::from_micros(200)).allow_overlap(),
                    ];
                    for n in 0..400 {
                        let view = pool.with(policies[(n + seed) as usize % policies.len()].clone());
                        let handle = view.submit(flaky_and_slow::task(n)).unwrap();
                        let heard = outcomes.clone();
                        handle.on_done(move |_| {
                            heard.fetch_add(1, Ordering::SeqCst);
                        });
                        match n % 4 {
                            0 => drop(handle.cancel()),
                            1 => drop(handle),
                            2 => drop(handle.join()),
                            _ => {
                                let mut handle = handle;
                                drop(handle.join_timeout(Duration::from_micros(100)));
                            }
                        }
                    }
                });
            }
        });
        pool.join();
        assert_eq!(pool.open_tasks(), 0);
        // Each task told its end, and only once.
        assert_eq!(outcomes.load(Ordering::SeqCst), 1600);
    });
}

/// Sometimes fails, sometimes panics, sometimes takes a while.
#[task]
fn flaky_and_slow(n: u64) -> Result<u64, String> {
    match n % 7 {
        0 => Err("failed".to_owned()),
        1 => panic!("panicked"),
        2 | 3 => {
            thread::sleep(Duration::from_micros(150));
            Ok(n)
        }
        _ => Ok(n),
    }
}
