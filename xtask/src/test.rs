//! `cargo xtask test`: all tests with plain cargo, then a look at what they left behind.
//!
//! The profile is the default one, of `cargo test`: debug assertions and overflow checks are part of what is tested,
//! it builds in a third of the time of a release build, and what it builds is shared with everyday work.
//!
//! A worker process that outlives the run is a broken promise that no single test may notice, because a worker can be
//! left by the very end of a test program. So the run is marked in its environment, and `/proc` is read afterwards.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::{
    metadata::Metadata,
    workspace::{Workspace, exit_code, status},
};

/// What marks the processes of one run. Not `TASKLOOM_…`: those are settings of the command line under test.
const MARK: &str = "XTASK_TEST_RUN";

/// Every way of starting a worker has this in its arguments: the hidden first argument of `init()`, and the name of the
/// helper test that workers enter in a test program.
const WORKER_ARGUMENT: &[u8] = b"taskloom_worker";

/// How long workers may take to notice that their parent has ended.
const GRACE: Duration = Duration::from_secs(3);

/// Runs the tests; fails with their code, or because workers are left.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let targets = Metadata::load(workspace)?.target_directory;
    let before = workers()?.into_iter().map(|worker| worker.pid).collect();
    let mark = format!("{}-{}", std::process::id(), SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos());

    let tested = status(workspace.cargo(&cargo_arguments(args)).env(MARK, &mark))?;

    let left = settle(&Run { mark: format!("{MARK}={mark}"), targets, before })?;
    for worker in &left {
        eprintln!("left over: process {}: {}", worker.pid, worker.arguments());
    }
    if !left.is_empty() {
        eprintln!(
            "error: {} worker process(es) outlived the tests; next: find the test by running one test program at a \
             time, `cargo xtask test --test NAME`, then end them with `kill PID`",
            left.len()
        );
    }
    Ok(match tested.success() {
        true if left.is_empty() => ExitCode::SUCCESS,
        true => ExitCode::FAILURE,
        false => ExitCode::from(exit_code(tested)),
    })
}

/// What cargo is asked for. Only words before `--` are looked at; behind it stands what the test programs get.
fn cargo_arguments(args: &[String]) -> Vec<&str> {
    let dashes = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (ours, theirs) = args.split_at(dashes);
    let has = |word: &str| ours.iter().any(|arg| arg == word);
    let packages = ours.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));

    let mut cargo = vec!["test"];
    // Cargo would not let `-p` narrow what `--workspace` has chosen.
    if !packages {
        cargo.push("--workspace");
    }
    // One run shows everything that fails.
    if !has("--no-fail-fast") {
        cargo.push("--no-fail-fast");
    }
    if has("--quick") {
        cargo.extend(["--lib", "--bins", "--tests"]);
    }
    cargo.extend(ours.iter().map(String::as_str).filter(|arg| *arg != "--quick"));
    cargo.extend(theirs.iter().map(String::as_str));
    cargo
}

/// What is known of one run of the tests.
struct Run {
    /// The environment entry its processes have inherited.
    mark: String,
    /// Where its programs were built.
    targets: PathBuf,
    /// The workers that were there before it.
    before: BTreeSet<u32>,
}

impl Run {
    /// Did this run start the worker? Either it inherited the mark, or it is new and runs one of our programs: a worker
    /// whose environment was cleared is still found, and another checkout's tests at the same time are not blamed.
    fn started(&self, worker: &Worker) -> bool {
        let marked = worker.environment.split(|&byte| byte == 0).any(|entry| entry == self.mark.as_bytes());
        marked || (worker.program.starts_with(&self.targets) && !self.before.contains(&worker.pid))
    }
}

