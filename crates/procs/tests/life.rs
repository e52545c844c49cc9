//! Pools end, in every way, and nothing of them is left.

mod support;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{TaskError, task};

taskloom_procs::test_support!();

/// These tests count what the process has: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[task]
fn grandchild(sleep: u64) -> u32 {
    std::process::Command::new("sleep").arg(sleep.to_string()).spawn().unwrap().id()
}

/// Counts descriptors and threads before and after, and looks for processes.
fn leaves_nothing(body: impl FnOnce() -> Vec<u32> + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    within(60, || {
        // What is made once per program is made now.
        workers(1).submit(add::task(1, 1)).unwrap().join().unwrap();
        let (before, before_threads) = (descriptors(), threads());
        let pids = body();
        assert!(!pids.is_empty());
        for pid in pids {
            assert!(!exists(pid), "process {pid} is left");
        }
        // The clock's thread, which all pools share, ends a moment after its last entry.
        eventually("the same number of threads", || threads() <= before_threads);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn join_finishes_everything_and_leaves_nothing() {
    leaves_nothing(|| {
        let pool = workers(2);
        let pids = pool.backend().pids();
        let handles: Vec<_> = (0..500).map(|n| pool.submit(add::task(n, 1)).unwrap()).collect();
        let big = pool.submit(echo::task(vec![1; 1 << 20])).unwrap();
        pool.join();
        pool.join();
        for (n, handle) in handles.into_iter().enumerate() {
            assert!(handle.is_finished());
            assert_eq!(handle.join().unwrap(), n as u64 + 1);
        }
        assert_eq!(big.join().unwrap().len(), 1 << 20);
        assert!(matches!(pool.submit(add::task(1, 1)), Err(TaskError::Closed)));
        pids
    });
}

#[test]
fn cancel_all_resolves_every_handle_and_leaves_nothing() {
    leaves_nothing(|| {
        let pool = workers(2);
        let pids = pool.backend().pids();
        let handles: Vec<_> = (0..50).map(|_| pool.submit(nap::task(60_000)).unwrap()).collect();
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        pool.cancel_all(Duration::from_millis(100));
        assert!(start.elapsed() >= Duration::from_millis(100));
        for handle in handles {
            assert!(handle.is_finished());
            assert!(matches!(handle.join(), Err(TaskError::Cancelled)));
        }
        pool.cancel_all(Duration::ZERO);
        pids
    });
}

#[test]
fn a_dropped_pool_ends_within_its_grace_and_leaves_nothing() {
    leaves_nothing(|| {
        let pool = taskloom_procs::pool().workers(2).drop_grace(Duration::from_millis(100)).build().unwrap();
        let pids = pool.backend().pids();
        let handles: Vec<_> = (0..5).map(|_| pool.submit(nap::task(60_000)).unwrap()).collect();
        drop(pool);
        for handle in handles {
            assert!(handle.is_finished());
        }
        pids
    });
}

#[test]
fn crashes_leave_nothing() {
    leaves_nothing(|| {
        let pool = workers(2);
        let mut pids = pool.backend().pids();
        for _ in 0..10 {
            pids.push(death(pool.submit(exit::task(1)).unwrap().join()).pid);
        }
        pool.join();
        pids
    });
}

#[test]
fn processes_for_one_task_leave_nothing() {
    leaves_nothing(|| {
        let mut pids = Vec::new();
        for _ in 0..5 {
            let process = taskloom_procs::spawn(add::task(1, 1)).unwrap();
            pids.push(process.pid());
            assert_eq!(process.join().unwrap(), 2);
            pids.push(death(taskloom_procs::spawn(exit::task(1)).unwrap().join()).pid);
            // Whether its task has begun or not.
            let process = taskloom_procs::spawn(nap::task(60_000)).unwrap();
            pids.push(process.pid());
            process.kill();
            process.join().unwrap_err();
        }
        let mut process = taskloom_procs::spawn(add::task(1, 1)).unwrap();
        process.join_timeout(Duration::from_secs(30)).unwrap().unwrap();
        let pid = process.pid();
        drop(process);
        eventually("its end", || !exists(pid));
        pids
    });
}

#[task]
fn says(word: String) {
    eprintln!("{word}");
}

#[test]
fn who_passes_on_what_workers_say_is_there_from_the_first_word() {
    let is_there = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        // One that ends meanwhile has no name.
        let mut names = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
        names.any(|name| name.trim() == "taskloom-stderr")
    };
    leaves_nothing(move || {
        let pool = workers(1);
        let pids = pool.backend().pids();
        pool.submit(add::task(1, 1)).unwrap().join().unwrap();
        assert!(!is_there());
        pool.submit(says::task("a first word".to_owned())).unwrap().join().unwrap();
        eventually("the thread", is_there);
        pool.join();
        assert!(!is_there());
        pids
    });
}

#[test]
fn grandchildren_end_with_their_worker() {
    leaves_nothing(|| {
        let pool = workers(1);
        let grandchild = pool.submit(grandchild::task(600)).unwrap().join().unwrap();
        assert!(lives(grandchild));
        let pids = pool.backend().pids();
        pool.join();
        eventually("the grandchild's end", || !lives(grandchild));
        pids
    });
}

#[test]
fn several_ends_at_once() {
    leaves_nothing(|| {
        let pool = Arc::new(workers(2));
        let pids = pool.backend().pids();
        let handles: Vec<_> = (0..20).map(|_| pool.submit(nap::task(100)).unwrap()).collect();
        thread::scope(|scope| {
            scope.spawn(|| pool.join());
            scope.spawn(|| pool.cancel_all(Duration::from_millis(50)));
            scope.spawn(|| pool.cancel_all(Duration::from_secs(5)));
        });
        assert!(handles.iter().all(|handle| handle.is_finished()));
        pids
    });
}

#[test]
fn a_callback_may_end_the_pool() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    within(60, || {
        let pool = Arc::new(workers(1));
        let pids = pool.backend().pids();
        let handle = pool.submit(add::task(1, 1)).unwrap();
        let same = pool.clone();
        handle.on_done(move |_| same.cancel_all(Duration::from_secs(5)));
        handle.join().unwrap();
        eventually("the worker's end", || !exists(pids[0]));
    });
}

#[test]
fn workers_end_with_an_unwinding_caller() {
    leaves_nothing(|| {
        let pool = taskloom_procs::pool().workers(1).drop_grace(Duration::ZERO).build().unwrap();
        let pids = pool.backend().pids();
        let end = thread::spawn(move || {
            let _handle = pool.submit(nap::task(60_000)).unwrap();
            std::panic::resume_unwind(Box::new("the caller's"));
        });
        end.join().unwrap_err();
        pids
    });
}

#[test]
fn a_forked_copy_does_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    within(60, || {
        let pool = workers(1);
        // SAFETY: the copy has one thread, and ends at once.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            assert!(pool.backend().pids().is_empty());
            drop(pool);
            // SAFETY: takes a number, and never returns.
            unsafe { libc::_exit(7) };
        }
        let mut status = 0;
        // SAFETY: `status` is ours and outlives the call.
        unsafe { libc::waitpid(copy, &raw mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(pool.submit(add::task(1, 2)).unwrap().join().unwrap(), 3);
    });
}
