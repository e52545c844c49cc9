//! How commands end other than well, and how their output may fail.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Read},
};

use crate::harness::{Folder, Ran, exec};

#[test]
fn an_exit_code_is_a_failure_and_a_signal_a_crash() {
    let ran =
        exec("-k ::: 'exit_3' SEGV", &["sh", "-c", "case $0 in SEGV) kill -SEGV $$;; *) exit 3;; esac"]).code(100);
    ran.says("    FAIL [")
        .says("          exit code 3\n")
        .says("   CRASH [")
        .says("          was killed by signal 11 (SIGSEGV)\n")
        .says("          again, alone: taskloom exec --only 2 -k :::")
        .says("2 inputs: 1 failed, 1 crashed\n");
    exec("::: a", &["sh", "-c", "kill -KILL $$"]).code(100).says("signal 9 (SIGKILL): nothing shows who sent it");
}

#[test]
fn the_line_that_runs_one_input_again_does_so() {
    let folder = Folder::new();
    let ran = folder.exec("-q ::: a 'b", &["sh", "-c", "echo \"$0\"; kill -SEGV $$"]).code(100);
    let again = ran.err.lines().filter_map(|line| line.trim().strip_prefix("again, alone: taskloom ")).nth(1).unwrap();
    let line = format!("{} {again}", env!("CARGO_BIN_EXE_taskloom"));
    let repeated = folder.shell(&line).code(100);
    let input = if again.contains("--only 1") { "a\n" } else { "'b\n" };
    assert_eq!(repeated.out, input);
}

#[test]
fn equal_failures_are_counted() {
    let ran = exec("--range 0..25", &["false"]).code(100);
    ran.says("FAIL x 15 more: exit code 1\n").says("25 failed\n").says("and 15 more\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    for options in ["", "-k", "--ungroup"] {
        let folder = Folder::new();
        let options = format!("{options} -j 2 --range 0..100000");
        let mut child = folder.exec_command(&options, &["sh", "-c", "echo $0; sleep 0.01"]).spawn().unwrap();
        let mut results = BufReader::new(child.stdout.take().unwrap());
        results.read_line(&mut String::new()).unwrap();
        drop(results);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(141), "{options}: {err}");
        let err: String =
            err.lines().filter(|line| !line.contains("Broken pipe")).map(|line| format!("{line}\n")).collect();
        assert_eq!(err, "Starting sh: 100000 inputs, procs x 2\n", "{options}");
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nobody_behind() {
    let folder = Folder::new();
    // The second command stays; the others print, one after the other.
    let script = "[ $0 = 1 ] && { echo $$ > pid; exec sleep 600; }; sleep 0.01; echo $0";
    let mut child = folder.exec_command("-j 2 --range 0..100000", &["sh", "-c", script]).spawn().unwrap();
    let mut results = BufReader::new(child.stdout.take().unwrap());
    while !std::fs::read_to_string(folder.path().join("pid")).is_ok_and(|pid| pid.ends_with('\n')) {
        results.read_line(&mut String::new()).unwrap();
    }
    drop(results);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn output_that_cannot_be_written_stops_the_run() {
    let folder = Folder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let words = "-j 2 --range 0..100000";
    let child = folder.exec_command(words, &["echo"]).stdout(full).spawn().unwrap();
    Ran::of(words, child.wait_with_output().unwrap())
        .code(74)
        .says("error: cannot write standard output: No space left on device")
        .says(" of 100000 inputs were done");
    let ran = folder.exec("--json -o /dev/full --force -j 1 --range 0..100000", &["sh", "-c", "yes | head -c 100000"]);
    let ran = ran.code(74).says("error: cannot write /dev/full: No space left on device");
    let last: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["status"]), (&"run-finished".into(), &"output-error".into()));
    assert!(last["lost_results"].as_u64().unwrap() >= 1 && last["exit_code"] == 74, "{last}");
}
