//! What has broken others who ran tasks in processes: each pitfall with its test.
//!
//! 9. `init` is forgotten: the build says what to write, and no process is started.
//! 14. `panic = "abort"`: a panic is its task's outcome, whatever the payload, and the pool goes on.
//! 24. Some package turns ipc-channel's `force-inprocess` on: the build says so, and how to find the package.

use std::process::Command;

use taskloom_tests::{
    outside,
    scratch::{Scratch, lines},
    watchdog,
};

taskloom::test_support!();

#[test]
fn p09_init_forgotten() {
    watchdog::run("p09_init_forgotten", || {
        let (scratch, program) = (Scratch::new(), outside::build(env!("CARGO_TARGET_TMPDIR"), "forgotten", &[]));
        let starts = scratch.path("starts");
        let said = outside::run(Command::new(program).arg(&starts));
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said.len(), 2, "one refusal for the pool, one for the process: {said:?}");
        assert!(
            said.iter().all(|line| line.contains("`taskloom_procs::init();`") && line.contains("`main`")),
            "{said:?}"
        );
        assert_eq!(lines(&starts), ["started"], "no worker has run the program once more");
    });
}

#[test]
fn p14_panic_abort_and_odd_payloads() {
    watchdog::run("p14_panic_abort_and_odd_payloads", || {
        let abort = ["--config", "profile.dev.panic=\"abort\""];
        let program = outside::build(env!("CARGO_TARGET_TMPDIR"), "aborting", &abort);
        let mut command = Command::new(program);
        assert_eq!(outside::run(command.env_remove("RUST_BACKTRACE")), "aborting: every panic is its task's");
    });
}

#[test]
fn p24_force_inprocess_unified_in() {
    watchdog::run("p24_force_inprocess_unified_in", || {
        let (scratch, program) = (Scratch::new(), outside::build(env!("CARGO_TARGET_TMPDIR"), "inprocess", &[]));
        let starts = scratch.path("starts");
        let said = outside::run(Command::new(program).env("STARTS", &starts));
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said.len(), 2, "one refusal for the pool, one for the process: {said:?}");
        for line in said {
            assert!(line.contains("`force-inprocess`"), "{line}");
            assert!(line.contains("`cargo tree -e features -i ipc-channel`"), "{line}");
        }
        assert_eq!(lines(&starts), ["started"], "no worker has been started");
    });
}
