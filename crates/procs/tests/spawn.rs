//! One task in a process of its own.

mod support;

use std::{
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{Blob, Cancel, Context, State, TaskError, task};
use taskloom_procs::{Process, spawn};

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

#[task]
fn zeroes(count: usize) -> Vec<u8> {
    vec![0; count]
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

fn nap_by_a_thread_that_ends(millis: u64) -> Process<()> {
    let start = move || {
        let process = spawn(nap::task(millis)).unwrap();
        eventually("start", || process.state() == State::Running);
        process
    };
    std::thread::spawn(start).join().unwrap()
}

/// A process that ends with the test, however that ends.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        // SAFETY: takes numbers only; the process ends by itself long after the test.
        unsafe { libc::kill(self.0 as libc::pid_t, libc::SIGKILL) };
    }
}

#[test]
fn it_does_not_need_the_thread_that_started_it() {
    within(60, || {
        nap_by_a_thread_that_ends(300).join().unwrap();
    });
}

/// Its parent's end is told to it by the end of its channel, and by the system. Here a copy of the parent keeps the channel
/// open, and the thread that started it has ended before.
#[test]
fn it_ends_with_the_process_that_started_it() {
    const PLACE: &str = "SPAWN_TEST_PLACE";
    if let Some(place) = std::env::var_os(PLACE) {
        let process = nap_by_a_thread_that_ends(60_000);
        // SAFETY: the copy calls nothing but the system.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            // SAFETY: takes a number; the signal that comes then ends the copy.
            unsafe { libc::alarm(60) };
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        }
        let half = format!("{}.half", place.display());
        fs::write(&half, format!("{} {copy}", process.pid())).unwrap();
        fs::rename(half, place).unwrap();
        process.join().unwrap();
    }
    within(60, || {
        let place = std::env::temp_dir().join(format!("taskloom-spawn-{}", std::process::id()));
        let mut parent = Command::new(std::env::current_exe().unwrap());
        let parent = parent.args(["--exact", "it_ends_with_the_process_that_started_it", "--nocapture"]);
        let mut parent = parent.env(PLACE, &place).stdout(Stdio::null()).spawn().unwrap();
        eventually("start", || place.exists());
        let text = fs::read_to_string(&place).unwrap();
        let [process, copy] = text.split(' ').map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()[..] else {
            panic!()
        };
        fs::remove_file(place).unwrap();
        let _ended = [process, copy].map(Ended);
        assert!(lives(process));
        parent.kill().unwrap();
        parent.wait().unwrap();
        eventually("the process has ended", || !lives(process));
        assert!(lives(copy), "it kept the channel open");
    });
}

#[test]
fn who_is_stopped_while_it_sends_is_found() {
    within(120, || {
        for after in [0, 5, 10, 20, 40] {
            let process = spawn(zeroes::task(128 << 20)).unwrap();
            eventually("start", || process.state() == State::Running);
            std::thread::sleep(Duration::from_millis(after));
            // SAFETY: takes numbers only; the process has not been joined.
            unsafe { libc::kill(process.pid() as libc::pid_t, libc::SIGSTOP) };
            match process.join() {
                Ok(bytes) => assert_eq!(bytes.len(), 128 << 20, "all of it had been sent"),
                other => assert!(death(other).verdict.contains("stopped by signal")),
            }
        }
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
