//! A worker's end is one task's outcome, whatever ended it.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{Policy, Retry, TaskError, task};

taskloom_procs::test_support!();

#[task]
fn segv() {
    // SAFETY: it is not; this is how a program with a bug ends.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

#[task]
fn abort() {
    std::process::abort();
}

#[task]
fn overflow(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 1000]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + block[7] }
}

#[task]
fn close_all_descriptors() {
    for fd in 3..1000 {
        // SAFETY: it is not; this is a program with a bug.
        unsafe { libc::close(fd) };
    }
}

#[task]
fn garbage() {
    for fd in 3..100 {
        // SAFETY: takes a number, and a pointer to bytes with their length.
        unsafe { libc::send(fd, b"garbage".as_ptr().cast(), 7, libc::MSG_DONTWAIT) };
    }
    thread::sleep(Duration::from_secs(60));
}

/// Notes its start; writes nonsense now and then, and goes on as if nothing were.
#[task]
fn note(path: PathBuf, n: u64, noisy: bool) -> u64 {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(format!("{n}\n").as_bytes()).unwrap();
    for fd in (3..100).filter(|_| noisy) {
        // SAFETY: takes a number, and a pointer to bytes with their length.
        unsafe { libc::send(fd, b"garbage".as_ptr().cast(), 7, libc::MSG_DONTWAIT) };
    }
    n
}

/// Writes nonsense as its first, and takes too much memory as its second.
#[task]
fn offends(first: bool) {
    if first {
        for fd in 3..100 {
            // SAFETY: takes a number, and a pointer to bytes with their length.
            unsafe { libc::send(fd, b"garbage".as_ptr().cast(), 7, libc::MSG_DONTWAIT) };
        }
    } else {
        let taken = std::hint::black_box(vec![1_u8; 256 << 20]);
        thread::sleep(Duration::from_secs(60));
        drop(taken);
    }
}

#[task]
fn absurd_length() {
    let head = [24_u64.to_ne_bytes(), (1_u64 << 60).to_ne_bytes(), [0; 8]].concat();
    for fd in 3..100 {
        // SAFETY: takes a number, and a pointer to bytes with their length.
        unsafe { libc::send(fd, head.as_ptr().cast(), head.len(), libc::MSG_DONTWAIT) };
    }
    thread::sleep(Duration::from_secs(60));
}

#[task]
fn talk_and_die() {
    for n in 0..40 {
        eprintln!("line {n}");
    }
    eprint!("and half a line");
    std::process::abort();
}

/// Leaves a copy of its worker behind, outside of the group, which holds the worker's channels open.
#[task]
fn fork_and_die() -> u32 {
    // SAFETY: the copy only sleeps.
    let copy = unsafe { libc::fork() };
    if copy == 0 {
        // SAFETY: takes nothing.
        unsafe { libc::setsid() };
        thread::sleep(Duration::from_secs(600));
    }
    // SAFETY: takes a number; gives the group of that process.
    while unsafe { libc::getpgid(copy) } != copy {
        thread::yield_now();
    }
    std::process::exit(9);
}

#[task]
fn append_and_die(path: String, line: String) {
    append(path, line);
    std::process::abort();
}

#[task]
fn append(path: String, line: String) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one call: two processes write.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Runs a task among others; all others succeed.
macro_rules! crash {
    ($task:expr) => {
        crash!($task, workers(2))
    };
    ($task:expr, $pool:expr) => {
        within(60, move || {
            let pool = $pool;
            let before: Vec<_> = (0..50).map(|n| pool.submit(add::task(n, 1)).unwrap()).collect();
            let crash = pool.submit($task).unwrap();
            let after: Vec<_> = (0..50).map(|n| pool.submit(add::task(n, 2)).unwrap()).collect();
            let death = death(crash.join());
            for (n, handle) in before.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n as u64 + 1);
            }
            for (n, handle) in after.into_iter().enumerate() {
                assert_eq!(handle.join().unwrap(), n as u64 + 2);
            }
            eventually("two workers", || pool.backend().pids().len() == 2);
            pool.join();
            death
        })
    };
}

