//! Panics as records.
//!
//! A hook, set once and chained before the program's own, notes message, place and backtrace of a
//! panic in a task and keeps it quiet: it will be reported as the task's outcome. Panics elsewhere,
//! and in threads that a task started itself, go to the program's hook as ever.

use std::{
    any::Any,
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{Once, OnceLock},
};

use crate::error::Panic;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static NOTED: RefCell<Option<Box<Panic>>> = const { RefCell::new(None) };
    /// Whether anything is: to look there each time would cost more than a short task.
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
}

static LAST_WORDS: OnceLock<fn(&Panic)> = OnceLock::new();

/// In a program built with `panic = "abort"`, called with a task's panic just before the process
/// dies, so that a worker can still say why. The first one set stays.
pub fn last_words(say: fn(&Panic)) {
    let _ = LAST_WORDS.set(say);
}

/// Runs `f` and turns a panic into a record.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Box<Panic>> {
    install_hook();
    // This may run in a `drop` while another panic unwinds: what was noted of that one is kept.
    let outer = take_note();
    DEPTH.set(DEPTH.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    // Taken in any case: a panic that `f` caught itself is nobody's outcome.
    let noted = take_note();
    if let Some(outer) = outer {
        keep_note(outer);
    }
    done.map_err(|payload| {
        let seen = noted.unwrap_or_else(|| Box::new(Panic::new(message_of(&*payload))));
        dispose(payload);
        seen
    })
}

fn take_note() -> Option<Box<Panic>> {
    if IS_NOTED.replace(false) { NOTED.take() } else { None }
}

fn keep_note(panic: Box<Panic>) {
    NOTED.set(Some(panic));
    IS_NOTED.set(true);
}

/// Drops a value of somebody else's. A `drop` that panics must not take a worker or a reader with it.
pub(crate) fn dispose<V>(value: V) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        log::error!(target: "taskloom", "dropping a value panicked: {}", message_of(&*payload));
        // Its own drop may be what panics: leaking it is the only way that surely ends.
        std::mem::forget(payload);
    }
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                before(info);
                return;
            }
            let record = note(info);
            if cfg!(panic = "abort")
                && let Some(say) = LAST_WORDS.get()
            {
                say(&record);
            }
            keep_note(Box::new(record));
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) -> Panic {
    Panic {
        message: message_of(info.payload()),
        place: info.location().map(ToString::to_string),
        backtrace: if backtraces_wanted() { Backtrace::force_capture().to_string() } else { String::new() },
    }
}

/// On unless the program's user said no: the record is often all there is of a worker far away.
fn backtraces_wanted() -> bool {
    std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value != "0")
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic payload that is no text".to_owned())
}
