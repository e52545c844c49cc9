//! Disks that are full.

use std::{fs, process::Command};

use super::{only_id, only_run};
use crate::harness::{Folder, Ran};

/// What the shell does with files of at most so many blocks of 512 bytes.
fn limited(folder: &Folder, blocks: u32, words: &str) -> Ran {
    let line = format!("ulimit -f {blocks}; exec {} {words}", env!("CARGO_BIN_EXE_taskloom"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(folder.path()).env("TASKLOOM_STATE", folder.state()).env("LC_ALL", "C");
    Ran::of(words, command.output().unwrap())
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let folder = Folder::new();
    let ran = folder.recorded("run sleep_ms --range 0..1 -o /dev/full --force -b inline").code(74);
    let id = only_id(&folder);
    ran.says("error: cannot write /dev/full: No space left on device")
        .says(&format!("  help: free some space, then `taskloom runs resume {id}` (the lost one runs again)\n"));
}

#[test]
fn results_that_fit_are_kept_and_the_others_made_again() {
    for command in ["run say --lines list -b inline", "exec --lines list -j 1 -q", "run say --lines list -b procs"] {
        let command_line = if command.starts_with("exec") { "-- echo" } else { "" };
        let list: String = (0..2000).map(|n| format!("{n:06}\n")).collect();
        let folder = Folder::new().with("list", &list);
        // The record of failures and successes is longer than the results: it gets a folder that is not limited.
        let ran = limited(&folder, 9, &format!("{command} -o out --record none {command_line}")).code(74);
        let out = fs::read_to_string(folder.path().join("out")).unwrap();
        assert_eq!(out.len(), 9 * 512, "{command}");
        ran.says(&format!("out holds {} complete results, ", out.lines().filter(|line| line.len() >= 6).count()));
    }
}

#[test]
fn a_record_that_cannot_be_written_ends_the_run() {
    let list: String = (0..2000).map(|n| format!("{n:06}\n")).collect();
    for command in ["run say --lines list -b threads", "exec --lines list -j 2"] {
        let command_line = if command.starts_with("exec") { "-- echo" } else { "" };
        let folder = Folder::new().with("list", &list);
        let ran = limited(&folder, 60, &format!("{command} -o out {command_line}")).code(74);
        let id = only_id(&folder);
        ran.says("error: cannot write the record ").says("File too large").says(&format!("runs resume {id}"));
        assert_eq!(fs::metadata(only_run(&folder).join("journal.jsonl")).unwrap().len(), 60 * 512);
        // With room again, it is made whole: the line that was torn counts for nothing.
        folder.recorded(&format!("runs resume {id}")).code(0).says("done before");
        let out = fs::read_to_string(folder.path().join("out")).unwrap();
        let mut results: Vec<&str> = out.lines().map(|line| line.trim_matches('"')).collect();
        results.sort_unstable();
        assert_eq!(results, list.lines().collect::<Vec<_>>(), "{command}");
    }
}

#[test]
fn standard_input_that_cannot_be_kept_ends_the_run() {
    let folder = Folder::new().with("list", "0123456789\n".repeat(100_000));
    let ran = limited(&folder, 100, "run say --lines - -q < list > /dev/null").code(74);
    ran.says("error: cannot write the record ").says("stdin: File too large").says("`--record none` keeps none");
}

#[test]
fn without_a_place_for_records_nothing_runs() {
    let folder = Folder::new().with("file", "");
    let mut command = folder.recorded_command("run sleep_ms --range 0..2");
    command.env("TASKLOOM_STATE", folder.path().join("file"));
    let ran = Ran::of("", command.output().unwrap()).code(74).no_results();
    ran.says("error: cannot write the record ").says("TASKLOOM_STATE names another folder for records");
    let mut command = folder.recorded_command("run sleep_ms --range 0..2");
    command.env_remove("TASKLOOM_STATE").env_remove("XDG_STATE_HOME").env_remove("HOME");
    Ran::of("", command.output().unwrap()).code(74).no_results().says("HOME is not set");
    folder.recorded("run sleep_ms --range 0..2 --record none").code(0);
}
