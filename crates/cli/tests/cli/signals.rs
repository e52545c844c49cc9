//! Signals to `run`, and what becomes of its workers.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr},
    time::{Duration, Instant},
};

use crate::harness::{Folder, send, state, until};

/// A run of two tasks that stay, on two workers.
struct Staying {
    /// Workers were started there.
    _folder: Folder,
    child: Child,
    said: std::io::Lines<BufReader<ChildStderr>>,
    workers: Vec<String>,
}

impl Staying {
    fn start(options: &str) -> Self {
        let folder = Folder::new().with("ms", "1\n1\n600000\n600000\n");
        let words = format!("run sleep_ms -i ms -b procs -j 2 {options}");
        let mut command = folder.command(&words);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        // Both short ones are done, so a worker each has been started for the long ones.
        let is_result = |line: &String| !line.contains("run-started");
        assert_eq!(out.by_ref().map_while(Result::ok).filter(is_result).take(2).count(), 2);
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let workers = || children(child.id());
        until("there are workers", || workers().len() >= 2);
        let workers = workers();
        Self { _folder: folder, child, said, workers }
    }

    fn send(&self, signal: &str) {
        send(signal, self.child.id());
    }

    fn hears(&mut self, text: &str) {
        let line = self.said.by_ref().map_while(Result::ok).find(|line| line.contains(text));
        assert!(line.is_some(), "nothing said `{text}`");
    }

    /// Whether it and its workers are in one of these states.
    fn all_are(&self, states: &[&str]) -> bool {
        let own = self.child.id().to_string();
        self.workers.iter().chain([&own]).all(|pid| states.contains(&state(pid).as_str()))
    }

    /// It ends with this code, and leaves nobody behind. What it still said on standard output.
    fn ends(mut self, code: i32) -> String {
        let mut rest = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
        self.leaves_nobody();
        rest
    }

    fn leaves_nobody(&self) {
        until("all are gone", || self.workers.iter().all(|pid| ["Z", "gone"].contains(&state(pid).as_str())));
    }
}

/// The processes that one has started, and those that they have.
fn children(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let own: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let theirs: Vec<String> = own.iter().flat_map(|pid| children(pid.parse().unwrap())).collect();
    own.into_iter().chain(theirs).collect()
}

#[test]
fn every_ending_signal_has_its_code_and_leaves_nobody() {
    for (signal, name, code) in
        [("INT", "SIGINT", 130), ("TERM", "SIGTERM", 143), ("HUP", "SIGHUP", 129), ("QUIT", "SIGQUIT", 131)]
    {
        let mut run = Staying::start("--json");
        run.send(signal);
        run.hears("Stopping: 2 running tasks have 10s to finish (Ctrl-C again kills them)");
        run.send(signal);
        run.hears("interrupted: 2 of 4 done (2 ok), 2 cancelled, 0 not started");
        let rest = run.ends(code);
        let last: serde_json::Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
        assert_eq!((&last["event"], &last["signal"]), (&"run-finished".into(), &name.into()), "{rest}");
        assert_eq!((&last["exit_code"], &last["cancelled"]), (&code.into(), &2.into()), "{rest}");
    }
}

#[test]
fn the_third_signal_does_not_wait() {
    let mut run = Staying::start("");
    run.send("INT");
    run.hears("Stopping");
    // Equal signals at once are one, so it may take more than two.
    let start = Instant::now();
    while run.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
        run.send("INT");
        std::thread::sleep(Duration::from_millis(1));
    }
    run.ends(130);
}

#[test]
fn a_rest_is_one_for_workers_too() {
    let mut run = Staying::start("");
    run.send("TSTP");
    until("all rest", || run.all_are(&["T"]));
    run.send("CONT");
    until("all go on", || run.all_are(&["S", "R"]));
    run.send("INT");
    run.hears("Stopping: 2 running tasks");
    run.send("INT");
    run.hears("2 of 4 done (2 ok), 2 cancelled");
    run.ends(130);
}

#[test]
fn who_is_killed_leaves_nobody_even_at_rest() {
    for rest in [false, true] {
        let mut run = Staying::start("");
        if rest {
            run.send("TSTP");
            until("all rest", || run.all_are(&["T"]));
        }
        run.send("KILL");
        run.child.wait().unwrap();
        run.leaves_nobody();
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nobody() {
    let folder = Folder::new().with("ms", "1\n".repeat(1000));
    let mut child = folder.recorded_command("run sleep_ms -i ms -b procs -j 2").spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    let workers = children(child.id());
    drop(out);
    assert!(!workers.is_empty());
    assert_eq!(child.wait().unwrap().code(), Some(141));
    until("all are gone", || workers.iter().all(|pid| ["Z", "gone"].contains(&state(pid).as_str())));
}

#[test]
fn a_full_disk_lets_running_tasks_finish() {
    let folder = Folder::new().with("ms", "1\n10500\n");
    // Longer than those have who are told to stop.
    let start = Instant::now();
    let words = "run sleep_ms -i ms -b procs -j 2 -o /dev/full --force";
    let ran = folder.run(words).code(74);
    assert!(start.elapsed() >= Duration::from_millis(10500));
    ran.says("2 of 2 inputs were done; /dev/full holds 0 complete results, 2 were lost");
}
