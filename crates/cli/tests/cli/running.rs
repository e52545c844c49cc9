//! `run`, when all goes well.

use std::process::Stdio;

use crate::harness::{Folder, answers_as_it_is_asked, run};

const BACKENDS: [&str; 3] = ["inline", "threads", "procs"];

#[test]
fn results_are_equal_on_every_backend() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/**/*.rs");
    let expected = run(&format!("run count_words --files {sources} -b inline")).code(0);
    assert!(expected.out.lines().count() > 20 && expected.out.contains("\"sha256\":\""), "{}", expected.out);
    for backend in BACKENDS {
        let ordered = run(&format!("run count_words --files {sources} -k -b {backend}")).code(0);
        assert_eq!(ordered.out, expected.out, "{backend}");
        let unordered = run(&format!("run count_words --files {sources} -j 3 -b {backend}")).code(0);
        assert_eq!(unordered.sorted(), expected.sorted(), "{backend}");
    }
}

#[test]
fn chunks_change_nothing() {
    let expected = run("run spin --range 0..20 -b inline").code(0);
    for options in ["-b threads --chunk 7", "-b procs --chunk 7", "-b procs --chunk 1", "-b threads --chunk 1000"] {
        let ran = run(&format!("run spin --range 0..20 -k {options}")).code(0);
        assert_eq!(ran.out, expected.out, "{options}");
    }
}

#[test]
fn thousands_of_short_tasks_keep_their_order() {
    let lines: String = (0..5000).map(|n| format!("{n}\n")).collect();
    let folder = Folder::new().with("numbers", &lines);
    for backend in BACKENDS {
        let ran = folder.run(&format!("run say --lines numbers -k -b {backend}")).code(0);
        let expected: String = (0..5000).map(|n| format!("\"{n}\"\n")).collect();
        assert!(ran.out == expected, "{backend}: {} lines", ran.out.lines().count());
    }
}

#[test]
fn every_source_of_inputs_is_read_in_turn() {
    let folder = Folder::new()
        .with("one.jsonl", "\"a\"\n\n  \"b\"\r\n")
        .with("two.jsonl", "\u{feff}\"c\"")
        .with("plain", "d e\n\"f\"\n\n");
    let ran = folder.run("run say -k --lines plain -i one.jsonl -i two.jsonl --files [op]*").code(0);
    let results = ["a", "b", "c", "d e", "\\\"f\\\"", "", "one.jsonl", "plain"];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), results.map(|text| format!("\"{text}\"")));
}

#[test]
fn options_of_inputs_and_output_are_those_of_exec() {
    let folder = Folder::new().with("in.json", "[1, 2,\n3]").with("nul", "4\x005\0");
    let ran = folder.run("run sleep_ms -q -k --only 2-4,6 -i in.json -0 --lines nul --arg 6").code(0).says_exactly("");
    assert_eq!(ran.out, "2\n3\n4\n6\n");
    folder.run("run sleep_ms --only 9 -i in.json").code(66).says("`--only` leaves none");
    let ran = folder.run("run sleep_ms --range 0..3 -k -o out --json").code(0);
    assert!(ran.out.lines().last().unwrap().contains("\"run-finished\""));
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).unwrap(), "0\n1\n2\n");
    folder.run("run sleep_ms --range 0..3 -o out").code(2).says("help: `--force` overwrites it");
}

#[test]
fn lines_become_what_the_argument_is() {
    let folder = Folder::new().with("numbers", "1\n2\n").with("objects", "{\"name\":\"x\",\"ms\":0}\n");
    assert_eq!(folder.run("run sleep_ms --lines numbers -k").code(0).out, "1\n2\n");
    assert!(folder.run("run wait_aloud --lines objects").code(0).out.ends_with("null\n"));
}

#[test]
fn ranges_are_integers() {
    assert_eq!(run("run sleep_ms --range 1..3 --range 5..=6 -k").code(0).out, "1\n2\n5\n6\n");
    assert_eq!(run("run exit_with --range -1..0 --allow-empty -b procs").code(100).out, "");
}

#[test]
fn the_summary_says_what_ran_where() {
    run("run sleep_ms --range 0..5 -b threads -j 2")
        .code(0)
        .says("Starting sleep_ms: 5 inputs, threads x 2\n")
        .says("] 5 inputs: 5 ok\n")
        .says("tasks/s; median ");
}

#[test]
fn nothing_to_do_may_be_allowed() {
    let folder = Folder::new().with("empty", "");
    folder.run("run spin -i empty --allow-empty").code(0).no_results().says_exactly("");
    folder.run("run spin -i - --allow-empty").code(0).no_results();
}

#[test]
fn a_task_without_arguments_needs_no_input() {
    run("run segfault -b procs").code(100).says("CRASH").says("SIGSEGV");
}

#[test]
fn results_come_while_the_input_is_still_open() {
    for order in ["", "-k"] {
        let folder = Folder::new();
        let child = folder
            .command(&format!("run sleep_ms -i - {order}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        answers_as_it_is_asked(child);
    }
}
