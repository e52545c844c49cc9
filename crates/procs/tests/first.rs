//! The first things: a task runs in another process, and a crash is its own.

use taskloom_core::{TaskError, task};

taskloom_procs::test_support!();

#[task]
fn pid() -> u32 {
    std::process::id()
}

#[task]
fn exit(code: i32) {
    std::process::exit(code);
}

#[test]
fn a_task_runs_in_another_process() {
    let pool = taskloom_procs::pool().workers(1).build().unwrap();
    let there = pool.submit(pid::task()).unwrap().join().unwrap();
    assert_ne!(there, std::process::id());
    assert_eq!(pool.backend().pids(), [there]);
    pool.join();
}

#[test]
fn a_crash_is_its_tasks_outcome() {
    let pool = taskloom_procs::pool().workers(1).build().unwrap();
    let crash = pool.submit(exit::task(3)).unwrap();
    let after = pool.submit(pid::task()).unwrap();
    let Err(TaskError::Crashed(death)) = crash.join() else { panic!() };
    assert_eq!(death.exit_code, Some(3));
    assert!(after.join().is_ok());
}
