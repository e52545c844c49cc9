//! Settings, and what is told of the program itself.

use std::{fs, process::Command};

use serde_json::Value;

use crate::harness::{Folder, Ran};

/// `doctor`, with files of settings or without.
fn doctor(folder: &Folder, settle: impl FnOnce(&mut Command)) -> String {
    let mut command = folder.command("doctor");
    // Nothing of the user's own.
    command.env("XDG_CONFIG_HOME", folder.path().join(".config")).env_remove("TASKLOOM_RECORD");
    settle(&mut command);
    Ran::of("doctor", command.output().unwrap()).code(0).says_exactly("").out
}

fn with_user_file(folder: Folder, text: &str) -> Folder {
    fs::create_dir_all(folder.path().join(".config/taskloom")).unwrap();
    fs::write(folder.path().join(".config/taskloom/config.toml"), text).unwrap();
    folder
}

#[test]
fn doctor_tells_what_there_is() {
    let out = doctor(&Folder::new(), |_| {});
    let cores = std::thread::available_parallelism().unwrap();
    assert!(out.starts_with(&format!("cores      {cores} usable")), "{out}");
    assert!(out.contains("\nbackends   inline ok, threads ok, procs ok\n"), "{out}");
    let settings = format!(
        "settings   backend threads (default), workers {cores} (default), color auto (default), record on (default), \
         keep_runs 100 (default), keep_age 30d (default), keep_size 1GB (default)\n"
    );
    assert!(out.ends_with(&settings), "{out}");
    assert!(out.lines().nth(1).unwrap().starts_with("memory     ") && out.contains("iB free"), "{out}");
}

#[test]
fn each_setting_comes_from_the_nearest_place() {
    let folder = Folder::new().with("taskloom.toml", "workers = 3\nbackend = \"procs\"\n");
    let folder = with_user_file(folder, "workers = 7\nrecord = \"none\"\ncolor = \"never\"\n");
    let out = doctor(&folder, |command| _ = command.env("TASKLOOM_BACKEND", "inline"));
    for part in [
        "backend inline (TASKLOOM_BACKEND)",
        "workers 3 (project file ",
        "taskloom.toml), color never (user file ",
        ".config/taskloom/config.toml), record none (user file ",
    ] {
        assert!(out.contains(part), "no `{part}` in {out}");
    }
    // A flag before all of them.
    let mut command = folder.recorded_command("run sleep_ms --range 0..2 -b threads");
    command.env("XDG_CONFIG_HOME", folder.path().join(".config"));
    Ran::of("", command.output().unwrap()).code(0).says("Starting sleep_ms: 2 inputs, threads x 3\n");
    // A folder below has the project's settings too.
    fs::create_dir(folder.path().join("below")).unwrap();
    let out = doctor(&folder, |command| _ = command.current_dir(folder.path().join("below")));
    assert!(out.contains("workers 3 (project file "), "{out}");
}

#[test]
fn programs_read_doctor_too() {
    let folder = Folder::new().with("taskloom.toml", "workers = \"50%\"\n");
    let mut command = folder.command("doctor --json");
    command.env("XDG_CONFIG_HOME", folder.path().join(".config"));
    let ran = Ran::of("doctor --json", command.output().unwrap()).code(0);
    let event: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&event["v"], &event["event"]), (&1.into(), &"doctor".into()));
    assert_eq!(event["settings"][1]["value"], "50%");
    assert_eq!(event["backends"][0]["name"], "inline");
}

#[test]
fn files_that_make_no_sense_are_wrong_usage() {
    let folder = Folder::new().with("taskloom.toml", "workers = 3\nwrokers = 3\n");
    let ran = folder.run("run sleep_ms --range 0..2").code(2).no_results();
    ran.says("taskloom.toml:2: unknown field `wrokers`").says("help: settings are `backend`, `workers`, ");
    let folder = Folder::new().with("taskloom.toml", "backend = \"gpu\"\n");
    folder.run("run sleep_ms --range 0..2").code(2).says("no backend named `gpu`");
}

#[test]
fn how_much_is_kept_can_be_set() {
    let folder = Folder::new().with("taskloom.toml", "keep_runs = 2\nkeep_size = \"1MiB\"\n");
    let runs = || folder.recorded("runs").code(0).out.lines().filter(|line| line.contains("sleep_ms")).count();
    for name in ["a", "b", "c"] {
        folder.recorded(&format!("run sleep_ms --range 0..2 --record {name}")).code(0);
    }
    assert_eq!(runs(), 2, "the first has gone");
    let set = |name: &str, value: &str| {
        let mut command = folder.recorded_command("runs prune");
        Ran::of("runs prune", command.env(name, value).output().unwrap())
    };
    set("TASKLOOM_KEEP_AGE", "30").code(2).says("error: `keep_age 30`: a time needs a unit");
    set("TASKLOOM_KEEP_RUNS", "some").code(2).says("error: `keep_runs some`: not a number");
    assert!(set("TASKLOOM_KEEP_RUNS", "1").code(0).out.starts_with("1 run deleted: "));
    // The newest goes too: together they are larger than nothing.
    assert!(set("TASKLOOM_KEEP_SIZE", "0B").code(0).out.starts_with("1 run deleted: "));
    folder.recorded("run sleep_ms --range 0..2 --record d").code(0);
    assert!(set("TASKLOOM_KEEP_AGE", "0s").code(0).out.starts_with("1 run deleted: d"));
    assert_eq!(runs(), 0);
}

#[test]
fn completions_and_pages_know_the_commands() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = folder.run(&format!("completions {shell}")).code(0).says_exactly("");
        assert!(ran.out.contains("keep-order") && ran.out.contains("resume"), "{shell}");
    }
    folder.run("completions csh").code(2);
    assert!(folder.run("man").code(0).out.contains(".TH taskloom 1"));
    folder.run("man pages").code(0).no_results();
    for page in ["taskloom.1", "taskloom-run.1", "taskloom-exec.1", "taskloom-runs.1", "taskloom-doctor.1"] {
        assert!(folder.path().join("pages").join(page).is_file(), "{page}");
    }
    assert!(fs::read_to_string(folder.path().join("pages/taskloom-run.1")).unwrap().contains("keep\\-order"));
    folder.with("file", "").run("man file").code(74).says("cannot write file");
}
