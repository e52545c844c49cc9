//! `runs resume` and `--resume`.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    process::Child,
};

use super::{lines, only_id, only_run};
use crate::harness::{Folder, Ran, send, until};

/// A shell's command that fails as long as there is no file `ready`, unless its input begins with an `o`.
const UNTIL_READY: &str = "exec --shell -j 1 -k";
const SCRIPT: &str = "case {} in o*) ;; *) test -e ready || exit 7;; esac; echo {}";

fn exec(folder: &Folder, options: &str, input: &str) -> Ran {
    let words = format!("{UNTIL_READY} {options}");
    let mut command = folder.recorded_command(&words);
    let mut child = command.args(["--", SCRIPT]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(&words, child.wait_with_output().unwrap())
}

#[test]
fn what_failed_runs_again_and_what_succeeded_does_not() {
    let folder = Folder::new().with("list", "o1\nx1\no2\nx2\n");
    let ran = exec(&folder, "--lines list -o out", "").code(100);
    let id = only_id(&folder);
    ran.says(&format!("Starting run {id}: case, 4 inputs, procs x 1\n"))
        .says("4 inputs: 2 ok, 2 failed")
        .says(&format!("          again: taskloom runs resume {id}\n"));
    // Still not.
    let ran = folder.recorded(&format!("runs resume {id}")).code(100);
    ran.says(&format!("Resuming {id}: 2 of 4 left\n")).says("4 inputs: 2 failed, 2 done before");
    let folder = folder.with("ready", "");
    folder.recorded(&format!("runs resume {}", &id[..3])).code(0).says("4 inputs: 2 ok, 2 done before");
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "o1\no2\nx1\nx2\n");
    folder.recorded(&format!("runs resume {id}")).code(0).says("0 of 4 left").no_results();
    assert_eq!(lines(&folder, "recorded").len(), 1);
    assert_eq!(lines(&folder, "resumed").len(), 3);
}

#[test]
fn a_success_stands_for_one_input_and_for_its_task_alone() {
    let folder = Folder::new().with("ms", "1\n1\n1\n2\n");
    folder.recorded("run sleep_ms -i ms --only 1,2,4 -b inline").code(0);
    let id = only_id(&folder);
    let events = folder.recorded(&format!("run sleep_ms -i ms --resume {id} --json -b inline")).code(0).out;
    let skipped = events.lines().filter(|line| line.contains("\"status\":\"skipped\"")).count();
    assert_eq!((skipped, events.matches("\"result\":1").count()), (3, 1), "{events}");
    assert!(events.contains("\"done_before\":3"), "{events}");
    // The same inputs, and none of them done by this task.
    let ran = folder.recorded(&format!("run say --lines ms --resume {id} -b inline")).code(0);
    ran.says(&format!("Resuming {id}: 4 of 4 left\n"))
        .says(&format!("warning: 4 inputs recorded in {id} are not among the inputs now\n"));
}

#[test]
fn other_inputs_are_told() {
    let folder = Folder::new().with("one", "1\n2\n3\n").with("two", "3\n4\n");
    folder.recorded("run sleep_ms -i one").code(0);
    let id = only_id(&folder);
    let ran = folder.recorded(&format!("run sleep_ms -i two --resume {id}")).code(0);
    ran.says(&format!("Resuming {id}: 1 of 2 left\nwarning: 2 inputs recorded in {id} are not among the inputs now\n"));
}

#[test]
fn standard_input_is_kept() {
    let folder = Folder::new();
    exec(&folder, "--lines -", "o1\nx1\n").code(100);
    let (id, folder) = (only_id(&folder), folder.with("ready", ""));
    assert_eq!(fs::read_to_string(only_run(&folder).join("stdin")).unwrap(), "o1\nx1\n");
    let ran = folder.recorded(&format!("runs resume {id}")).code(0);
    assert_eq!(ran.out, "x1\n");
    let ran = ran.says(&format!("Resuming {id}: 1 of 2 left\n"));
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    // Read anew, it takes the place of what was kept.
    let ran = exec(&folder, &format!("--lines - --resume {id}"), "o1\nx1\no3\n").code(0);
    assert_eq!(ran.out, "o3\n");
    assert_eq!(fs::read_to_string(only_run(&folder).join("stdin")).unwrap(), "o1\nx1\no3\n");
}

