//! What is recorded, and `runs` without `resume`.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::{lines, only_id, only_run};
use crate::harness::{Folder, Ran, until};

#[test]
fn a_run_leaves_a_record_that_is_its_users_alone() {
    let folder = Folder::new().with("in", "1\n2\n");
    folder.recorded("run sleep_ms -i in").code(0);
    let (run, id) = (only_run(&folder), only_id(&folder));
    assert!(id.len() == 4 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(run.clone()), mode(run.join("journal.jsonl"))), (0o700, 0o600));
    let first = &lines(&folder, "recorded")[0];
    assert_eq!((&first["v"], &first["format"], &first["command"]), (&json!(1), &json!(2), &json!("run")));
    assert_eq!((&first["task"], &first["version"]), (&json!("taskloom::sleep_ms"), &json!("0")));
    assert_eq!((&first["inputs"], &first["total"]), (&json!(["in"]), &json!(2)));
    assert_eq!(first["words"], json!(["run", "sleep_ms", "-i", "in"]));
    let tasks = lines(&folder, "task-finished");
    assert_eq!(tasks.len(), 2);
    assert!(tasks.iter().all(|task| task["status"] == "ok" && task["key"].as_str().unwrap().len() == 24), "{tasks:?}");
    assert_eq!(lines(&folder, "run-finished")[0]["exit_code"], 0);
    let mut command = folder.recorded_command("run sleep_ms -i in");
    command.env_remove("TASKLOOM_STATE").env("XDG_STATE_HOME", folder.path().join(".xdg"));
    Ran::of("", command.output().unwrap()).code(0);
    assert_eq!(fs::read_dir(folder.path().join(".xdg/taskloom/runs")).unwrap().count(), 1);
}

#[test]
fn runs_are_listed_and_shown() {
    let folder = Folder::new().with("messages", "on purpose\n\n");
    folder.recorded("runs").code(0);
    assert!(folder.recorded("runs").out.starts_with("no run is recorded yet"));
    folder.recorded("run fail_with --lines messages -b inline").code(100);
    let id = only_id(&folder);
    let out = folder.recorded("runs list").code(0).out;
    let words: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((words[0], &words[3..]), (&*id, &["failed", "1", "of", "2", "fail_with"][..]));
    let out = folder.recorded("runs show").code(0).out;
    for part in [
        "typed     taskloom run fail_with --lines messages -b inline\n",
        "status    failed: 1 of 2 ok, 1 failed; took ",
        "inputs    messages\n",
        "    FAIL  #1 on purpose  messages:1: on purpose\n",
    ] {
        assert!(out.contains(part), "no `{part}` in {out}");
    }
    assert!(out.ends_with(&format!("continue  taskloom runs resume {id}\n")), "{out}");
    let event: Value = serde_json::from_str(&folder.recorded(&format!("runs show {id} --json")).code(0).out).unwrap();
    assert_eq!((&event["v"], &event["status"], &event["ok"]), (&json!(1), &json!("failed"), &json!(1)));
    assert_eq!(event["failures"][0]["message"], "on purpose");
    let event: Value = serde_json::from_str(&folder.recorded("runs --json").code(0).out).unwrap();
    assert_eq!((&event["event"], &event["end"]["exit_code"]), (&json!("run"), &json!(100)));
    folder.recorded("runs show nonesuch --json").code(2).says_exactly("");
}

#[test]
fn a_run_may_have_a_name_or_no_record() {
    let folder = Folder::new();
    folder.recorded("run sleep_ms --range 0..2 --record nightly").code(0).says("Starting run nightly: ");
    assert_eq!(only_id(&folder), "nightly");
    folder.recorded("run sleep_ms --range 0..2 --record nightly").code(2).says("there is a run called `nightly`");
    folder.recorded("run sleep_ms --range 0..2 --record a/b").code(2).says("not a name for a run");
    folder.recorded("run sleep_ms --range 0..2 --record none").code(0).says("Starting sleep_ms: ");
    folder.recorded("exec -n ::: a -- echo").code(0);
    assert_eq!(only_id(&folder), "nightly");
}

#[test]
fn a_run_at_work_can_be_stopped_and_not_be_deleted_or_gone_on_with() {
    for command in ["run sleep_ms --arg 600000 -b procs", "exec ::: 600 -- sleep"] {
        let folder = Folder::new();
        let (options, rest) =
            command.split_once(" -- ").map_or((command, None), |(options, rest)| (options, Some(rest)));
        let mut typed = folder.recorded_command(options);
        if let Some(rest) = rest {
            typed.args(["--", rest]);
        }
        let child = typed.spawn().unwrap();
        until("it is listed", || folder.recorded("runs").out.contains("running"));
        let id = only_id(&folder);
        folder.recorded(&format!("runs resume {id}")).code(2).says(&format!("run {id} is not over yet"));
        folder.recorded(&format!("runs prune {id}")).code(2).says("is not over yet");
        assert!(folder.recorded("runs prune --keep 0").code(0).out.contains("nothing to delete"));
        folder.recorded(&format!("runs cancel {id}")).code(0);
        if command.starts_with("run") {
            // The task does not look whether it is to stop; asked twice, it is killed.
            folder.recorded(&format!("runs cancel {id}")).code(0);
        }
        let ran = Ran::of(command, child.wait_with_output().unwrap()).code(143);
        ran.says("0 of 1 done, 1 cancelled");
        folder.recorded(&format!("runs cancel {id}")).code(2).says("is over");
        assert!(folder.recorded("runs").out.contains("interrupted"));
    }
}

#[test]
fn old_runs_are_deleted() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.recorded(&format!("run sleep_ms --range 0..2 --record {name}")).code(0);
    }
    assert_eq!(folder.recorded("runs prune --keep 2 -n").code(0).out, "1 run would be deleted: a\n");
    assert_eq!(folder.recorded("runs prune --keep 2").code(0).out, "1 run deleted: a\n");
    assert_eq!(folder.recorded("runs prune").code(0).out, "nothing to delete\n");
    assert_eq!(folder.recorded("runs prune b").code(0).out, "1 run deleted: b\n");
    let month_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 86400);
    let journal = only_run(&folder).join("journal.jsonl");
    fs::File::options().write(true).open(journal).unwrap().set_modified(month_ago).unwrap();
    // By the next run, if nobody says so.
    folder.recorded("run sleep_ms --range 0..2 --record d").code(0);
    assert_eq!(only_id(&folder), "d");
    assert_eq!(folder.recorded("runs prune --older 0s --json").code(0).out.matches("\"d\"").count(), 1);
}
