//! How runs end other than well.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use crate::harness::{Folder, Ran, run, send};

#[test]
fn failures_cost_their_input_and_show_why() {
    let folder = Folder::new().with("messages", "\nfirst\n\nsecond\n");
    for backend in ["inline", "threads", "procs"] {
        let ran = folder.run(&format!("run fail_with --lines messages -b {backend}")).code(100);
        assert_eq!(ran.out, "null\nnull\n");
        ran.says("4 inputs: 2 ok, 2 failed")
            .says("#2 fail_with first\n          first\n")
            .says("    FAIL  #4 fail_with second  messages:4\n");
    }
}

#[test]
fn panics_show_their_place() {
    let folder = Folder::new().with("messages", "on purpose\n");
    for backend in ["inline", "threads", "procs"] {
        folder
            .run(&format!("run panic_with --lines messages -b {backend}"))
            .code(100)
            .no_results()
            .says("   PANIC [")
            .says("crates/cli/src/tasks.rs:")
            .says(": on purpose\n")
            .says("1 input: 1 panicked");
    }
}

#[test]
fn in_processes_the_others_go_on() {
    let ran = run("run exit_with --range 0..3 -b procs -j 2").code(100).no_results();
    ran.says("exited with code 2; it was replaced")
        .says("last line on stderr: about to call exit(2)")
        .says("3 inputs: 3 crashed");
}

#[test]
fn equal_failures_are_counted() {
    let folder = Folder::new().with("messages", "the same\n".repeat(25));
    let ran = folder.run("run fail_with --lines messages").code(100);
    assert_eq!(
        ran.err.matches("FAIL ").count(),
        10 + 1 + 10,
        "ten as they came, a count, ten in the summary:\n{}",
        ran.err
    );
    ran.says("FAIL x 15 more: the same\n").says("25 failed\n").says("and 15 more\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let folder = Folder::new();
    let (mut child, mut results) = start(&folder, "run spin --range 0..100000");
    let mut line = String::new();
    results.read_line(&mut line).unwrap();
    drop(results);
    let ran = end(&mut child).code(141);
    ran.says_exactly("Starting spin: 100000 inputs, threads x 2\n");
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let folder = Folder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let words = "run spin --range 0..100000 -j 2";
    let output = folder.command(words).stdout(full).output().unwrap();
    Ran::of(words, output)
        .code(74)
        .says("error: cannot write standard output: No space left on device")
        .says(" of 100000 inputs were done; standard output holds 0 complete results, ");
}

#[test]
fn an_interrupted_run_says_what_was_done() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for options in ["-b threads", "-b procs", "-b inline", "-b procs -k", "-b threads --chunk 3 -k"] {
            let folder = Folder::new();
            let (mut child, mut results) = start(&folder, &format!("run spin --range 0..100000 {options}"));
            let mut line = String::new();
            results.read_line(&mut line).unwrap();
            send(signal, child.id());
            let mut rest = String::new();
            results.read_to_string(&mut rest).unwrap();
            let written = 1 + rest.lines().count();
            end(&mut child)
                .code(code)
                .says("Stopping: ")
                .says(&format!("interrupted: {written} of 100000 done ({written} ok), "));
        }
    }
}

#[test]
fn a_second_signal_kills_what_does_not_end() {
    let folder = Folder::new().with("ms", "1\n600000\n600000\n");
    let (mut child, mut results) = start(&folder, "run sleep_ms --lines ms -b procs");
    let mut line = String::new();
    results.read_line(&mut line).unwrap();
    let start = Instant::now();
    send("INT", child.id());
    // Only when the first has been noticed: two equal signals at once are one.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("Stopping: ")));
    send("INT", child.id());
    assert!(said.any(|line| line.contains("interrupted: 1 of 3 done")));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(600), "it did not wait for its tasks");
}

/// Starts the program. The folder has to outlive it: workers start there.
fn start(folder: &Folder, words: &str) -> (Child, BufReader<ChildStdout>) {
    let words = format!("{words} -j 2");
    let mut child = folder.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let results = BufReader::new(child.stdout.take().unwrap());
    (child, results)
}

fn end(child: &mut Child) -> Ran {
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let status = child.wait().unwrap();
    Ran::of("", std::process::Output { status, stdout: Vec::new(), stderr: err.into_bytes() })
}
