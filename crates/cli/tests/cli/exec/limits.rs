//! Limits, and what happens when commands reach them.

use std::time::{Duration, Instant};

use crate::harness::{Folder, exec};

#[test]
fn a_command_over_its_time_is_asked_and_then_killed() {
    let start = Instant::now();
    let ran = exec(
        "-j 2 --timeout 200ms --grace 300ms ::: soft hard",
        &["sh", "-c", "[ $0 = hard ] && trap '' TERM; while :; do sleep 600 & wait; done"],
    )
    .code(100);
    assert!(start.elapsed() >= Duration::from_millis(500), "the second one had its grace");
    ran.says(" TIMEOUT [")
        .says("over --timeout 200ms: sent TERM, it ended after 0.")
        .says("it had to be killed after 0.");
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let folder = Folder::new();
    let script = "sleep 600 & echo $! > pid; wait";
    folder.exec("--timeout 200ms ::: a", &["sh", "-c", script]).code(100);
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    // Killed, and at most not buried yet by init.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or("0 (gone) Z".to_owned());
    assert!(status.contains(") Z") || status.contains(") X"), "{status}");
}

#[test]
fn a_command_over_its_memory_is_killed() {
    let script = "x=$(head -c 50000000 /dev/zero | tr '\\0' x); sleep 600";
    exec("--memory 20MiB ::: a", &["sh", "-c", script])
        .code(100)
        .says("  MEMORY [")
        .says(", over --memory 20MiB: killed");
    // Also when it is not the command itself that holds it.
    exec("--memory 20MiB ::: a", &["sh", "-c", "sh -c \"$1\" & wait", "{}", script])
        .code(100)
        .says("over --memory 20MiB: killed");
    exec("--memory 200MiB ::: a", &["true"]).code(0);
}

#[test]
fn failures_can_be_tried_again() {
    let folder = Folder::new();
    // Fails until the third attempt.
    let script = "echo $TASKLOOM_TASK_ATTEMPT; echo x >> tries; [ $TASKLOOM_TASK_ATTEMPT = 3 ]";
    let ran = folder.exec("--retries 3 --backoff 10ms ::: a", &["sh", "-c", script]).code(0);
    assert_eq!(ran.out, "3\n", "what failed attempts print is left out");
    ran.says("   RETRY #1 sh a attempt 1 failed: exit code 1; again in ").says("1 input: 1 ok");
    assert_eq!(std::fs::read_to_string(folder.path().join("tries")).unwrap(), "x\nx\nx\n");
    let ran = folder.exec("--retries 3 --retry-on crash,timeout ::: a", &["false"]).code(100);
    assert!(!ran.err.contains("RETRY"), "{}", ran.err);
    let ran = folder.exec("--retries 1 --retry-on crash ::: a", &["sh", "-c", "kill -SEGV $$"]).code(100);
    assert_eq!(ran.err.matches("RETRY").count(), 1);
}

#[test]
fn retries_wait_for_their_backoff() {
    let start = Instant::now();
    exec("-q --retries 2 --backoff 200ms ::: a", &["false"]).code(100);
    assert!(start.elapsed() >= Duration::from_millis(100 + 200), "half of each wait at least");
}

#[test]
fn failures_can_be_too_many() {
    let ran = exec("-j 1 --max-fail 3 --range 0..1000", &["false"]).code(100);
    ran.says("stopped by --max-fail: 3 of 1000 done (3 failed), 0 cancelled, 997 not started");
    let ran = exec("-j 1 --max-fail 10% --range 0..50", &["false"]).code(100);
    ran.says("5 of 50 done");
    // What runs is left to end, or not.
    let script = "[ $0 = 0 ] && exit 1; sleep 0.5; echo ended";
    assert_eq!(exec("-j 2 --max-fail 1 --range 0..50", &["sh", "-c", script]).code(100).out, "ended\n");
    let ran = exec("-j 2 --max-fail 1:now --range 0..50", &["sh", "-c", "[ $0 = 0 ] && exit 1; sleep 600"]).code(100);
    ran.says("1 of 50 done (1 failed), 1 cancelled, 48 not started");
}

#[test]
fn the_whole_run_can_be_limited() {
    let start = Instant::now();
    let ran = exec("-j 2 --run-timeout 300ms --range 0..50", &["sleep", "600"]).code(124);
    assert!(start.elapsed() >= Duration::from_millis(300));
    ran.says("over --run-timeout 300ms: 0 of 50 done, 2 cancelled, 48 not started");
}

#[test]
fn slow_commands_are_marked() {
    exec("--slow 100ms ::: 0.4", &["sleep"]).code(0).says("    SLOW [> 0.1s] #1 sleep 0.4\n").says("1 ok (1 slow)\n");
}

#[test]
fn nothing_starts_while_memory_is_short() {
    exec("--min-free-memory 1KiB ::: a", &["true"]).code(0);
    let ran = exec("--min-free-memory 1000TiB --run-timeout 400ms ::: a", &["true"]).code(124);
    ran.says("waiting for free memory").says("0 of 1 done, 0 cancelled, 1 not started");
}

#[test]
fn without_room_for_more_processes_it_waits_for_those_that_run() {
    // 20 descriptors: enough for some commands at once, never for 50.
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_taskloom");
    let line = format!("ulimit -n 20; exec {program} exec -q -k -j 50 --range 0..100 -- sh -c 'sleep 0.01; echo $0'");
    let ran = folder.shell(&line).code(0).says_exactly("");
    assert_eq!(ran.out, (0..100).map(|n| format!("{n}\n")).collect::<String>());
}
