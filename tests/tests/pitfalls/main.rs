//! What has broken others who ran tasks in processes: each pitfall with its test.
//!
//! 9. `init` is forgotten: the build says what to write, and no process is started.
//! 10. The program's file is replaced, then deleted, while the pool runs: later workers run the same program.
//! 13. The parent is killed by SIGKILL: its workers and their grandchildren end too, and no file is left.
//! 14. `panic = "abort"`: a panic is its task's outcome, whatever the payload, and the pool goes on.
//! 24. Some package turns ipc-channel's `force-inprocess` on: the build says so, and how to find the package.

mod program;

use taskloom_tests::watchdog;

taskloom::test_support!();

/// Stands at the root, so that a test can be run again by its name alone.
macro_rules! pitfalls {
    ($($section:ident: $($test:ident),+;)+) => {$($(
        #[test]
        fn $test() {
            watchdog::run(stringify!($test), $section::$test);
        }
    )+)+};
}

pitfalls! {
    program: p09_init_forgotten, p10_program_replaced_or_deleted_while_running, p10_folder_deleted_while_running,
        p13_parent_killed, p14_panic_abort_and_odd_payloads, p24_force_inprocess_unified_in;
}
