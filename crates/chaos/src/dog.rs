//! Ends a run that does not go on, and says where it stands.

use std::{
    io::Write,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use taskloom::{View, procs::Procs};
use taskloom_tests::watchdog;

/// Far beyond what any step takes on a busy machine: the longest waits for a stopped worker, a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts everything that shows that the run goes on.
static STEPS: AtomicU64 = AtomicU64::new(0);
static AT: Mutex<Option<(String, View<Procs>)>> = Mutex::new(None);

/// The run goes on.
pub(crate) fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

/// Which pool is struck now. To be taken back before its descriptors are counted.
pub(crate) fn at(place: Option<(String, View<Procs>)>) {
    *AT.lock().unwrap_or_else(PoisonError::into_inner) = place;
    step();
}

/// Watches while it lives.
pub(crate) struct Dog {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Dog {
    pub(crate) fn start() -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = over.clone();
        let thread = thread::Builder::new().name("chaos-dog".to_owned()).spawn(move || watch(&seen));
        Self { over, thread: Some(thread.expect("a thread can be started")) }
    }
}

impl Drop for Dog {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends the process or does nothing.
            let _ = thread.join();
        }
    }
}

fn watch((over, changed): &(Mutex<bool>, Condvar)) {
    let mut seen = (STEPS.load(Ordering::Relaxed), Instant::now());
    let mut is_over = over.lock().unwrap_or_else(PoisonError::into_inner);
    while !*is_over {
        is_over = changed.wait_timeout(is_over, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
        let steps = STEPS.load(Ordering::Relaxed);
        if steps != seen.0 {
            seen = (steps, Instant::now());
        } else if seen.1.elapsed() >= PATIENCE {
            bark();
        }
    }
}

fn bark() -> ! {
    let mut error = std::io::stderr();
    let mut say = |text: &str| {
        let _ = error.write_all(text.as_bytes());
    };
    say(&format!("\nno step for {PATIENCE:?}\n"));
    say(&watchdog::all_threads());
    let at = AT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((round, view)) = at {
        say(&format!("{round}\n{} handles open, workers {:?}\n", view.open_tasks(), view.capabilities().workers));
        // Last, because whoever does not go on may hold the lock.
        say(&view.backend().describe());
    }
    std::process::exit(1)
}
