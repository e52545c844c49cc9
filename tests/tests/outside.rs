//! Crates outside the workspace, as users have them, compile and run: on single crates, on the facade with chosen
//! features, with tasks in a library, under another name.

use std::process::Command;

use taskloom_tests::outside;

fn run(program: &str) -> String {
    outside::run(&mut Command::new(outside::build(env!("CARGO_TARGET_TMPDIR"), program, &[])))
}

#[test]
fn core_and_procs_alone() {
    assert_eq!(run("single"), "single: 42");
}

#[test]
fn the_facade_with_procs_and_without_threads() {
    assert_eq!(run("facade"), "facade: task failed: No such file or directory (os error 2)");
}

#[test]
fn tasks_in_a_library_run_from_a_binary_on_every_backend() {
    assert_eq!(run("binary"), "binary: [9900, 9900, 9900]");
}

#[test]
fn the_facade_under_another_name() {
    assert_eq!(run("renamed"), "renamed: hello, you");
}
