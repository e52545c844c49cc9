//! Pools inside tasks.

use std::time::Duration;

use taskloom::{Backend, Cancel, Handle, Policy, Pool, TaskError};

use crate::{
    harness::{Aside, Harness, Setup, aside, at_once},
    process::lives,
    scratch::{Scratch, eventually, lines},
    tasks::{
        double,
        parent::{nests, nests_and_waits},
    },
};

/// How deep a tree of pools is that is stopped.
const DEPTH: u32 = 3;

/// Processes inside processes are counted; threads are not, for what would run out there says so itself.
pub fn life_nested_pools<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let backend = pool.capabilities().name.to_owned();
    let nested = pool.submit(nests::task(backend, 12)).expect("accepted").join().expect("is told, not lost");
    let expected = if pool.capabilities().isolates { (7, Some(8)) } else { (12, None) };
    assert_eq!(nested, expected, "this pool is the first");

    // The whole pool, and the one task.
    is_stopped(&pool, |_| pool.cancel_all(Duration::from_millis(50)));
    if pool.capabilities().kills {
        let pool = Setup::workers(1).build::<H>();
        is_stopped(&pool, |tree| assert_eq!(tree.map(Handle::cancel), Some(Cancel::Requested)));
        assert_eq!(pool.submit(double::task(2)).expect("accepted").join().expect("there is another worker"), 4);
    }
}

/// A tree whose innermost task does not listen ends all the same, and no process of any level is left.
fn is_stopped<B: Backend>(pool: &Pool<B>, stop: impl FnOnce(Option<&Handle<u64>>)) {
    let scratch = Scratch::new();
    let (file, gate) = (scratch.path("processes"), scratch.gate("innermost"));
    let capabilities = pool.capabilities();
    let view = pool.with(Policy::new().grace(Duration::from_millis(50)));
    let task = || {
        nests_and_waits::task(capabilities.name.to_owned(), DEPTH, file.clone(), gate.clone(), capabilities.isolates)
    };
    let tree: Aside<u64> = aside(&view, task());
    gate.wait_for(1);
    if at_once(pool) {
        stop(None);
        // It has somebody else's thread: it ends when it returns.
        gate.open();
        assert_eq!(tree.handle().join().expect("what it returns"), 7);
        return;
    }
    let tree = tree.handle();
    stop(Some(&tree));
    assert!(matches!(tree.join(), Err(TaskError::Cancelled)));
    assert!(!gate.is_open(), "while the innermost still waits, or would");
    if capabilities.isolates {
        let processes: Vec<u32> = lines(&file).iter().filter_map(|pid| pid.parse().ok()).collect();
        assert_eq!(processes.len(), DEPTH as usize + 2, "one of each level, and the child: {processes:?}");
        eventually("all processes of the tree have ended", || !processes.iter().any(|pid| lives(*pid)));
    }
    // What was left behind goes on.
    gate.open();
}
