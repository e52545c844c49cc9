//! Tasks and small tools that several files share.
#![allow(dead_code, reason = "each file uses some of it")]
#![allow(unreachable_pub, reason = "what `#[task]` makes of a function is as public as it is")]

use std::{
    fs,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use taskloom_core::{Death, Pool, TaskError, task};
use taskloom_procs::{Procs, pool};

pub fn workers(count: usize) -> Pool<Procs> {
    pool().workers(count).build().expect("workers start")
}

/// Reached through sockets alone, on which a task can write nonsense.
pub fn plain_workers(count: usize) -> Pool<Procs> {
    pool().workers(count).shared_memory(false).build().expect("workers start")
}

/// Fails the test if `body` takes longer than any sane machine needs.
pub fn within<R: Send + 'static>(seconds: u64, body: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(body()).unwrap());
    match receiver.recv_timeout(Duration::from_secs(seconds)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing after {seconds} s"),
    }
}

/// Waits until something is true.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn death<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> Death {
    match outcome {
        Err(TaskError::Crashed(death)) => *death,
        other => panic!("no crash: {other:?}"),
    }
}

pub fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let mut open: Vec<_> = entries.filter_map(|path| Some(fs::read_link(path).ok()?.display().to_string())).collect();
    open.sort();
    open
}

pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

pub fn lives(pid: u32) -> bool {
    // A zombie is dead, and is somebody's to bury.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

pub fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

#[task]
pub fn pid() -> u32 {
    std::process::id()
}

#[task]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
pub fn nap(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

#[task]
pub fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
pub fn signal_self(signal: i32) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(std::process::id() as libc::pid_t, signal) };
    // Some signals take a moment to arrive at the whole process.
    thread::sleep(Duration::from_secs(60));
}

#[task]
pub fn exit(code: i32) {
    eprintln!("leaving with {code}");
    std::process::exit(code);
}
