//! What these tests share.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::{
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Runs `body`, and ends the process with the test's name if that takes too long: a deadlock has a name then.
pub(crate) fn watched<R>(test: &'static str, body: impl FnOnce() -> R) -> R {
    let (done, watch) = channel::<()>();
    let guard = thread::spawn(move || {
        if watch.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: `{test}` hangs");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    guard.join().unwrap();
    result
}

/// A door that is shut until it is opened, for good.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// Waits until something is so; what never is, the watchdog ends.
pub(crate) fn until(what: impl Fn() -> bool) {
    while !what() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `f` and says how long that took.
pub(crate) fn timed<R>(f: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed())
}
