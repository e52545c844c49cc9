//! What cannot begin: the message, and the exit code.

use crate::harness::{Folder, exec};

#[test]
fn values_need_units() {
    exec("--timeout 5 ::: a", &["true"])
        .code(2)
        .says_exactly("error: `--timeout 5`: a time needs a unit\n  help: `5s` or `5m`?\n");
    exec("--memory 512 ::: a", &["true"]).code(2).says("help: `512MiB` or `512GiB`?");
    exec("--max-fail 0 ::: a", &["true"]).code(2).says("not a number of failures");
    exec("--retry-on sometimes ::: a", &["true"]).code(2).says("there are `fail`, `panic`, `crash`");
    exec("--env X ::: a", &["true"]).code(2).says("write it as `NAME=VALUE`");
    exec("-j 0 ::: a", &["true"]).code(2).says("nothing would ever run");
    exec("-b threads ::: a", &["true"]).code(2).says("error: commands do not run on `threads`\n");
    exec("-b nowhere ::: a", &["true"]).code(2).says("no backend named `nowhere`");
    exec("--cwd nowhere ::: a", &["true"]).code(2).says("there is no such folder");
    exec("-b procs -j 50% ::: a", &["true"]).code(0);
}

#[test]
fn a_command_that_is_not_there_is_missed_before_anything_starts() {
    exec("::: a", &["nonesuch"]).code(2).no_results().says("error: no command named `nonesuch`\n");
    exec("::: a", &["echo hello"]).code(2).says("give each argument as a word of its own");
    exec("::: a", &["./nonesuch"]).code(2).says("error: there is no ./nonesuch\n");
    let folder = Folder::new().with("plain", "");
    folder.exec("::: a", &["./plain"]).code(2).says("error: ./plain is not a program\n  help: `chmod +x`");
    Folder::new()
        .run("exec ::: a")
        .code(2)
        .says("Usage: taskloom exec [OPTIONS] [::: INPUT...]... -- COMMAND [ARG...]");
}

#[test]
fn no_input_says_how_to_give_some() {
    exec("", &["echo"]).code(66).says("error: there is no input\n  help: give some: `::: A B`");
    exec("", &["echo", ":::", "a"]).code(66).says("help: put it before: `exec ::: A B -- COMMAND`");
    exec(":::", &["echo"]).code(66);
    exec("::: --allow-empty", &["echo"]).code(0);
    exec("--allow-empty :::", &["echo"]).code(0).no_results();
    exec("--lines -", &["echo"]).code(66).says("`--allow-empty` makes that no error");
    exec("--lines - --allow-empty", &["echo"]).code(0).no_results();
    exec("--lines none", &["echo"]).code(66).says("error: cannot read none: No such file");
    exec("--files *.none", &["echo"]).code(66).says("no file fits `*.none`");
}

#[test]
fn bad_json_is_shown_with_its_place() {
    let folder = Folder::new().with("in.jsonl", "1\n{\"a\": }\n").with("in.json", "[1,\n2");
    folder.exec("-i in.jsonl", &["echo"]).code(65).no_results().says_exactly(concat!(
        "error: in.jsonl:2: not valid JSON\n",
        "  |\n",
        "2 | {\"a\": }\n",
        "  |       ^ expected value\n",
        "  = no command was started\n",
        "  = help: `--on-bad-input skip` runs the other 1 and lists this line at the end\n",
    ));
    let ran = folder.exec("--on-bad-input skip -i in.jsonl", &["echo"]).code(0);
    assert_eq!(ran.out, "1\n");
    ran.says("2 inputs: 1 ok, 1 skipped").says("SKIP in.jsonl:2: expected value");
    folder.exec("-i in.json", &["echo"]).code(65).says("error: in.json:2:1: not valid JSON").says("holds one array");
    let ran = folder.exec_with("-k -i -", &["echo"], "1\n{\n3\n").code(65);
    assert_eq!(ran.out, "1\n");
    ran.says("error: standard input:2: not valid JSON").says("= 1 task ended before it");
}

#[test]
fn an_input_that_no_command_can_take_costs_that_input() {
    let long = "x".repeat(200_000);
    let folder = Folder::new();
    let ran = folder.exec_with("-k --lines -", &["echo"], format!("a\n{long}\nb\n")).code(100);
    assert_eq!(ran.out, "a\nb\n");
    ran.says("cannot be started: Argument list too long (os error 7); one argument may have 128 KiB");
    let ran = folder.exec_with("-k -i -", &["echo"], "\"a\\u0000b\"\n1\n").code(100);
    assert_eq!(ran.out, "1\n");
}

#[test]
fn without_a_place_for_output_nothing_starts() {
    let folder = Folder::new();
    let mut command = folder.exec_command("::: a", &["touch", "made"]);
    let output = command.env("TMPDIR", "/nowhere").output().unwrap();
    let ran = crate::harness::Ran::of("without TMPDIR", output).code(74);
    ran.says("error: cannot make a file in /nowhere for what commands print: ").says("help: set TMPDIR");
    assert!(!folder.path().join("made").exists());
}

#[test]
fn without_descriptors_of_its_own_it_says_so() {
    let folder = Folder::new();
    let line = format!("ulimit -n 4; exec {} exec -q ::: a -- true", env!("CARGO_BIN_EXE_taskloom"));
    folder.shell(&line).code(1).says("error: cannot wait for anything: Too many open files");
}
