//! Every clause, for every backend, all or nothing.

/// Stamps one `#[test]` for each clause of the contract that is not planned, for one harness.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        $crate::stamp! {
            $harness;
            outcome: outcome_once, outcome_runs, outcome_kinds, outcome_error, outcome_panic, outcome_payload,
                outcome_death, outcome_encode, outcome_decode_arg, outcome_encode_result, outcome_decode_result,
                outcome_faithful, outcome_drop;
            handle: handle_roads, handle_wait_again, handle_state, handle_cancel, handle_cancel_running,
                handle_cancel_done, handle_on_done, handle_on_done_panic, handle_on_done_calls, handle_wait,
                handle_as_completed, handle_nested;
            map: map_order, map_unordered, map_error, map_chunks, map_lazy, map_input_panic, map_abandon, map_edges,
                map_fair;
            limits: limits_timeout, limits_queue_timeout, limits_deadline, limits_kill, limits_abandon, limits_retry,
                limits_late, limits_overlap, limits_given_up;
            crash: crash_segv, crash_kill, crash_abort, crash_stack_overflow, crash_exit0, crash_exit3,
                crash_quick_exit, crash_close_all_fds, crash_garbage, crash_stopped, crash_result_first, crash_behind,
                crash_idle, crash_mid_message, crash_mid_stop, crash_storm, crash_no_worker;
            life: life_join, life_cancel_all, life_closed, life_dropped, life_nothing_left, life_shared, life_steady,
                life_idle, life_streams, life_quiet;
            workers: limits_descendants, limits_memory, limits_recycle;
            nested: life_nested_pools;
            parent: life_orphans, life_interrupt, life_paused, life_hostile_parent;
            resize: life_resize;
            share: share_blob;
            context: context_same, context_seed, context_log, context_events, context_metrics, context_init;
        }
    };
}

/// The tests stand at the root of their program, so that each can be run again by its name alone.
#[doc(hidden)]
#[macro_export]
macro_rules! stamp {
    ($harness:ty; $($section:ident: $($test:ident),+;)+) => {$($(
        #[test]
        fn $test() {
            $crate::watchdog::run(stringify!($test), $crate::$section::$test::<$harness>);
        }
    )+)+};
}