#[test]
fn a_run_may_be_interrupted_and_gone_on_with() {
    for options in ["-b threads", "-b procs -k", "-b inline", "-b threads --chunk 3"] {
        let folder = Folder::new();
        let child = begun(&folder, &format!("run sleep_ms --range 0..80 -j 2 -o out {options}"));
        send("INT", child.id());
        let ran = Ran::of(options, child.wait_with_output().unwrap()).code(130);
        let id = only_id(&folder);
        ran.says(&format!("continue: taskloom runs resume {id}\n"));
        let before = results(&folder);
        assert!(before.len() < 80, "{options}: it was too quick");
        folder.recorded(&format!("runs resume {id}")).code(0).says(&format!("{} done before", before.len()));
        assert_eq!(results(&folder), (0..80).collect::<Vec<_>>(), "{options}");
    }
}

#[test]
fn a_run_that_was_killed_can_be_gone_on_with() {
    for options in ["-b threads", "-b procs"] {
        let folder = Folder::new();
        let mut child = begun(&folder, &format!("run sleep_ms --range 0..80 -j 2 -o out {options}"));
        send("KILL", child.id());
        child.wait().unwrap();
        let id = only_id(&folder);
        folder.recorded("runs").code(0);
        assert!(folder.recorded("runs").out.contains("cut off"));
        // As if its last words had not reached the disk whole.
        let mut journal = OpenOptions::new().append(true).open(only_run(&folder).join("journal.jsonl")).unwrap();
        journal.write_all(b"{\"v\":1,\"event\":\"task-fini").unwrap();
        let mut out = OpenOptions::new().append(true).open(folder.path().join("out")).unwrap();
        out.write_all(b"7").unwrap();
        folder.recorded(&format!("runs resume {id}")).code(0).says(" done before");
        assert_eq!(lines(&folder, "resumed").len(), 1, "what is added does not hang on the torn line");
        assert_eq!(results(&folder), (0..80).collect::<Vec<_>>(), "{options}");
    }
}

#[test]
fn standard_input_that_had_not_ended_is_told() {
    let folder = Folder::new();
    let mut child = folder.recorded_command("run sleep_ms -i -").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"1\n2\n").unwrap();
    let mut results = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(results.by_ref().take(2).count(), 2);
    send("TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(input);
    let ran = folder.recorded(&format!("runs resume {}", only_id(&folder))).code(0);
    ran.says("0 of 2 left\n").says("warning: standard input had not ended: only what had been read of it is run\n");
}

#[test]
fn what_cannot_be_gone_on_with_is_refused() {
    let folder = Folder::new();
    folder.recorded("runs resume 7f3a").code(2).says("there is no run `7f3a`").says("lists the 0 runs there");
    folder.recorded("run sleep_ms --range 0..2 --resume x").code(2).says("there is no run `x`");
    folder.recorded("run sleep_ms --range 0..2 --resume x --record y").code(2).says("cannot be used with");
    folder.recorded("run sleep_ms --range 0..2").code(0);
    let journal = only_run(&folder).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap().replacen("\"format\":2", "\"format\":3", 1);
    fs::write(&journal, text).unwrap();
    folder.recorded(&format!("runs resume {}", only_id(&folder))).code(1).says("was recorded by a newer program");
    fs::write(&journal, "nonsense\n").unwrap();
    folder.recorded("runs show").code(1).says("cannot be read");
    assert!(folder.recorded("runs").code(0).out.contains("unreadable"));
}

/// A run with some results already.
fn begun(folder: &Folder, words: &str) -> Child {
    let child = folder.recorded_command(words).spawn().unwrap();
    until("there are results", || fs::metadata(folder.path().join("out")).is_ok_and(|about| about.len() > 0));
    child
}

/// What stands in the file of results, sorted.
fn results(folder: &Folder) -> Vec<u64> {
    let text = fs::read_to_string(folder.path().join("out")).unwrap();
    let mut numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
