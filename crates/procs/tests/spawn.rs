//! One task in a process of its own.

mod support;

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::Command,
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{Blob, Cancel, Context, State, TaskError, task};
use taskloom_procs::spawn;

taskloom_procs::test_support!();

/// What this process has to read, and the descriptors that a program inherits which it starts.
#[task]
fn inheritance() -> (usize, String) {
    let read = std::io::stdin().read(&mut [0; 8]).unwrap();
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    (read, String::from_utf8(listed.stdout).unwrap())
}

#[task]
fn until_cancelled(cx: &Context) -> u64 {
    let mut looks = 0;
    while !cx.is_cancelled() {
        looks += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    looks
}

#[task]
fn chatter(records: usize) -> usize {
    (0..records).for_each(|n| log::info!("record {n}"));
    records
}

#[task]
fn same_blob(blob: Blob) -> (usize, Blob) {
    (blob.iter().map(|&byte| usize::from(byte)).sum(), blob)
}

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
fn who_is_killed_at_once_has_an_outcome_that_says_so() {
    within(60, || {
        for _ in 0..20 {
            let process = spawn(nap::task(60_000)).unwrap();
            process.kill();
            match process.join().unwrap_err() {
                TaskError::Crashed(death) => assert_eq!(death.signal, Some(libc::SIGKILL)),
                TaskError::Start(error) => {
                    assert!(error.message.contains("before its task began"), "{error:?}");
                    assert!(error.status.as_ref().unwrap().contains("SIGKILL"), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn its_way_to_the_parent_is_nobody_elses() {
    within(60, || {
        let (read, inherited) = spawn(inheritance::task()).unwrap().join().unwrap();
        assert_eq!(read, 0, "standard input is empty");
        assert!(inherited.contains("/dev/null") && !inherited.contains("socket:"), "{inherited}");
    });
}

#[test]
fn a_task_that_runs_is_told_to_stop() {
    within(60, || {
        let process = spawn(until_cancelled::task()).unwrap();
        eventually("start", || process.state() == State::Running);
        assert_eq!(process.cancel(), Cancel::Requested);
        assert!(process.join().unwrap() > 0, "what it returns then is its outcome");
    });
}

#[test]
fn large_values_pass_in_both_directions() {
    within(60, || {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n as u8).collect();
        assert_eq!(spawn(echo::task(bytes.clone())).unwrap().join().unwrap(), bytes);
        // The first finds out whether it can look at this process's memory; the next are told.
        for _ in 0..3 {
            let blob = Blob::from(vec![1; 3 << 20]);
            let (sum, back) = spawn(same_blob::task(blob.clone())).unwrap().join().unwrap();
            assert_eq!(sum, 3 << 20);
            assert_eq!(back.as_ptr(), blob.as_ptr(), "it came without a copy");
        }
    });
}

#[test]
fn who_logs_a_lot_gets_credit() {
    within(60, || {
        log::set_max_level(log::LevelFilter::Info);
        assert_eq!(spawn(chatter::task(5000)).unwrap().join().unwrap(), 5000);
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
