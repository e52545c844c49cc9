//! What commands print, and where it goes.

use std::fs;

use crate::harness::{Folder, exec, state, until};

#[test]
fn output_of_each_command_stays_together() {
    let script = "for n in 1 2 3 4 5; do echo $0; sleep 0.002; done";
    let ran = exec("-q -j 4 --range 0..12", &["sh", "-c", script]).code(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 60);
    assert!(lines.chunks(5).all(|five| five.iter().all(|line| *line == five[0])), "{}", ran.out);
}

#[test]
fn order_can_be_kept_and_lines_tagged() {
    let ran = exec("-k --tag -j 3 ::: 0.03 0.02 0.01", &["sh", "-c", "sleep $0; echo a; printf b; echo e >&2"]).code(0);
    assert_eq!(ran.out, "0.03\ta\n0.03\tb\n0.02\ta\n0.02\tb\n0.01\ta\n0.01\tb\n");
    ran.says("0.03\te\n0.02\te\n0.01\te\n");
}

#[test]
fn large_output_goes_through_disk() {
    let ran = exec("-q -k --range 0..3", &["sh", "-c", "yes $0 | head -c 3000000"]).code(0);
    let expected: String = (0..3).map(|n| format!("{n}\n").repeat(1_500_000)).collect();
    assert!(ran.out == expected, "{} bytes", ran.out.len());
}

#[test]
fn many_large_outputs_wait_for_their_turn() {
    // More than are held at once, behind one that comes last.
    let script = "while [ $0 = 0 ] && [ ! -e done.128 ]; do sleep 0.02; done; yes $0 | head -c 10000; touch done.$0";
    let ran = exec("-q -k -j 8 --range 0..300", &["sh", "-c", script]).code(0);
    let numbers: Vec<usize> = ran.out.split_inclusive('\n').map(|line| line.trim().parse().unwrap_or(9999)).collect();
    assert!(numbers.is_sorted_by_key(|n| *n) || ran.out.len() == 3_000_000, "{} bytes", ran.out.len());
    assert_eq!(ran.out.len(), 3_000_000);
}

#[test]
fn ungrouped_commands_write_directly() {
    let ran = exec("--ungroup ::: a", &["sh", "-c", "echo out; echo err >&2"]).code(0);
    assert_eq!(ran.out, "out\n");
    ran.says("err\n");
    exec("--ungroup -k ::: a", &["true"]).code(2);
}

#[test]
fn what_is_left_in_the_background_neither_holds_nor_pollutes() {
    let folder = Folder::new();
    let script = "sleep 600 & echo $! > pid.$0; echo $0";
    let ran = folder.exec("-j 1 --range 0..5", &["sh", "-c", script]).code(0);
    assert_eq!(ran.out, "0\n1\n2\n3\n4\n");
    // Ends with its command: it belongs to its group.
    for n in 0..5 {
        let pid = fs::read_to_string(folder.path().join(format!("pid.{n}"))).unwrap();
        until("it is gone", || ["Z", "gone"].contains(&&*state(pid.trim())));
    }
    // One that leaves the group lives on, and what it says is nobody else's.
    let script = "echo $0; setsid sh -c 'echo late; touch late.'$0 & until [ -e late.$0 ]; do sleep 0.01; done";
    let ran = folder.exec("-j 1 --range 0..2", &["sh", "-c", script]).code(0);
    assert_eq!(ran.out, "0\nlate\n1\nlate\n");
}

#[test]
fn a_file_takes_results_and_is_not_overwritten() {
    let folder = Folder::new();
    folder.exec("-k -o out ::: a b", &["echo"]).code(0).no_results();
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "a\nb\n");
    folder
        .exec("-o out ::: c", &["echo"])
        .code(2)
        .says_exactly("error: out is there already\n  help: `--force` overwrites it, `--resume RUN` goes on with it\n");
    folder.exec("-o out --force ::: c", &["echo"]).code(0);
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "c\n");
    folder.run("run sleep_ms --range 1..3 -k -o numbers").code(0).no_results();
    assert_eq!(fs::read_to_string(folder.path().join("numbers")).unwrap(), "1\n2\n");
}

#[test]
fn quiet_runs_say_only_what_goes_wrong() {
    exec("-q ::: a", &["true"]).code(0).says_exactly("");
    let ran = exec("-q ::: a", &["false"]).code(100);
    assert!(
        ran.err.starts_with("    FAIL [") && ran.err.ends_with("#1 false a\n          exit code 1\n"),
        "{}",
        ran.err
    );
}
