//! Tasks that wait for tasks: whatever waits for whatever, something goes on.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Gate, until, watched};
use taskloom_core::{TaskError, View, inline, task_fn};
use taskloom_threads::{Threads, pool};

fn fib(pool: &View<Threads>, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (left, right) = (pool.clone(), pool.clone());
    let a = pool.submit(move || fib(&left, n - 1)).unwrap();
    let b = pool.submit(move || fib(&right, n - 2)).unwrap();
    a.join().unwrap() + b.join().unwrap()
}

#[test]
fn tasks_wait_for_their_children_with_any_number_of_workers() {
    watched("tasks_wait_for_their_children", || {
        for workers in [1, 2, 5] {
            let pool = pool().workers(workers).build().unwrap();
            let view = (*pool).clone();
            assert_eq!(pool.submit(move || fib(&view, 15)).unwrap().join().unwrap(), 610);
        }
    });
}

/// Waits in a way that never runs the task in place.
fn chain(pool: &View<Threads>, depth: usize) -> Result<usize, TaskError> {
    if depth == 0 {
        return Ok(0);
    }
    let inner = pool.clone();
    let mut next = pool.submit(move || chain(&inner, depth - 1))?;
    next.join_timeout(Duration::MAX).expect("no time is over")?.map(|below| below + 1)
}

#[test]
fn a_deep_chain_lends_a_thread_for_each_link() {
    watched("a_deep_chain_lends_a_thread_for_each_link", || {
        let pool = pool().workers(1).build().unwrap();
        let view = (*pool).clone();
        assert_eq!(pool.submit(move || chain(&view, 100)).unwrap().join().unwrap().unwrap(), 100);
        // Those that came in turn go again when they have nothing to do.
        until(|| pool.backend().threads() == 1);
    });
}

#[test]
fn when_no_thread_can_be_lent_the_wait_fails_and_the_pool_goes_on() {
    watched("when_no_thread_can_be_lent", || {
        let pool = pool().workers(1).max_extra(3).build().unwrap();
        let view = (*pool).clone();
        let failed = pool.submit(move || chain(&view, 10)).unwrap().join().unwrap();
        assert!(matches!(failed, Err(TaskError::Exhausted(_))), "{failed:?}");
        // The task that was not waited for any more runs all the same, and others below it.
        until(|| pool.open_tasks() == 0);
        let view = (*pool).clone();
        assert_eq!(pool.submit(move || chain(&view, 3)).unwrap().join().unwrap().unwrap(), 3);
    });
}

#[test]
fn a_lent_thread_has_a_slot_and_a_state_of_its_own() {
    watched("a_lent_thread_has_a_slot_and_a_state_of_its_own", || {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let pool = pool()
            .workers(1)
            .init_with(move |_| Ok::<_, String>(count.fetch_add(1, Ordering::SeqCst)))
            .build()
            .unwrap();
        let view = (*pool).clone();
        let outer = task_fn(move |cx| {
            let mut inner = view.submit(task_fn(|cx| (cx.slot(), *cx.state::<usize>().unwrap()))).unwrap();
            (cx.slot(), inner.join_timeout(Duration::MAX).unwrap().unwrap())
        });
        assert_eq!(pool.submit(outer).unwrap().join().unwrap(), (0, (1, 1)));
    });
}

