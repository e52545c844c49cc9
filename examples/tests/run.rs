//! Runs every example and looks at what it prints; where an example is portable, on every backend.

use std::process::{Command, Output};

/// Runs an example in this package's folder.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUST_LOG")
        .output()
        .expect("the example can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{errors}", output.status);
    output
}

fn stdout(program: &str, arguments: &[&str]) -> String {
    String::from_utf8(run(program, arguments).stdout).expect("text")
}

#[test]
fn the_readme_shows_the_first_example() {
    let code = include_str!("../01_first.rs").lines().skip_while(|line| line.starts_with("//!") || line.is_empty());
    let code: Vec<&str> = code.collect();
    assert!(include_str!("../../README.md").contains(&code.join("\n")), "README.md shows another program");
}

#[test]
fn the_first_example_counts_words() {
    let words = include_str!("../Cargo.toml").split_whitespace().count();
    let output = stdout(env!("CARGO_BIN_EXE_01_first"), &[]);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], words.to_string());
    assert!(lines.iter().any(|line| line.ends_with(&format!("Ok({words})"))), "{output}");
    assert!(lines.iter().any(|line| line.contains("Failed")), "a folder is no text: {output}");
}

#[test]
fn the_first_example_says_the_same_with_one_word_changed() {
    let procs = stdout(env!("CARGO_BIN_EXE_01_first"), &[]);
    assert_eq!(procs, stdout(env!("CARGO_BIN_EXE_01_first_threads"), &[]));
    assert_eq!(procs, stdout(env!("CARGO_BIN_EXE_01_first_inline"), &[]));
}

#[test]
fn crashes_cost_their_task_alone() {
    let output = stdout(env!("CARGO_BIN_EXE_02_crash"), &[]);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 12, "{output}");
    for (n, line) in lines.iter().enumerate() {
        match n {
            3 => {
                assert!(line.contains("was killed by signal 6 (SIGABRT)"), "{line}");
                assert!(line.ends_with("it last said: task 3 is about to abort"), "{line}");
            }
            5 => assert!(
                line.contains("panicked at") && line.contains("02_crash.rs:") && line.ends_with(": task 5 found a bug"),
                "{line}"
            ),
            7 => assert!(line.ends_with("failed: task 7 does not like its input"), "{line}"),
            _ => assert_eq!(*line, format!("{n:>2}: {}", n * n)),
        }
    }
}

#[test]
fn nested_tasks_and_closures_come_to_an_end() {
    let output = stdout(env!("CARGO_BIN_EXE_03_nested_and_closures"), &[]);
    assert!(output.starts_with("this folder: "), "{output}");
    assert!(output.ends_with("squares of [1, 2, 3, 4, 5]: [1, 4, 9, 16, 25]\n"), "{output}");
}

#[test]
fn a_backend_chosen_by_name_changes_nothing_but_itself() {
    let program = env!("CARGO_BIN_EXE_04_choose_backend");
    let threads = stdout(program, &["threads"]);
    assert!(threads.ends_with("5133 primes below 50000\n"), "{threads}");
    assert_eq!(threads, stdout(program, &["inline"]));
    assert_eq!(threads, stdout(program, &["procs"]));

    let said = |backend| String::from_utf8(run(program, &[backend]).stderr).expect("text");
    assert!(said("procs").contains("a closure: "), "a closure cannot leave the process");
    assert!(!said("threads").contains("a closure: "));
}

#[test]
fn an_unknown_backend_lists_the_known() {
    let output = Command::new(env!("CARGO_BIN_EXE_04_choose_backend")).arg("gpu").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`inline`, `threads`, `procs`"));
}

#[test]
fn state_events_and_progress_are_the_same_everywhere() {
    let program = env!("CARGO_BIN_EXE_05_state_and_progress");
    let threads = stdout(program, &["threads"]);
    assert!(threads.contains("unknown: whether tis nobler in mind\n"), "{threads}");
    assert!(threads.ends_with("3 tasks started, 3 finished, 16 words seen\n"), "{threads}");
    assert_eq!(threads, stdout(program, &["inline"]));
    assert_eq!(threads, stdout(program, &["procs"]));
}

#[test]
fn log_records_of_workers_come_home_with_their_task() {
    let output = run(env!("CARGO_BIN_EXE_05_state_and_progress"), &["procs"]);
    let errors = String::from_utf8(output.stderr).expect("text");
    let of_tasks =
        errors.lines().filter(|line| line.starts_with("[task ") && line.contains("words are unknown")).count();
    assert_eq!(of_tasks, 3, "{errors}");
}
