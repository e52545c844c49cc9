//! Workers are killed and stopped at random while thousands of tasks run.

mod support;

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use support::*;
use taskloom_core::{Policy, TaskError, task};

taskloom_procs::test_support!();

#[task]
fn mark(path: PathBuf, n: u64, bytes: Vec<u8>) -> (u64, Vec<u8>) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(format!("{n}\n").as_bytes()).unwrap();
    (n, bytes)
}

/// A small generator of numbers (xorshift): the same storm each time, as far as timing allows.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn storm(workers_count: usize, kills: usize, chunk: Option<usize>, large: bool, seed: u64) {
    within(120, move || {
        let path = std::env::temp_dir().join(format!("taskloom-storm-{seed}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let pool = workers(workers_count);
        let over = AtomicBool::new(false);
        let count = if large { 120 } else { 5000 };
        let outcomes: Vec<Result<(u64, Vec<u8>), TaskError>> = thread::scope(|scope| {
            scope.spawn(|| {
                let mut state = seed;
                for n in 0..kills {
                    thread::sleep(Duration::from_millis(3 + random(&mut state) % 15));
                    let pids = pool.backend().pids();
                    if over.load(Ordering::Relaxed) || pids.is_empty() {
                        continue;
                    }
                    let pid = pids[random(&mut state) as usize % pids.len()];
                    let signal = if n % 7 == 6 { libc::SIGSTOP } else { libc::SIGKILL };
                    // SAFETY: takes numbers only.
                    unsafe { libc::kill(pid as libc::pid_t, signal) };
                }
            });
            let size = |n: u64| if large && n.is_multiple_of(2) { 1_000_000 } else { 10 };
            let tasks = (0..count).map(|n| mark::task(path.clone(), n, vec![n as u8; size(n)]));
            let outcomes = match chunk {
                Some(size) => pool.with(Policy::new().chunk(size)).map(tasks).collect(),
                None => {
                    let handles: Vec<_> = tasks.map(|task| pool.submit(task).unwrap()).collect();
                    handles.into_iter().map(|handle| handle.join()).collect()
                }
            };
            over.store(true, Ordering::Relaxed);
            outcomes
        });
        pool.join();
        let mut ran: HashMap<u64, u32> = HashMap::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            *ran.entry(line.parse().unwrap()).or_default() += 1;
        }
        assert!(ran.values().all(|&times| times == 1), "a body ran twice");
        let mut crashed = 0;
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok((same, bytes)) => {
                    assert_eq!(same, n as u64);
                    assert!(bytes.iter().all(|&byte| byte == n as u8));
                    assert_eq!(ran.get(&same), Some(&1));
                }
                Err(TaskError::Crashed(_)) => crashed += 1,
                Err(other) => panic!("task {n}: {other:?}"),
            }
        }
        assert!(crashed <= kills);
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn small_tasks_with_handles() {
    storm(2, 13, None, false, 11);
}

#[test]
fn small_tasks_in_chunks() {
    storm(3, 13, Some(50), false, 12);
}

#[test]
fn large_messages_both_ways() {
    storm(2, 13, None, true, 13);
}

#[test]
fn one_worker() {
    storm(1, 5, None, false, 14);
}
