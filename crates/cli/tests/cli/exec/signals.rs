//! Ctrl-C and its relatives.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::harness::{Folder, send, state, until};

/// A run of two commands that write their process ids to files and then stay.
struct Staying {
    folder: Folder,
    child: Child,
    said: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Staying {
    fn start(options: &str, script: &str) -> Self {
        let folder = Folder::new();
        let script = format!("{script}; sleep 600 & echo $$ $! > new.$0 && mv new.$0 pids.$0; wait; wait");
        let options = format!("-j 2 --range 0..50 {options}");
        let mut child = folder.exec_command(&options, &["sh", "-c", &script]).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let staying = Self { folder, child, said };
        until("both run", || [0, 1].iter().all(|n| staying.path(*n).exists()));
        staying
    }

    fn path(&self, n: usize) -> std::path::PathBuf {
        self.folder.path().join(format!("pids.{n}"))
    }

    /// The commands and what they started.
    fn pids(&self) -> Vec<String> {
        let read = |n| fs::read_to_string(self.path(n)).unwrap();
        [read(0), read(1)].iter().flat_map(|pids| pids.split_whitespace().map(str::to_owned)).collect()
    }

    fn kill(&self, signal: &str) {
        send(signal, self.child.id());
    }

    fn hears(&mut self, text: &str) {
        let line = self.said.by_ref().map_while(Result::ok).find(|line| line.contains(text));
        assert!(line.is_some(), "nothing said `{text}`");
    }

    /// It ends with this code, and leaves nobody behind.
    fn ends(mut self, code: i32) {
        let pids = self.pids();
        let mut rest = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{rest}");
        // The commands are buried; what they had started is somebody else's to bury.
        until("all are gone", || pids.iter().all(|pid| ["Z", "gone"].contains(&state(pid).as_str())));
    }
}

#[test]
fn the_first_signal_reaches_commands_and_starts_nothing_more() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let mut run = Staying::start("", ":");
        run.kill(signal);
        run.hears("Stopping: 2 running tasks have 10s to finish (Ctrl-C again kills them)");
        run.hears("interrupted: 0 of 50 done, 2 cancelled, 48 not started");
        run.ends(code);
    }
}

#[test]
fn commands_may_finish_after_the_first_signal() {
    let folder = Folder::new();
    let script = "trap 'echo finished; exit 0' INT; touch on.$0; while :; do sleep 0.01; done";
    let mut child = folder.exec_command("-j 2 --range 0..50", &["sh", "-c", script]).spawn().unwrap();
    until("both run", || [0, 1].iter().all(|n| folder.path().join(format!("on.{n}")).exists()));
    send("INT", child.id());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), out.as_str()), (Some(130), "finished\nfinished\n"), "{err}");
    assert!(err.contains("interrupted: 2 of 50 done (2 ok), 0 cancelled, 48 not started"), "{err}");
}

#[test]
fn a_command_that_does_not_hear_is_killed_after_its_grace() {
    let start = Instant::now();
    let mut run = Staying::start("--grace 300ms", "trap '' INT");
    run.kill("INT");
    run.hears("have 300ms to finish");
    run.ends(130);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_second_signal_kills() {
    let start = Instant::now();
    let mut run = Staying::start("--grace 1h", "trap '' INT");
    run.kill("INT");
    run.hears("Stopping");
    run.kill("INT");
    run.hears("2 cancelled");
    run.ends(130);
    assert!(start.elapsed() < Duration::from_secs(600), "it did not wait for its commands");
}

#[test]
fn a_signal_ends_a_run_whose_output_nobody_reads() {
    // Nobody reads what the commands have printed, so it could never be written.
    let folder = Folder::new();
    let script = "yes | head -c 1000000; touch done.$0";
    let mut child = folder.exec_command("-j 2 --range 0..2", &["sh", "-c", script]).spawn().unwrap();
    until("both are done", || [0, 1].iter().all(|n| folder.path().join(format!("done.{n}")).exists()));
    let id = child.id();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
        send("INT", id);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn limits_are_kept_while_nobody_reads() {
    // The first command's output fills the pipe for good; the second one's time runs out all the same.
    let folder = Folder::new();
    let script = "[ $0 = 0 ] && { yes | head -c 1000000; exit; }; echo $$ > pid; exec sleep 600";
    let mut child = folder.exec_command("-j 2 --range 0..2 --timeout 500ms", &["sh", "-c", script]).spawn().unwrap();
    let pid = || fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
    until("the second runs", || pid().ends_with('\n'));
    until("it is gone", || state(pid().trim()) == "gone");
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((child.wait().unwrap().code(), out.len()), (Some(100), 1_000_000));
}

#[test]
fn a_rest_stops_commands_and_clocks() {
    let mut run = Staying::start("--timeout 2s", ":");
    run.kill("TSTP");
    let (commands, own) = (run.pids(), run.child.id().to_string());
    until("all rest", || commands.iter().chain([&own]).all(|pid| state(pid) == "T"));
    // Longer than their time: it must not run meanwhile.
    std::thread::sleep(Duration::from_millis(2500));
    run.kill("CONT");
    until("all go on", || commands.iter().chain([&own]).all(|pid| state(pid) != "T"));
    let begun = Instant::now();
    run.kill("INT");
    // The same two: neither had run out of time, or others would have taken their places.
    run.hears("interrupted: 0 of 50 done, 2 cancelled, 48 not started");
    assert!(begun.elapsed() < Duration::from_secs(60));
    run.ends(130);
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_taskloom");
    let line =
        format!("trap '' HUP; exec {program} exec -q ::: a -- sh -c 'kill -HUP $PPID; sleep 0.2; echo survived'");
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(folder.path())
        .env("TASKLOOM_RECORD", "none")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"survived\n"[..]));
}

#[test]
fn ends_are_seen_where_they_were_ignored() {
    let folder = Folder::new();
    let words = ["exec", "-q", ":::", "3", "--", "sh", "-c", "exit $0"];
    let mut env = Command::new("env");
    env.args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_taskloom")])
        .args(words)
        .current_dir(folder.path())
        .env("TASKLOOM_RECORD", "none");
    let output = env.output().unwrap();
    assert_eq!(output.status.code(), Some(100));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exit code 3"), "{output:?}");
}