#[test]
fn segv_is_named() {
    let death = crash!(segv::task());
    assert_eq!(death.signal, Some(libc::SIGSEGV));
    assert_eq!(death.attempt, 1);
    assert!(death.peak_memory.is_some_and(|bytes| bytes > 100_000));
    assert!(death.cpu.is_some());
}

#[test]
fn abort_is_named() {
    assert_eq!(crash!(abort::task()).signal, Some(libc::SIGABRT));
}

#[test]
fn kill_is_named() {
    assert_eq!(crash!(signal_self::task(libc::SIGKILL)).signal, Some(libc::SIGKILL));
}

#[test]
fn a_stack_overflow_is_named() {
    let death = crash!(overflow::task(0));
    assert_eq!(death.signal, Some(libc::SIGABRT));
    assert!(death.stderr.iter().any(|line| line.contains("overflow")), "{death:?}");
}

#[test]
fn exit_in_the_middle_is_a_crash() {
    for code in [0, 3] {
        let death = crash!(exit::task(code));
        assert_eq!(death.exit_code, Some(code));
        assert_eq!(death.stderr.last().unwrap(), &format!("leaving with {code}"));
    }
}

#[test]
fn closing_all_descriptors_is_a_crash() {
    crash!(close_all_descriptors::task());
}

#[test]
fn garbage_is_told() {
    let death = crash!(garbage::task(), plain_workers(2));
    assert!(death.verdict.contains("garbage"), "{death:?}");
}

/// The worker may die of what begins behind the garbage; each task answers for its own.
#[test]
fn garbage_is_not_blamed_for_memory() {
    let pool = taskloom_procs::pool().workers(1).memory_limit(32 << 20).shared_memory(false).build().unwrap();
    for _ in 0..5 {
        let both = pool.with(Policy::new().chunk(2)).map([true, false].map(offends::task)).collect::<Vec<_>>();
        let [Err(TaskError::Crashed(death)), Err(second)] = &both[..] else { panic!("{both:?}") };
        assert!(death.verdict.contains("garbage"), "{death:?}");
        assert!(matches!(second, TaskError::OutOfMemory(_) | TaskError::Crashed(_)), "{second:?}");
    }
}

/// What waits inside the worker goes on to begin until the worker is dead, and must not begin once more elsewhere.
#[test]
fn behind_garbage_no_body_begins_twice() {
    let path = std::env::temp_dir().join(format!("taskloom-garbage-{}", std::process::id()));
    fs::write(&path, "").unwrap();
    let pool = plain_workers(1);
    let tasks = (0..2000).map(|n| note::task(path.clone(), n, n % 100 == 99));
    let handles: Vec<_> = tasks.map(|task| pool.submit(task).unwrap()).collect();
    let mut crashes = 0;
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(same) => assert_eq!(same, n),
            Err(TaskError::Crashed(death)) => {
                assert!(death.verdict.contains("garbage"), "{death:?}");
                crashes += 1;
            }
            Err(other) => panic!("task {n}: {other:?}"),
        }
    }
    let begun: Vec<u64> = fs::read_to_string(&path).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let once: BTreeSet<u64> = begun.iter().copied().collect();
    assert_eq!(begun.len(), once.len(), "a body began twice");
    assert!((1..=20).contains(&crashes), "{crashes} crashes by 20 tasks");
    fs::remove_file(&path).unwrap();
}

#[test]
fn an_absurd_length_is_garbage() {
    let death = crash!(absurd_length::task(), plain_workers(2));
    assert!(death.verdict.contains("no message"), "{death:?}");
}

#[test]
fn a_stopped_worker_is_killed() {
    let death = crash!(signal_self::task(libc::SIGSTOP));
    assert!(death.verdict.contains("stopped by signal 19"), "{death:?}");
    assert!(death.wall >= Duration::from_millis(200));
}

#[test]
fn the_last_lines_are_kept() {
    let death = crash!(talk_and_die::task());
    assert_eq!(death.stderr.len(), 16);
    assert_eq!(death.stderr[14], "line 39");
    assert_eq!(death.stderr[15], "and half a line");
}

