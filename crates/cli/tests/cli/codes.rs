//! Exit codes of every command. Where a code of `run` or `exec` has a test that says more about it, that one stands here.
//!
//! | code | `run` | `exec` | the others |
//! |---|---|---|---|
//! | 0 | `running` | `exec::output` | `listing`, `record::runs`, `settings`, `demo` |
//! | 1 | here | `exec::refusals` | `record::resume` |
//! | 2 | `refusals` | `exec::refusals` | `listing`, and here |
//! | 65 | `refusals` | `exec::refusals` | they read no inputs |
//! | 66 | `refusals` | `exec::refusals` | here |
//! | 69 | `refusals` | `tests/tests/outside.rs` | they need no backend |
//! | 74 | `ends`, `record::full` | `exec::ends` | here |
//! | 100 | `ends` | `exec::ends` | they run no task |
//! | 101 | `own_program.rs`, as far as a fault of ours can be had | the same | |
//! | 124 | it has no such limit | `exec::limits` | |
//! | 129, 130, 131, 143 | `signals` | `exec::signals` | as any program: they listen for no signal |
//! | 141 | `ends` | `exec::ends` | here |

use std::{fs::OpenOptions, process::Stdio};

use crate::harness::{Folder, Ran};

/// Commands that only print.
const PRINTING: [&str; 8] =
    ["tasks", "tasks spin --json", "runs", "runs --json", "runs prune", "doctor", "completions bash", "man"];

#[test]
fn what_only_prints_says_when_it_cannot() {
    let folder = Folder::new();
    folder.recorded("run sleep_ms --range 0..2").code(0);
    for words in PRINTING {
        folder.run(words).code(0);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = folder.command(words).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let ran = Ran::of(words, output).code(74);
        ran.says_exactly("error: cannot write standard output: No space left on device (os error 28)\n");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = folder.command(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        Ran::of(words, output).code(141).says_exactly("");
    }
}

#[test]
fn manual_pages_need_a_folder() {
    let folder = Folder::new().with("file", "");
    folder.run("man file/pages").code(74).says("error: cannot write file/pages: Not a directory");
    folder.run("man pages").code(0);
}

#[test]
fn wrong_words_are_wrong_usage_everywhere() {
    for command in ["run", "exec", "tasks", "runs", "doctor", "completions", "man", "demo"] {
        Folder::new().run(&format!("{command} --nonesuch")).code(2).says("--nonesuch").says("Usage: taskloom");
    }
    for words in ["runs show 7f3a", "runs cancel 7f3a", "runs prune 7f3a", "completions korn"] {
        Folder::new().run(words).code(2);
    }
}

#[test]
fn a_folder_that_is_gone_is_missing_where_a_run_is_to_go_on() {
    let folder = Folder::new();
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut command = folder.recorded_command("run sleep_ms --range 0..2 --record it");
    Ran::of("", command.current_dir(&place).output().unwrap()).code(0);
    std::fs::remove_dir(&place).unwrap();
    folder.recorded("runs resume it").code(66).says("error: cannot read ").says("place: No such file or directory");
}

#[test]
fn a_record_that_cannot_be_understood_has_no_code_of_its_own() {
    let folder = Folder::new();
    folder.recorded("run sleep_ms --range 0..2 --record it").code(0);
    std::fs::write(folder.state().join("runs/it/journal.jsonl"), "nonsense\n").unwrap();
    for words in ["run sleep_ms --range 0..2 --resume it", "exec --range 0..2 --resume it -- true", "runs show it"] {
        folder.recorded(words).code(1).no_results().says("error: the record of run it cannot be read: ");
    }
    let ran = folder.recorded("run sleep_ms --range 0..2 --resume it --json").code(1).says_exactly("");
    assert!(ran.out.starts_with("{\"v\":1,\"event\":\"error\",\"code\":\"bad-record\""), "{}", ran.out);
}
