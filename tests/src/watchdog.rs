//! Ends a test that hangs, and says where it does.

use std::{
    cell::RefCell,
    fs,
    io::Write,
    path::Path,
    process,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::journal;

thread_local! {
    static TEST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The test that runs on this thread, as test programs call it.
pub(crate) fn current_test() -> String {
    TEST.with_borrow(Clone::clone)
}

/// Far beyond what any test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test. If it is not done in time, prints what every thread of this process and of its children is doing,
/// and aborts: a test that hangs cannot be ended in any other way.
pub fn run(name: &str, test: impl FnOnce()) {
    journal::install();
    TEST.set(name.to_owned());
    let (done, told) = channel::<()>();
    let owned = name.to_owned();
    let dog = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        if told.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            bark(&owned);
            process::abort();
        }
    });
    let dog = dog.expect("a thread can be started");
    // Dropped on unwinding too: a test that failed does not hang.
    let _leash = Leash(Some((done, dog)));
    test();
}

struct Leash(Option<(std::sync::mpsc::Sender<()>, thread::JoinHandle<()>)>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some((done, dog)) = self.0.take() {
            drop(done);
            // It does nothing that could panic before it barks.
            let _ = dog.join();
        }
    }
}

/// Written past libtest's capture, which an abort would lose.
fn bark(name: &str) {
    let text = format!("\n=== test {name} is not done after {LIMIT:?} ===\n{}", all_threads());
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What every thread of this process and of its descendants is doing.
pub fn all_threads() -> String {
    let mut text = String::new();
    for process in std::iter::once(process::id()).chain(crate::process::descendants()) {
        describe(process, &mut text);
    }
    text
}

fn describe(process: u32, text: &mut String) {
    let tasks = format!("/proc/{process}/task");
    for thread in fs::read_dir(tasks).into_iter().flatten().flatten() {
        let read = |file: &str| read(&thread.path().join(file));
        text.push_str(&format!(
            "process {process} thread {} {:<16} in {} syscall {}\n",
            thread.file_name().to_string_lossy(),
            read("comm"),
            read("wchan"),
            read("syscall"),
        ));
        for line in read("stack").lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
}

/// Not everything is readable for everybody.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}
