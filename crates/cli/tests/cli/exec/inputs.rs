//! Where inputs come from, and what placeholders make of them.

use std::{ffi::OsStr, io::Write, os::unix::ffi::OsStrExt};

use crate::harness::{Folder, answers_as_it_is_asked, exec};

/// Prints its arguments, each in brackets.
const BRACKETS: [&str; 4] = ["printf", "[%s]", "", "{}"];

#[test]
fn lists_are_combined_the_last_one_fastest() {
    assert_eq!(exec("-k ::: a b ::: 1 2", &["echo", "{2}{1}", "{}"]).code(0).out, "1a a 1\n2a a 2\n1b b 1\n2b b 2\n");
    assert_eq!(exec("-k ::: a b", &["echo"]).code(0).out, "a\nb\n");
}

#[test]
fn every_source_is_read_in_turn() {
    let folder = Folder::new()
        .with("one.jsonl", "\"a b\"\n\n{\"x\": 1}\n")
        .with("two.json", "[7, \"c\",\n {\"x\": [2]}]")
        .with("lines", "d e\n\"f\"\n\n");
    let options = "-k -i one.jsonl -i two.json --lines lines --files l*s --range 1..3 --arg \"g\" ::: h";
    let ran = folder.exec(options, &BRACKETS).code(0);
    assert_eq!(
        ran.out,
        "[][a b][][{\"x\": 1}][][7][][c][][{\"x\": [2]}][][d e][][\"f\"][][][][lines][][1][][2][][g][][h]"
    );
}

#[test]
fn lines_may_end_with_nul_and_need_not_be_text() {
    let folder = Folder::new();
    let ran = folder.exec_with("-k -0 --lines -", &["printf", "%s;"], b"a\nb\0c\0");
    assert_eq!(ran.code(0).out, "a\nb;c;");
    let words = ["exec", "-q", "--lines", "-", "--", "od", "-An", "-tx1"];
    let folder = Folder::new().with(OsStr::from_bytes(b"n\xff"), "\x01\x02");
    let mut child = folder
        .command_of(words)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"n\xff\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b" 01 02\n");
    assert_eq!(folder.exec("--files n*", &["od", "-An", "-tx1"]).code(0).out, " 01 02\n");
}

#[test]
fn commands_do_not_read_what_inputs_are_read_from() {
    let folder = Folder::new();
    let ran = folder.exec_with("-j 1 -k --lines -", &["sh", "-c", "cat; echo $0"], "a\nb\nc\n").code(0);
    assert_eq!(ran.out, "a\nb\nc\n");
    // Would wait for ever for the end of what stays open.
    let mut child = folder.exec_command("::: a", &["sh", "-c", "cat"]).spawn().unwrap();
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(input);
}

#[test]
fn placeholders_are_the_listed_ones_and_fields() {
    let words = ["printf", "%s|", "{}", "{.}", "{/}", "{//}", "{#}", "{x}", "{{}}", "${}", "{a,b}"];
    let ran = exec("-k ::: d/a.b.c", &words).code(0);
    assert_eq!(ran.out, "d/a.b.c|d/a.b|a.b.c|d|1|{x}|{d/a.b.c}|$d/a.b.c|{a,b}|");
    let folder = Folder::new().with("in.jsonl", "{\"x\": \"a b\", \"y\": 1.50}\n{\"y\": null}\n");
    let ran = folder.exec("-k -i in.jsonl", &["printf", "%s|", "{x}-{y}"]).code(0);
    assert_eq!(ran.out, "a b-1.50|{x}-null|");
}

#[test]
fn a_shell_reads_quoted_values() {
    let folder = Folder::new().with("it's $HOME;`x`", "one\ntwo\n");
    let ran = folder.exec("--shell --files it*", &["cat {} | wc -l; echo {#}"]).code(0);
    assert_eq!(ran.out, "2\n1\n");
    let ran = folder.exec("--shell --files it*", &[r#"printf %s "$TASKLOOM_TASK_INPUT""#]).code(0);
    assert_eq!(ran.out, "it's $HOME;`x`");
}

#[test]
fn variables_say_what_placeholders_say() {
    let script = "echo $TASKLOOM_TASK_INPUT $TASKLOOM_TASK_INDEX $TASKLOOM_TASK_SLOT $TASKLOOM_TASK_ATTEMPT $MINE; pwd";
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    let ran = folder.exec("-j 1 --env MINE=m=1 --cwd below ::: x", &["sh", "-c", script]).code(0);
    assert!(ran.out.starts_with("x 1 0 1 m=1\n") && ran.out.ends_with("/below\n"), "{}", ran.out);
}

#[test]
fn a_program_is_found_where_its_own_path_says() {
    let folder = Folder::new().with("mine", "#!/bin/sh\necho mine $1\n");
    std::process::Command::new("chmod").args(["+x", "mine"]).current_dir(folder.path()).status().unwrap();
    let path = format!("--env PATH={}:/bin:/usr/bin ::: a", folder.path().display());
    assert_eq!(folder.exec(&path, &["mine"]).code(0).out, "mine a\n");
    assert_eq!(folder.exec("::: a", &["./mine"]).code(0).out, "mine a\n");
    // The word itself may depend on the input.
    assert_eq!(folder.exec("::: mine", &["./{}", "b"]).code(0).out, "mine b\n");
}

#[test]
fn slots_are_small_and_unique_among_what_runs() {
    // Each holds a folder of its slot's name while it runs: a second one of that name could not be made.
    let folder = Folder::new();
    let ran =
        folder.exec("-j 3 --range 0..60", &["sh", "-c", "mkdir $0 && sleep 0.01 && rmdir $0 && echo $0", "{slot}"]);
    let mut slots: Vec<&str> = ran.sorted();
    slots.dedup();
    assert_eq!(slots, ["0", "1", "2"]);
    ran.code(0);
}

#[test]
fn some_inputs_keep_their_numbers() {
    assert_eq!(exec("-k --only 2,4-5 ::: a b c d e f", &["echo", "{#}{}"]).code(0).out, "2b\n4d\n5e\n");
    exec("--only 7 ::: a", &["echo"]).code(66).says("reason: `--only` leaves none");
}

#[test]
fn results_come_while_the_input_is_still_open() {
    for order in ["", "-k"] {
        let folder = Folder::new();
        let child = folder.exec_command(&format!("--lines - {order}"), &["echo"]).spawn().unwrap();
        answers_as_it_is_asked(child);
    }
}

#[test]
fn a_dry_run_shows_what_a_shell_would_run() {
    let folder = Folder::new();
    let ran = folder.exec("-n -j 4 ::: a.txt", &["touch", "made {}", "{slot}"]).code(0);
    assert_eq!(ran.out, "would run on procs x 4:\n  #1  touch 'made a.txt' '{slot}'\n");
    assert!(!folder.path().join("made a.txt").exists());
    let ran = folder.exec("-n --json ::: a", &["touch"]).code(0);
    assert!(ran.out.starts_with("{\"v\":1,\"event\":\"would-run\",\"index\":1,\"command\":[\"touch\",\"a\"]}\n"));
}