/// The workers of this run that are still there after the grace period.
fn settle(run: &Run) -> Result<Vec<Worker>> {
    let until = Instant::now() + GRACE;
    loop {
        let mut left = workers()?;
        left.retain(|worker| run.started(worker));
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A process that was started as a Taskloom worker.
struct Worker {
    pid: u32,
    command_line: Vec<u8>,
    environment: Vec<u8>,
    program: PathBuf,
}

impl Worker {
    fn arguments(&self) -> String {
        let line = String::from_utf8_lossy(&self.command_line);
        line.trim_end_matches('\0').replace('\0', " ")
    }
}

/// Every worker on this machine that we may look at, whoever started it.
fn workers() -> Result<Vec<Worker>> {
    let entries = fs::read_dir("/proc").context("listing /proc, where processes left over are looked for")?;
    let pids = entries.flatten().filter_map(|entry| pid(&entry.file_name()));
    Ok(pids.filter_map(worker).collect())
}

/// `None` also for one that ended meanwhile, which is what is hoped for; a zombie has no command line.
fn worker(pid: u32) -> Option<Worker> {
    let folder = Path::new("/proc").join(pid.to_string());
    let command_line = fs::read(folder.join("cmdline")).ok().filter(|line| is_worker(line))?;
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    let program = fs::read_link(folder.join("exe")).unwrap_or_default();
    Some(Worker { pid, command_line, environment, program })
}

fn pid(name: &OsStr) -> Option<u32> {
    std::str::from_utf8(name.as_bytes()).ok()?.parse().ok()
}

/// Does an argument, the program's own name aside, mark a worker?
fn is_worker(command_line: &[u8]) -> bool {
    let mut arguments = command_line.split(|&byte| byte == 0).skip(1);
    arguments.any(|argument| argument.windows(WORKER_ARGUMENT.len()).any(|part| part == WORKER_ARGUMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cargo is asked for, one space apart.
    fn plan(args: &str) -> String {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        cargo_arguments(&args).join(" ")
    }

    #[test]
    fn everything_is_tested_unless_narrowed() {
        assert_eq!(plan(""), "test --workspace --no-fail-fast");
        assert_eq!(plan("--no-fail-fast --test x"), "test --workspace --no-fail-fast --test x");
        assert_eq!(plan("-p taskloom"), "test --no-fail-fast -p taskloom");
    }

    #[test]
    fn quick_leaves_out_doc_tests_and_examples() {
        assert_eq!(plan("--quick name"), "test --workspace --no-fail-fast --lib --bins --tests name");
    }

    #[test]
    fn what_stands_behind_the_dashes_is_left_alone() {
        let asked = "-- --quick -p --nocapture";
        assert_eq!(plan(asked), format!("test --workspace --no-fail-fast {asked}"));
    }

    #[test]
    fn workers_are_known_by_their_arguments() {
        assert!(is_worker(b"/proc/self/exe\0__taskloom_worker\0"));
        assert!(is_worker(b"target/debug/deps/suite\0taskloom_worker\0--exact\0--nocapture\0"));
        assert!(is_worker(b"suite\0procs::taskloom_worker\0--exact\0"));
        assert!(!is_worker(b"taskloom_worker\0"));
        assert!(!is_worker(b"target/debug/taskloom\0run\0"));
        assert!(!is_worker(b""));
    }

    #[test]
    fn only_process_folders_are_read() {
        assert_eq!(pid(OsStr::new("42")), Some(42));
        assert_eq!(pid(OsStr::new("self")), None);
    }

    #[test]
    fn a_run_knows_its_own_workers() {
        let run = Run { mark: "M=1".into(), targets: "/build/target".into(), before: BTreeSet::from([7]) };
        let worker = |pid, environment: &str, program: &str| Worker {
            pid,
            command_line: Vec::new(),
            environment: environment.as_bytes().to_vec(),
            program: program.into(),
        };
        assert!(run.started(&worker(8, "A=2\0M=1\0", "/elsewhere/x")), "marked");
        assert!(run.started(&worker(8, "", "/build/target/debug/x (deleted)")), "cleared environment");
        assert!(!run.started(&worker(7, "", "/build/target/debug/x")), "there before");
        assert!(!run.started(&worker(8, "M=12\0", "/elsewhere/x")), "another run's");
    }
}
