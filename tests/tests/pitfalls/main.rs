//! What has broken others who ran tasks in processes: each pitfall with its test.
//!
//! Where another test is named, it shows the pitfall, or the rest of it; a name alone is a clause of the contract, in
//! `tests/src`.
//!
//! 1. Ten thousand small tasks for one worker that sleeps: as many are taken as the queue has room for, then submitting
//!    waits; no deadlock. Without a limit: `crates/procs/tests/flow.rs`, `ten_thousand_tasks_for_one_worker_that_sleeps`.
//! 2. Arguments and results of 4 MiB, many times, two workers: `crates/procs/tests/flow.rs`,
//!    `megabytes_both_ways_many_times`.
//! 3. A worker is killed half way through a large reply: `crash_mid_message`.
//! 4. A worker is stopped half way through a large reply: `crash_mid_stop`.
//! 5. Broken pipe, reset and disconnect: however a death shows, one kind of error with the exit code.
//! 6. A child dies before the handshake, or says nothing: `crates/procs/tests/no_hello.rs`,
//!    `the_build_fails_with_the_reason`.
//! 7. A timer signal at 1 kHz: interrupted calls harm nothing. In a worker; in the parent: `crates/procs/tests/signals.rs`,
//!    `interrupted_calls_harm_nothing`.
//! 8. No descriptors: the build says how many would do; a pool that runs out later goes on while it has a worker, and says
//!    why when it has none. None when it is built: `crash_no_worker`.
//! 9. `init` is forgotten: the build says what to write, and no process is started.
//! 10. The program's file is replaced, then deleted, while the pool runs: later workers run the same program. Its folder
//!     is deleted: the error names it.
//! 11. A task reads the terminal: its worker is stopped for ever, which is noticed. What tasks read from and print to
//!     standard streams: `life_streams`.
//! 12. A task starts grandchildren: they delay neither its result nor the record of its worker's death, and end with the
//!     worker. At an orderly end: `crates/procs/tests/life.rs`, `grandchildren_end_with_their_worker`.
//! 13. The parent is killed by SIGKILL: its workers and their grandchildren end too, and no file is left.
//! 14. `panic = "abort"`: a panic is its task's outcome, whatever the payload, and the pool goes on.
//! 15. Replies that cannot be decoded, lengths that are absurd, results of nobody's tasks: the worker is killed as one that
//!     sends garbage, others and the pool go on. Results that are no values: `outcome_decode_result`.
//! 16. An argument that cannot be encoded: `outcome_encode`.
//! 17. A task submits to its own pool of one and waits: `handle_nested`.
//! 18. A task waits while it holds a lock: no foreign task runs on its stack.
//! 19. A task overruns its time on a thread: `crates/threads/tests/limits.rs`,
//!     `a_stuck_task_is_left_behind_and_its_thread_replaced_in_its_slot`.
//! 20. A pool is dropped with work queued and running: `life_dropped`.
//! 21. Tasks of the same name each run as themselves; looking up a name that is several, or none, says which there are.
//! 22. `skip_serializing_if`, untagged, flattened, `Value`: `outcome_faithful`; field by field: core's `codec::strict`.
//! 23. The thread that built the pool ends, its workers do not: `crates/procs/tests/life.rs`,
//!     `the_spawning_thread_may_end`.
//! 24. Some package turns ipc-channel's `force-inprocess` on: the build says so, and how to find the package.
//! 25. A temporary directory with a very long path, or otherwise unusable: a refusal that names it, and what to set.
//! 26. An argument of 200 MiB arrives, though another worker is idle; others and the worker are unharmed.
//! 27. A task forks, and its copy returns, too: the copy is not heard.

mod body;
mod messages;
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
    body: p07_timer_signal_in_a_worker, p11_task_reads_the_terminal, p12_worker_with_grandchildren_dies,
        p18_lock_held_across_a_wait, p21_duplicate_and_unknown_names, p27_bare_fork_in_a_task;
    messages: p01_ten_thousand_tasks_for_a_worker_that_sleeps, p05_one_kind_of_end_however_it_shows,
        p15_undecodable_replies_and_absurd_lengths, p26_large_argument;
    program: p08_no_descriptors_left, p09_init_forgotten, p10_program_replaced_or_deleted_while_running, p10_folder_deleted_while_running,
        p13_parent_killed, p14_panic_abort_and_odd_payloads, p24_force_inprocess_unified_in,
        p25_very_long_temporary_directory;
}