#[test]
fn an_initialiser_that_fails_on_a_lent_thread_fails_what_waits_for_it() {
    watched("an_initialiser_that_fails_on_a_lent_thread", || {
        let pool = pool()
            .workers(1)
            .init_with(|cx| if cx.slot() == 0 { Ok(()) } else { Err("one license only") })
            .build()
            .unwrap();
        let view = (*pool).clone();
        let failed = pool.submit(move || chain(&view, 1)).unwrap().join().unwrap();
        assert!(failed.as_ref().is_err_and(|error| error.to_string().contains("one license")), "{failed:?}");
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn two_pools_wait_for_each_other() {
    fn ping(here: &View<Threads>, there: &View<Threads>, depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let (mine, theirs) = (here.clone(), there.clone());
        let answer = there.submit(move || ping(&theirs, &mine, depth - 1)).unwrap();
        answer.join().unwrap() + 1
    }
    watched("two_pools_wait_for_each_other", || {
        let (a, b) = (pool().workers(1).build().unwrap(), pool().workers(1).build().unwrap());
        let (here, there) = ((*a).clone(), (*b).clone());
        let game = a.submit(move || ping(&here, &there, 40)).unwrap();
        assert_eq!(game.join().unwrap(), 40);
    });
}

#[test]
fn a_map_inside_a_task_has_workers_too() {
    watched("a_map_inside_a_task_has_workers_too", || {
        let pool = pool().workers(1).build().unwrap();
        let view = (*pool).clone();
        let outer = move || view.map((0..1000_u64).map(|n| move || n)).map(Result::unwrap).sum::<u64>();
        assert_eq!(pool.submit(outer).unwrap().join().unwrap(), 499_500);
    });
}

#[test]
fn a_map_that_may_not_wait_ends_with_the_reason() {
    watched("a_map_that_may_not_wait_ends_with_the_reason", || {
        let pool = pool().workers(1).max_extra(0).build().unwrap();
        for ordered in [true, false] {
            let view = (*pool).clone();
            let outer = move || {
                let tasks = (0..10_u64).map(|n| move || n);
                let results: Vec<_> =
                    if ordered { view.map(tasks).collect() } else { view.map_unordered(tasks).collect() };
                results
            };
            let results = pool.submit(outer).unwrap().join().unwrap();
            assert!(matches!(results[..], [Err(TaskError::Exhausted(_))]), "{results:?}");
        }
        assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn a_map_that_has_ended_stays_ended() {
    watched("a_map_that_has_ended_stays_ended", || {
        for ordered in [true, false] {
            let pool = pool().workers(1).max_extra(0).build().unwrap();
            let view = (*pool).clone();
            let outer = move || {
                let tasks = (0..10_u64).map(|n| move || n);
                let mut results: Box<dyn Iterator<Item = _>> =
                    if ordered { Box::new(view.map(tasks)) } else { Box::new(view.map_unordered(tasks)) };
                let first = results.next();
                // What it had under way gets outcomes now; they are nobody's any more.
                view.cancel_all(Duration::from_secs(3600));
                (first, results.next())
            };
            let (first, second) = pool.submit(outer).unwrap().join().unwrap();
            assert!(matches!(first, Some(Err(TaskError::Exhausted(_)))) && second.is_none(), "{first:?}, {second:?}");
        }
    });
}

#[test]
fn a_task_on_an_inline_pool_inside_a_worker_lends_that_workers_place() {
    watched("a_task_on_an_inline_pool_inside_a_worker", || {
        let threads = pool().workers(1).build().unwrap();
        let view = (*threads).clone();
        let outer = threads.submit(move || {
            let here = inline::pool().build().unwrap();
            let answer = here.submit(move || view.submit(|| 6 * 7).unwrap().join()).unwrap().join();
            answer.unwrap().unwrap()
        });
        assert_eq!(outer.unwrap().join().unwrap(), 42);
    });
}

#[test]
fn a_pool_may_be_joined_inside_a_task_of_a_pool_that_it_needs() {
    watched("a_pool_may_be_joined_inside_a_task", || {
        let outer = pool().workers(1).build().unwrap();
        let view = (*outer).clone();
        let task = move || {
            let inner = pool().workers(1).build().unwrap();
            let answer = inner.submit(move || view.submit(|| 3).unwrap().join()).unwrap();
            inner.join();
            answer.join().unwrap().unwrap()
        };
        assert_eq!(outer.submit(task).unwrap().join().unwrap(), 3);
    });
}

#[test]
fn a_pool_joined_inside_its_own_task_by_way_of_another_pool_does_not_wait_for_itself() {
    watched("a_pool_joined_inside_its_own_task", || {
        let threads = Arc::new(pool().workers(1).build().unwrap());
        let own = threads.clone();
        let task = move || {
            let here = inline::pool().build().unwrap();
            here.submit(move || own.join()).unwrap().join().unwrap();
            1
        };
        assert_eq!(threads.submit(task).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn work_that_comes_while_all_wait_is_done() {
    watched("work_that_comes_while_all_wait_is_done", || {
        // The only worker waits for a task of another pool, which waits for one that is submitted later.
        let (a, b) = (pool().workers(1).build().unwrap(), pool().workers(1).build().unwrap());
        let gate = Gate::default();
        let (door, back) = (gate.clone(), (*a).clone());
        let there = b
            .submit(move || {
                door.pass();
                back.submit(|| 9).unwrap().join()
            })
            .unwrap();
        let waiting = a.submit(move || there.join()).unwrap();
        until(|| waiting.state() == taskloom_core::State::Running);
        gate.open();
        assert_eq!(waiting.join().unwrap().unwrap().unwrap(), 9);
    });
}
