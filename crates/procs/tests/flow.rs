//! Nothing blocks, nothing waits in the wrong place, and what is stopped stops.

mod support;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{Cancel, Context, Policy, State, TaskError, task};

taskloom_procs::test_support!();

#[task]
fn until_cancelled(cx: &Context) -> bool {
    let start = Instant::now();
    while !cx.is_cancelled() && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(1));
    }
    cx.is_cancelled()
}

#[task]
fn long_or_short(n: u64) -> u32 {
    thread::sleep(Duration::from_millis(if n == 0 { 1500 } else { 1 }));
    std::process::id()
}

#[task]
fn report(cx: &Context) {
    (1..=5).for_each(|n| cx.progress(n, 5));
}

#[task]
fn slot(cx: &Context) -> (u32, u32) {
    (cx.slot(), cx.worker())
}

#[test]
fn ten_thousand_tasks_for_one_worker_that_sleeps() {
    within(120, || {
        let pool = workers(1);
        let nap = pool.submit(nap::task(500)).unwrap();
        let handles: Vec<_> = (0..10_000).map(|n| pool.submit(add::task(n, 1)).unwrap()).collect();
        nap.join().unwrap();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n as u64 + 1);
        }
    });
}

#[test]
fn megabytes_both_ways_many_times() {
    within(120, || {
        let pool = workers(2);
        let handles: Vec<_> = (0..40_u8).map(|n| pool.submit(echo::task(vec![n; 4 << 20])).unwrap()).collect();
        for (n, handle) in handles.into_iter().enumerate() {
            let back = handle.join().unwrap();
            assert_eq!(back.len(), 4 << 20);
            assert!(back.iter().all(|&byte| usize::from(byte) == n));
        }
    });
}

#[test]
fn sizes_around_every_limit_arrive() {
    within(120, || {
        let pool = workers(2);
        let sizes = [0, 1, 4000, 30_000, 32_600, 32_700, 32_768, 33_000, 65_536, 212_000, 212_448, 212_500, 300_000];
        let handles: Vec<_> =
            sizes.iter().cycle().take(130).map(|&size| pool.submit(echo::task(vec![1; size])).unwrap()).collect();
        for (handle, size) in handles.into_iter().zip(sizes.iter().cycle()) {
            assert_eq!(handle.join().unwrap().len(), *size);
        }
    });
}

#[test]
fn nothing_waits_behind_a_long_task() {
    within(60, || {
        let pool = workers(2);
        // Short tasks make the pool send ahead.
        for n in 0..200 {
            pool.submit(add::task(n, n)).unwrap();
        }
        let start = Instant::now();
        let long = pool.submit(long_or_short::task(0)).unwrap();
        let short: Vec<_> = (1..100).map(|n| pool.submit(long_or_short::task(n)).unwrap()).collect();
        for handle in short {
            handle.join().unwrap();
        }
        assert!(!long.is_finished(), "after {:?}", start.elapsed());
        long.join().unwrap();
    });
}

#[test]
fn nothing_waits_behind_tasks_that_are_longer_than_they_were_thought() {
    within(60, || {
        let cores = thread::available_parallelism().unwrap().get();
        let pool = workers(cores + 1);
        // So quick that as many workers as there are processors are all that is wanted.
        let quick = |count| (0..count).map(|n| pool.submit(add::task(n, n)).unwrap()).collect::<Vec<_>>();
        for handle in quick(5000) {
            handle.join().unwrap();
        }
        let long: Vec<_> = (0..cores).map(|_| pool.submit(long_or_short::task(0)).unwrap()).collect();
        for handle in quick(20) {
            handle.join().unwrap();
        }
        assert!(long.iter().all(|handle| !handle.is_finished()), "one worker has nothing else to do");
    });
}

#[test]
fn a_chunk_is_shared_when_a_worker_is_idle() {
    within(60, || {
        let pool = workers(2);
        let view = pool.with(Policy::new().chunk(40));
        let pids: Vec<_> = view.map((0..40).map(long_or_short::task)).map(Result::unwrap).collect();
        assert_ne!(pids[0], pids[39]);
    });
}

#[test]
fn a_queued_task_that_is_cancelled_never_starts() {
    within(60, || {
        let pool = workers(1);
        let first = pool.submit(nap::task(300)).unwrap();
        let second = pool.submit(until_cancelled::task()).unwrap();
        assert_eq!(second.cancel(), Cancel::Prevented);
        assert!(matches!(second.join(), Err(TaskError::Cancelled)));
        first.join().unwrap();
    });
}

#[test]
fn a_sent_task_that_is_cancelled_comes_back() {
    within(60, || {
        let pool = workers(1);
        for n in 0..100 {
            pool.submit(add::task(n, n)).unwrap().join().unwrap();
        }
        let first = pool.submit(nap::task(500)).unwrap();
        let handles: Vec<_> = (0..5).map(|_| pool.submit(until_cancelled::task()).unwrap()).collect();
        eventually("start", || first.state() == State::Running);
        for handle in &handles {
            assert_ne!(handle.cancel(), Cancel::TooLate);
        }
        for handle in handles {
            assert!(matches!(handle.join(), Err(TaskError::Cancelled)));
        }
        assert!(!first.is_finished());
        first.join().unwrap();
    });
}

