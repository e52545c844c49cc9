//! The number of workers changes: when it is told to, and when there is nothing to do.

use std::{
    thread,
    time::{Duration, Instant},
};

use taskloom::{Backend, Handle, Pool, TaskError, View};

use crate::{
    harness::{Harness, Init, Setup},
    process::{Holdings, in_own_process},
    scratch::{Scratch, eventually},
    tasks::{double, knows, late_if_early, waits},
};

/// Long enough for a worker too many to begin a task, if there were one.
const MOMENT: Duration = Duration::from_millis(50);

/// Workers come, go, and come back.
pub fn life_resize<H: Harness>() {
    in_own_process("", || {
        let pool = Setup::workers(1).build::<H>();
        let error = pool.resize(0).expect_err("a pool without a worker is none");
        assert!(matches!(error, TaskError::Start(_)), "{error}");
        if pool.capabilities().resizes {
            size_is_kept(&pool);
            changes_under_load(&pool);
            pool.join();
            assert!(matches!(pool.resize(2), Err(TaskError::Closed)));
            drop(pool);
            idle_ones_leave::<H>();
        } else {
            let name = pool.capabilities().name;
            refused(pool.resize(2), "changing the number of workers", name);
            refused(H::build(Setup::workers(1).idle_timeout(MOMENT)), "letting idle workers leave", name);
            assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("it goes on as before"), 8);
        }
    });
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, TaskError>, operation: &str, backend: &str) {
    let error = outcome.expect_err("the backend cannot");
    let TaskError::Unsupported(refusal) = &error else { panic!("{error}") };
    assert_eq!((&*refusal.operation, &*refusal.backend), (operation, backend));
}

/// How many workers this process has at the moment, dying ones included. It has nothing else that looks like one.
fn present<B: Backend>(pool: &View<B>) -> usize {
    let now = Holdings::now();
    if pool.capabilities().isolates {
        return now.processes.len();
    }
    let slot = |name: &String| name.strip_prefix("taskloom-").is_some_and(|slot| slot.parse::<u32>().is_ok());
    now.threads.iter().filter(|name| slot(name)).count()
}

/// As many run at once as were asked for last.
fn size_is_kept<B: Backend>(pool: &Pool<B>) {
    let scratch = Scratch::new();
    let (first, second) = (scratch.gate("first"), scratch.gate("second"));
    let submit = |gate| -> Vec<Handle<u64>> {
        (0..12).map(|number| pool.submit(waits::task(Clone::clone(gate), number)).expect("accepted")).collect()
    };
    let joined =
        |handles: Vec<Handle<u64>>| handles.into_iter().map(|handle| handle.join().expect("runs")).eq(0..12_u64);
    assert_eq!(pool.capabilities().workers, 1);
    let held = submit(&first);
    first.wait_for(1);
    thread::sleep(MOMENT);
    assert_eq!(first.came(), 1);

    // What was queued before is begun by those who come.
    pool.resize(4).expect("there can be four");
    assert_eq!(pool.capabilities().workers, 4);
    first.wait_for(4);
    thread::sleep(MOMENT);
    assert_eq!((first.came(), present(pool)), (4, 4));

    // Whoever is too many finishes what it is at.
    pool.resize(2).expect("there can be two");
    assert_eq!(pool.capabilities().workers, 2);
    thread::sleep(MOMENT);
    assert_eq!(present(pool), 4, "nobody leaves in the middle of a task");
    first.open();
    assert!(joined(held));
    eventually("two have left", || present(pool) == 2);
    let held = submit(&second);
    second.wait_for(2);
    thread::sleep(MOMENT);
    assert_eq!((second.came(), present(pool)), (2, 2));
    second.open();
    assert!(joined(held));

    // Idle ones leave too, and others come, without a task.
    pool.resize(1).expect("there can be one");
    eventually("one has left", || present(pool) == 1);
    pool.resize(3).expect("there can be three");
    eventually("two have come", || present(pool) == 3);
    pool.resize(1).expect("there can be one");
}

/// Every outcome is right, whoever comes and goes meanwhile.
fn changes_under_load<B: Backend>(pool: &Pool<B>) {
    let handles: Vec<_> = (0..400).map(|number| pool.submit(late_if_early::task(number)).expect("accepted")).collect();
    thread::scope(|scope| {
        // While others wait for outcomes, and while a map is under way.
        let changing = scope.spawn(|| {
            for workers in [4, 2, 3, 1, 4, 1, 2].into_iter().cycle().take(21) {
                pool.resize(workers).expect("there can be so many");
                thread::sleep(MOMENT / 5);
            }
        });
        let mapped = pool.map((0..300).map(double::task)).map(|result| result.expect("runs"));
        assert!(mapped.eq((0..300).map(|number| 2 * number)));
        for (number, handle) in (0..).zip(handles) {
            assert_eq!(handle.join().expect("runs"), 2 * number);
        }
        changing.join().expect("does not panic");
    });
    assert_eq!(pool.capabilities().workers, 2);
    eventually("as many as were asked for last", || present(pool) == 2);
}

/// Those without work leave after their time, and come back when there is some.
fn idle_ones_leave<H: Harness>() {
    let scratch = Scratch::new();
    let idle = Duration::from_millis(150);
    let init = Init::Makes(scratch.path("states"), 5);
    let pool = Setup::workers(3).idle_timeout(idle).init(init).build::<H>();
    eventually("all have left", || present(&pool) == 0);
    let start = Instant::now();
    let known = pool.submit(knows::task(1)).expect("accepted").join().expect("somebody comes");
    assert_eq!(known.state, Some(5), "with its initialiser");
    assert!(known.worker >= 3, "a new one: {known:?}");
    assert_eq!(pool.capabilities().workers, 3, "as many as there may be");
    eventually("it has left", || present(&pool) == 0);
    assert!(start.elapsed() >= idle, "it stayed for its time");

    let gate = scratch.gate("together");
    let held: Vec<_> = (0..6).map(|n| pool.submit(waits::task(gate.clone(), n)).expect("accepted")).collect();
    gate.wait_for(3);
    // Whoever is at work is not idle.
    thread::sleep(2 * idle);
    assert_eq!((gate.came(), present(&pool)), (3, 3));
    // One more comes beside those that are there.
    pool.resize(4).expect("there can be four");
    gate.wait_for(4);
    gate.open();
    assert!(held.into_iter().map(|handle| handle.join().expect("runs")).eq(0..6));
    eventually("all have left again", || present(&pool) == 0);
    pool.resize(1).expect("there can be one");
    assert!(pool.map((0..100).map(double::task)).map(|result| result.expect("runs")).eq((0..100).map(|n| 2 * n)));
    pool.join();
}