#[test]
fn a_forked_copy_delays_nothing() {
    let death = crash!(fork_and_die::task());
    assert_eq!(death.exit_code, Some(9));
}

#[test]
fn an_idle_worker_that_is_killed_is_replaced() {
    within(60, || {
        let pool = workers(2);
        for _ in 0..5 {
            let before = pool.backend().pids();
            for &pid in &before {
                // SAFETY: takes numbers only.
                unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
            }
            eventually("new workers", || {
                let now = pool.backend().pids();
                now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
            });
            assert_eq!(pool.submit(add::task(1, 2)).unwrap().join().unwrap(), 3);
        }
    });
}

#[test]
fn no_body_runs_twice_behind_a_crash() {
    within(60, || {
        let path = std::env::temp_dir().join(format!("taskloom-test-{}", std::process::id()));
        let name = || path.display().to_string();
        let pool = workers(2);
        // Short tasks first, so that the others wait inside the workers.
        for n in 0..200 {
            pool.submit(add::task(n, n)).unwrap().join().unwrap();
        }
        let handles: Vec<_> = (0..300)
            .map(|n| match n % 50 {
                7 => pool.submit(append_and_die::task(name(), n.to_string())).unwrap(),
                _ => pool.submit(append::task(name(), n.to_string())).unwrap(),
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().is_err(), n % 50 == 7, "task {n}");
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut ran: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        ran.sort_unstable();
        assert_eq!(ran, (0..300).collect::<Vec<_>>());
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn chunks_survive_the_crash_of_one_item() {
    within(60, || {
        let pool = workers(2);
        let view = pool.with(Policy::new().chunk(20));
        let tasks = (0..100).map(|n| exit_or::task(n, 33));
        let results: Vec<_> = view.map(tasks).collect();
        for (n, result) in results.into_iter().enumerate() {
            match n {
                33 => assert_eq!(death(result).exit_code, Some(4)),
                _ => assert_eq!(result.unwrap(), n as u64),
            }
        }
    });
}

#[task]
fn exit_or(n: u64, bad: u64) -> u64 {
    if n == bad {
        std::process::exit(4);
    }
    n
}

#[task]
fn exit_at_first(cx: &taskloom_core::Context) -> u32 {
    if cx.attempt() < 3 {
        std::process::exit(1);
    }
    cx.attempt()
}

#[test]
fn crashes_are_retried_on_other_workers() {
    within(60, || {
        let pool = workers(2);
        let view = pool.with(Policy::new().retry(Retry::crashes(2)));
        assert_eq!(view.submit(exit_at_first::task()).unwrap().join().unwrap(), 3);
    });
}

#[test]
fn a_task_that_ignores_its_time_is_killed() {
    within(60, || {
        let pool = workers(1);
        let limit = Duration::from_millis(100);
        let view = pool.with(Policy::new().timeout(limit).grace(Duration::from_millis(50)));
        let start = Instant::now();
        let outcome = view.submit(nap::task(60_000)).unwrap().join();
        assert!(matches!(outcome, Err(TaskError::TimedOut(_))), "{outcome:?}");
        assert!(start.elapsed() >= Duration::from_millis(150));
        assert_eq!(pool.submit(add::task(1, 1)).unwrap().join().unwrap(), 2);
    });
}

/// Initialises a worker that will die before it has done anything.
#[task(state)]
fn doomed(path: PathBuf) -> u32 {
    append(path.display().to_string(), "came".to_owned());
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(20));
        std::process::exit(5)
    });
    0
}

#[test]
fn workers_that_die_at_once_are_no_storm() {
    within(60, || {
        let path = std::env::temp_dir().join(format!("taskloom-doomed-{}", std::process::id()));
        let came = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        let pool = taskloom_procs::pool().workers(1).init(doomed::task(path.clone())).build().unwrap();
        eventually("three in a row", || came() >= 3);
        thread::sleep(Duration::from_secs(1));
        assert!(came() <= 9, "{} came", came());
        drop(pool);
        fs::remove_file(&path).unwrap();
    });
}
