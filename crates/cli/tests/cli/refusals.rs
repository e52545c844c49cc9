//! What cannot begin: the message, and the exit code.

use std::{
    ffi::OsStr,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
    process::Stdio,
};

use crate::harness::{Folder, Ran, run};

#[test]
fn a_line_that_is_no_json_is_shown_with_its_place() {
    let folder = Folder::new().with("in.jsonl", "{\"name\": \"a\", \"ms\": 1}\n{\"name\": \"q\", \"ms\": }\n");
    folder.run("run wait_aloud -i in.jsonl").code(65).no_results().says_exactly(concat!(
        "error: in.jsonl:2: not valid JSON\n",
        "  |\n",
        "2 | {\"name\": \"q\", \"ms\": }\n",
        "  |                     ^ expected value\n",
        "  = no task was started\n",
        "  = help: `--on-bad-input skip` runs the other 1 and lists this line at the end\n",
    ));
}

#[test]
fn a_value_that_does_not_fit_names_its_argument() {
    let folder = Folder::new().with("in.jsonl", "{\"name\": \"q\", \"ms\": \"wide\"}\n{\"name\": 1, \"ms\": 1}\n");
    folder.run("run wait_aloud -i in.jsonl").code(65).no_results().says_exactly(concat!(
        "error: in.jsonl:1: does not fit task `wait_aloud`\n",
        "  |\n",
        "1 | {\"name\": \"q\", \"ms\": \"wide\"}\n",
        "  |                     ^^^^^^ `ms`: expected u64, found string \"wide\"\n",
        "  = 2 inputs in all do not fit\n",
        "  = no task was started\n",
        "  = help: `taskloom tasks wait_aloud` shows the arguments\n",
    ));
}

#[test]
fn bad_lines_can_be_left_out_and_are_listed() {
    let folder = Folder::new().with("in.jsonl", "1\nx\n2\n-3\n");
    let ran = folder.run("run sleep_ms -i in.jsonl -k --on-bad-input skip").code(0);
    assert_eq!(ran.out, "1\n2\n");
    ran.says("4 inputs: 2 ok, 2 skipped").says("SKIP in.jsonl:2: expected value").says("SKIP in.jsonl:4: `ms`:");
}

#[test]
fn a_bad_line_of_a_pipe_ends_the_run_after_what_has_started() {
    let folder = Folder::new();
    let words = "run sleep_ms -k -i -";
    let mut child = folder
        .command(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().unwrap().write_all(b"1\n2\nthree\n4\n").unwrap();
    let ran = Ran::of(words, child.wait_with_output().unwrap()).code(65);
    assert_eq!(ran.out, "1\n2\n");
    ran.says("error: standard input:3: not valid JSON\n").says("= 2 tasks ended before it, with their results\n");
}

#[test]
fn lines_that_are_not_utf8_are_refused() {
    let folder = Folder::new().with("in", b"ok\nno\xff\n");
    folder.run("run say --lines in").code(65).no_results().says("error: in:2: not UTF-8").says("  |   ^ not UTF-8");
}

#[test]
fn a_range_that_does_not_fit_is_seen_at_its_ends() {
    run("run sleep_ms --range -1..3")
        .code(65)
        .no_results()
        .says("--range -1..3, number 1: does not fit task `sleep_ms`");
    run("run exit_with --range 0..3000000000").code(65).no_results().says("number 3000000000: does not fit");
}

#[test]
fn unknown_tasks_are_wrong_usage() {
    run("run spni --range 0..3").code(2).no_results().says_exactly(concat!(
        "error: no task named `spni`\n",
        "  help: did you mean `spin`? `taskloom tasks` lists the 10 tasks in this binary\n",
    ));
    run("run warehouse --range 0..3").code(2).says("  help: `taskloom tasks` lists the 10 tasks in this binary\n");
}

#[test]
fn unknown_backends_are_wrong_usage() {
    run("run spin --range 0..3 -b process").code(2).no_results().says_exactly(concat!(
        "error: no backend named `process`\n",
        "  help: did you mean `procs`? there are `inline`, `threads`, `procs`\n",
    ));
}

#[test]
fn values_that_make_no_sense_are_wrong_usage() {
    run("run spin --range 0..3 -j 0")
        .code(2)
        .says("error: `--workers 0`: nothing would ever run\n  help: leave it out");
    run("run spin --range 0..3 --chunk none").code(2).says("error: `--chunk none`: not a number of inputs");
    run("run spin --range 3").code(2).says("write it as `0..100` (100 not included) or `1..=100`");
    run("run spin -i - --lines -").code(2).says("standard input can be read only once");
    run("run spin --wrokers 3").code(2).says("--workers");
    run("").code(2).says("Usage: taskloom [OPTIONS] <COMMAND>");
}

#[test]
fn missing_files_and_folders_are_missing_input() {
    let folder = Folder::new();
    symlink("circle", folder.path().join("circle")).unwrap();
    for (words, message) in [
        ("-i none.jsonl", "error: cannot read none.jsonl: No such file or directory"),
        ("--lines none", "error: cannot read none: No such file or directory"),
        ("-i .", "help: a folder's files are given with `--files 'FOLDER/*'`"),
        ("--files nowhere/*", "error: cannot read nowhere: No such file or directory"),
        // Not by its mode: root may read everything.
        ("--files circle/*", "error: cannot read circle: Too many levels of symbolic links"),
    ] {
        folder.run(&format!("run say {words}")).code(66).no_results().says(message);
    }
}

#[test]
fn no_input_is_said_before_anything_starts() {
    let folder = Folder::new().with("empty", "\n");
    folder.run("run say").code(66).says("give some with `--input`, `--lines`, `--files` or `--range`");
    folder.run("run say --files *.zip").code(66).says("  reason: no file fits `*.zip`\n  help: `--allow-empty`");
    folder.run("run spin -i empty").code(66).says("error: there is no input\n");
    folder.run("run spin -i -").code(66).says("error: there is no input\n");
    folder.run("run spin --range 3..3").code(66).no_results();
}

#[test]
fn a_path_that_json_cannot_carry_is_refused() {
    let folder = Folder::new().with("good", "").with(OsStr::from_bytes(b"b\xe4d"), "");
    folder
        .run("run count_words --files *")
        .code(65)
        .no_results()
        .says("error: the name of this file is not UTF-8: b\\xe4d\n")
        .says("help: rename the file, or choose a pattern that leaves it out");
    folder.run("run count_words --files g*").code(0);
}

#[test]
fn a_backend_that_cannot_start_here_is_unavailable() {
    // Too few descriptors for a channel to a worker.
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_taskloom");
    folder
        .shell(&format!("ulimit -n 8; exec {program} run sleep_ms --range 0..3 -b procs -j 2"))
        .code(69)
        .no_results()
        .says("error: backend `procs` cannot start\n  reason: ");
}
