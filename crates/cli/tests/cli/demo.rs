//! `demo`, part by part. What takes long by its nature, waiting for seconds, is left to whoever types it.

use std::fs;

use crate::harness::{Folder, run};

#[test]
fn computing_gives_equal_totals_on_every_backend() {
    let folder = Folder::new().with("a.txt", "to be or not\nto be\n").with("b.txt", "that is\n");
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/c.txt"), "the question\n").unwrap();
    let ran = folder.run("demo --only computing --path .").code(0);
    for text in [
        "of 3 files",
        "inline   ",
        "threads x ",
        "procs   x ",
        "equal totals each time: 4 lines, 10 words",
        "Next: type",
    ] {
        assert!(ran.out.contains(text), "{text}:\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() < 80), "{}", ran.out);
}

#[test]
fn crashes_cost_three_tasks_and_no_other() {
    let ran = run("demo --only crashing").code(0);
    for text in [
        "CRASH segfault ",
        "was killed by signal 11 (SIGSEGV)",
        "CRASH exit_with ",
        "exited with code 3",
        "PANIC panic_with ",
        "panicked: on purpose",
        "200 of 200 good tasks succeeded",
    ] {
        assert!(ran.out.contains(text), "{text}:\n{}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
}

#[test]
fn the_classic_pair_runs_side_by_side() {
    let ran = run("demo --only pair").code(0);
    assert_eq!(ran.out.matches("Starting task").count(), 4, "{}", ran.out);
    assert_eq!(ran.out.matches("Task completed").count(), 4);
    assert!(
        ran.out.contains("All tasks completed on two threads: ")
            && ran.out.contains("All tasks completed in two processes: ")
    );
}

#[test]
fn a_folder_that_is_not_there_is_missing_input() {
    run("demo --only computing --path nowhere").code(66).says("error: cannot read nowhere: ");
}
