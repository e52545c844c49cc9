//! A few rounds of chaos, the same every day. For longer ones: `cargo xtask chaos`.

use taskloom_chaos::{Options, Until, run};
use taskloom_tests::{process::in_own_process, watchdog};

taskloom::test_support!();

fn rounds(name: &str, seed: u64) {
    watchdog::run(name, || {
        in_own_process("", || {
            let summary = run(&Options { seed, until: Until::Rounds(4), verbose: true });
            assert!(summary.is_good(), "{summary}");
            assert!(summary.strikes() > 0, "nothing was struck: {summary}");
        });
    });
}

#[test]
fn rounds_of_seed_1() {
    rounds("rounds_of_seed_1", 1);
}

#[test]
fn rounds_of_seed_2() {
    rounds("rounds_of_seed_2", 2);
}
