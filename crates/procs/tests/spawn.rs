//! One task in a process of its own.

mod support;

use std::{
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use support::*;
use taskloom_procs::spawn;

taskloom_procs::test_support!();

#[test]
fn a_process_runs_one_task_and_ends() {
    within(60, || {
        let mut process = spawn(pid::task()).unwrap();
        let there = process.pid();
        assert!(process.name().ends_with("pid"));
        assert_eq!(process.join_timeout(Duration::from_secs(30)).unwrap().unwrap(), there);
        eventually("end", || !process.is_alive());
        assert!(process.exit_status().unwrap().success());
        assert!(!exists(there));
    });
}

#[test]
fn join_waits_for_the_process() {
    within(60, || {
        let start = Instant::now();
        let process = spawn(nap::task(100)).unwrap();
        let pid = process.pid();
        process.join().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(!exists(pid));
    });
}

#[test]
fn terminate_and_kill_are_crashes() {
    within(60, || {
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let mut process = spawn(nap::task(60_000)).unwrap();
            eventually("start", || process.state() == taskloom_core::State::Running);
            if signal == libc::SIGTERM {
                process.terminate()
            } else {
                process.kill()
            }
            let death = death(process.join_timeout(Duration::from_secs(30)).unwrap());
            assert_eq!(death.signal, Some(signal));
            assert_eq!(process.exit_status().unwrap().signal(), Some(signal));
            assert!(!process.is_alive());
        }
    });
}

#[test]
fn an_exit_is_a_crash_with_its_code() {
    within(60, || {
        assert_eq!(death(spawn(exit::task(3)).unwrap().join()).exit_code, Some(3));
    });
}

#[test]
fn a_dropped_process_goes_on() {
    within(60, || {
        let process = spawn(nap::task(300)).unwrap();
        let pid = process.pid();
        drop(process);
        assert!(exists(pid));
        eventually("end", || !exists(pid));
    });
}
