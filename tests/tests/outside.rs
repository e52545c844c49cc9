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

/// What a build does not have it refuses with the code for that, and does the rest.
#[test]
fn the_command_line_without_procs() {
    let program = outside::build(env!("CARGO_TARGET_TMPDIR"), "command", &[]);
    let typed = |words: &str, code: i32| {
        let output = Command::new(&program).args(words.split(' ')).env("TASKLOOM_RECORD", "none").output();
        let output = output.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    assert_eq!(typed("run double --range 0..3 -k", 0).0, "0\n2\n4\n");
    let (out, said) = typed("run double --range 0..3 -b procs", 69);
    assert!(out.is_empty() && said.starts_with("error: backend `procs` is not available\n  reason: "), "{said}");
    assert_eq!(typed("exec ::: a -- echo", 0).0, "a\n");
    let (out, said) = typed("exec --memory 1GiB ::: a -- echo", 69);
    assert!(out.is_empty() && said.starts_with("error: `--memory` is not available\n  reason: "), "{said}");
    let (out, _) = typed("exec --json --memory 1GiB ::: a -- echo", 69);
    assert!(out.contains("\"code\":\"backend-unavailable\"") && out.contains("\"exit_code\":69"), "{out}");
}
