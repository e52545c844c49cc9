//! Where a test and its tasks meet: files in a folder that is gone when the test is over.
//!
//! A [`Gate`] holds tasks until the test opens it, and counts those that came: a latch that works between threads and
//! between processes.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How long something that must happen may take on a busy machine before the test says that it does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for one test. Removed when dropped; tasks that still wait in it go on then.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder below the temporary one.
    #[expect(clippy::new_without_default, reason = "it makes a folder: nobody should get one by accident")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("taskloom-tests-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A gate in it, closed.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::at(&self.0, name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A task may be writing into it at this moment; what is left in a temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds tasks until it is opened, and knows who has begun to wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gate {
    folder: PathBuf,
    name: String,
}

impl Gate {
    /// A gate in somebody's folder.
    pub fn at(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned() }
    }

    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        touch(&self.file("open"));
    }

    /// How many have come to the gate.
    pub fn came(&self) -> usize {
        lines(&self.file("came")).len()
    }

    /// Waits until so many have come.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        eventually(&format!("{count} tasks at gate {}", self.name), || self.came() >= count);
    }

    /// For tasks: says that somebody is here.
    pub fn arrive(&self) {
        append_line(&self.file("came"), "here");
    }

    /// For tasks: arrives, and waits until the gate is open, or `give_up` says so. Whether it is open.
    pub fn pass(&self, give_up: impl Fn() -> bool) -> bool {
        self.arrive();
        while !self.is_open() {
            // When the test is over nobody will open it any more.
            if give_up() || !self.folder.exists() {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.file("open").exists()
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.name))
    }
}

/// Makes an empty file.
pub fn touch(path: &Path) {
    fs::write(path, "").expect("the file can be made");
}

/// Appends a line; lines of several writers are never mixed.
pub fn append_line(path: &Path, line: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    // The test may be over, and its folder gone, while a task that nobody waits for still runs.
    if let Ok(mut file) = file {
        file.write_all(format!("{line}\n").as_bytes()).expect("the file can be written");
    }
}

/// The lines of a file; none if there is no such file.
pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until `condition` holds. Panics with `what` if it does not come true.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
