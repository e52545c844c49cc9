//! Processes as the system shows them, and tests that need one of their own.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{scratch::Scratch, watchdog};

/// Names the test for which this process was started.
const OWN: &str = "TASKLOOM_TESTS_OWN_PROCESS";

/// What a test that had a process of its own wrote.
#[derive(Debug)]
pub struct Written {
    /// To standard output.
    pub stdout: String,
    /// To standard error.
    pub stderr: String,
}

/// What stands on standard output before and after what the test itself writes.
const BEGIN: &str = "<<<the test begins>>>";
const END: &str = "<<<the test has ended>>>";

/// Whether this process was started for this very test by [`alone`].
pub fn is_alone() -> bool {
    std::env::var(OWN).is_ok_and(|own| own == watchdog::current_test())
}

/// Starts this very test once more, with nothing beside it. `program` is this program, or a copy; `folder` is where its
/// temporary files go, so that what other tests put into theirs is not taken for something left over.
pub fn alone(program: &Path, folder: &Path) -> Command {
    let test = watchdog::current_test();
    let mut command = Command::new(program);
    command.args([&test[..], "--exact", "--nocapture", "--test-threads=1"]).env(OWN, test).env("TMPDIR", folder);
    command
}

/// This program's file.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("a test program knows where it is")
}

/// Runs `body` in a process in which nothing else runs, by starting this very test program once more for this very
/// test. Returns what `body` wrote, in the process that asked; `None` in the one in which it ran.
///
/// Counts of threads, descriptors and children mean nothing in a process where other tests run.
#[track_caller]
pub fn in_own_process(input: &str, body: impl FnOnce()) -> Option<Written> {
    run_alone(|_| this_program(), input, body)
}

/// Runs `body` in a process of a copy of this program, with whose file it may do what it likes.
#[track_caller]
pub fn in_own_copy(body: impl FnOnce()) -> Option<Written> {
    let copy = |folder: &Scratch| {
        let copy = folder.path("copy");
        fs::copy(this_program(), &copy).expect("the program can be copied");
        copy
    };
    run_alone(copy, "", body)
}

#[track_caller]
fn run_alone(program: impl FnOnce(&Scratch) -> PathBuf, input: &str, body: impl FnOnce()) -> Option<Written> {
    let test = &watchdog::current_test();
    if is_alone() {
        println!("{BEGIN}");
        body();
        println!("{END}");
        return None;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tmp");
    fs::create_dir(&folder).expect("the temporary folder can be written");
    let mut command = alone(&program(&scratch), &folder);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test program can be started again");
    let mut stdin = child.stdin.take().expect("piped");
    // Fits into the pipe; a child that does not read it is no error.
    let _ = stdin.write_all(input.as_bytes());
    // Read by threads of their own, so that neither pipe fills up; the input stays open meanwhile, so that who reads it
    // to its end hangs.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || text_of(out));
    let err = thread::spawn(move || text_of(err));
    let status = child.wait().expect("a child can be waited for");
    drop(stdin);
    let (stdout, stderr) = (out.join().expect("reads"), err.join().expect("reads"));
    let between = stdout.split_once(BEGIN).and_then(|(_, rest)| rest.trim_start_matches('\n').split_once(END));
    // A name that is no test runs none and succeeds.
    let between = between.filter(|_| status.success() && stdout.contains("1 passed"));
    let Some((inside, _)) = between else {
        panic!("`{test}` in a process of its own: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    };
    Some(Written { stdout: inside.to_owned(), stderr })
}

fn text_of(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is worth showing.
    let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a process holds that can leak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Its threads' names.
    pub threads: Vec<String>,
    /// What its descriptors lead to.
    pub descriptors: Vec<String>,
    /// Its descendants, zombies too.
    pub processes: Vec<u32>,
    /// Files that are mapped to be shared: blobs, rings.
    pub mappings: Vec<String>,
    /// What is in the temporary folder.
    pub files: BTreeSet<String>,
}

impl Holdings {
    /// Those of this process.
    pub fn now() -> Self {
        let mut threads: Vec<_> = entries("/proc/self/task").iter().map(|entry| text(&entry.join("comm"))).collect();
        threads.sort();
        let links = entries("/proc/self/fd");
        let mut descriptors: Vec<_> = links
            .iter()
            .filter_map(|entry| fs::read_link(entry).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // The one through which this list is read.
            .filter(|target| !target.starts_with("/proc/"))
            .collect();
        descriptors.sort();
        let mappings = text(Path::new("/proc/self/maps"))
            .lines()
            .filter(|line| line.split_whitespace().nth(1).is_some_and(|mode| mode.ends_with('s')))
            .map(str::to_owned)
            .collect();
        let files = entries(std::env::temp_dir()).iter().map(|path| path.display().to_string()).collect();
        Self { threads, descriptors, processes: descendants(), mappings, files }
    }
}

/// Whether this process lives: a zombie is dead, and somebody's to bury.
pub fn lives(pid: u32) -> bool {
    state(Path::new(&format!("/proc/{pid}"))).is_some_and(|state| state != "Z" && state != "X")
}

/// What a process or a thread, by its folder below `/proc`, is doing, as `ps` shows it: `R`, `S`, `T`, `Z`, …
pub fn state(folder: &Path) -> Option<String> {
    stat(folder)?.into_iter().next()
}

/// Whether a thread waits for something, and goes on waiting for it.
pub fn is_stuck(folder: &Path) -> bool {
    (0..10).all(|_| {
        thread::sleep(Duration::from_millis(2));
        state(folder).is_some_and(|state| state == "S")
    })
}

/// The folders of this process's threads of that name.
pub fn threads_called(name: &str) -> Vec<PathBuf> {
    entries("/proc/self/task").into_iter().filter(|thread| text(&thread.join("comm")) == name).collect()
}

/// What stands in a process's `stat` behind its name, which is in parentheses and may contain anything: state, parent...
fn stat(folder: &Path) -> Option<Vec<String>> {
    let stat = text(&folder.join("stat"));
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect())
}

/// All descendants of this process, zombies too.
pub fn descendants() -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in entries("/proc") {
        let pid = entry.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let parent = stat(&entry).and_then(|fields| fields.get(1)?.parse::<u32>().ok());
        parents.extend(pid.zip(parent));
    }
    let mut found = vec![std::process::id()];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Processor time that the threads of these processes have used, those of `without` excepted.
pub fn cpu_time(processes: &[u32], without: &str) -> Duration {
    let threads = processes.iter().flat_map(|process| entries(format!("/proc/{process}/task")));
    let used = threads.filter(|thread| text(&thread.join("comm")) != without).map(|thread| {
        let text = text(&thread.join("schedstat"));
        text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(used.sum())
}

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Empty if the file is gone: processes and threads end whenever they like.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}