#[test]
fn a_running_task_sees_that_it_is_cancelled() {
    within(60, || {
        let pool = workers(1);
        let pid = pool.submit(pid::task()).unwrap().join().unwrap();
        let handle = pool.submit(until_cancelled::task()).unwrap();
        eventually("start", || handle.state() == State::Running);
        assert_eq!(handle.cancel(), Cancel::Requested);
        assert!(handle.join().unwrap(), "what it returns in time counts");
        assert_eq!(pool.submit(pid::task()).unwrap().join().unwrap(), pid, "its worker lives on");
    });
}

#[test]
fn a_running_task_that_does_not_listen_is_killed() {
    within(60, || {
        let pool = workers(1);
        let view = pool.with(Policy::new().grace(Duration::from_millis(100)));
        let handle = view.submit(nap::task(60_000)).unwrap();
        eventually("start", || handle.state() == State::Running);
        handle.cancel();
        assert!(matches!(handle.join(), Err(TaskError::Cancelled)));
    });
}

#[task]
fn leave_a_trace(path: std::path::PathBuf) -> u64 {
    std::fs::write(path, "").unwrap();
    7
}

#[test]
fn what_the_end_of_the_pool_cancels_has_not_begun() {
    within(120, || {
        let path = std::env::temp_dir().join(format!("taskloom-trace-{}", std::process::id()));
        let mut cancelled = 0;
        for _ in 0..150 {
            let _ = std::fs::remove_file(&path);
            let pool = Arc::new(workers(2));
            let first = pool.submit(leave_a_trace::task(path.clone())).unwrap();
            let second = pool.submit(add::task(1, 1)).unwrap();
            let same = pool.clone();
            second.on_done(move |_| same.cancel_all(Duration::from_secs(20)));
            let outcome = first.join();
            pool.join();
            match outcome {
                Ok(value) => assert_eq!(value, 7),
                Err(TaskError::Cancelled) => {
                    cancelled += 1;
                    assert!(!path.exists(), "its body ran");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        println!("{cancelled} of 150 were cancelled");
        let _ = std::fs::remove_file(&path);
    });
}

#[test]
fn queue_timeouts_and_deadlines_hold() {
    within(60, || {
        let pool = workers(1);
        for n in 0..100 {
            pool.submit(add::task(n, n)).unwrap().join().unwrap();
        }
        let first = pool.submit(nap::task(600)).unwrap();
        let queued = pool.with(Policy::new().queue_timeout(Duration::from_millis(50))).submit(add::task(1, 1)).unwrap();
        let late = pool.with(Policy::new().deadline(Duration::from_millis(50))).submit(add::task(1, 1)).unwrap();
        assert!(matches!(queued.join(), Err(TaskError::TimedOut(_))));
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        assert!(!first.is_finished());
        first.join().unwrap();
    });
}

#[test]
fn progress_arrives_in_order_between_start_and_end() {
    within(60, || {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = seen.clone();
        let pool = taskloom_procs::pool()
            .workers(1)
            .on_event(move |event| events.lock().unwrap().push(format!("{event:?}")))
            .build()
            .unwrap();
        pool.submit(report::task()).unwrap().join().unwrap();
        pool.join();
        let seen = seen.lock().unwrap();
        let kinds: Vec<_> = seen.iter().map(|event| event.split([' ', '(']).next().unwrap()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "Progress").count(), 5);
        let at = |kind: &str| kinds.iter().position(|known| *known == kind).unwrap();
        assert!(
            at("Queued") < at("Started") && at("Started") < at("Progress") && at("Progress") + 4 < at("Finished"),
            "{kinds:?}"
        );
        assert_eq!(kinds.last(), Some(&"WorkerEnded"));
        let finished = seen.iter().find(|event| event.starts_with("Finished")).unwrap();
        assert!(
            !finished.contains("wall: None")
                && !finished.contains("cpu: None")
                && !finished.contains("peak_memory: None"),
            "{finished}"
        );
    });
}

#[test]
fn a_replacement_inherits_the_slot() {
    within(60, || {
        let pool = workers(1);
        let (before, worker) = pool.submit(slot::task()).unwrap().join().unwrap();
        pool.submit(exit::task(1)).unwrap().join().unwrap_err();
        let (after, replacement) = pool.submit(slot::task()).unwrap().join().unwrap();
        assert_eq!(before, after);
        assert_ne!(worker, replacement);
    });
}

#[test]
fn many_threads_use_one_pool() {
    within(120, || {
        let pool = workers(2);
        thread::scope(|scope| {
            for t in 0..8_u64 {
                let pool = &pool;
                scope.spawn(move || {
                    for n in 0..300 {
                        assert_eq!(pool.submit(add::task(t, n)).unwrap().join().unwrap(), t + n);
                    }
                    let sums = pool.map((0..300).map(|n| add::task(t, n)));
                    assert!(sums.enumerate().all(|(n, sum)| sum.unwrap() == t + n as u64));
                });
            }
        });
    });
}
