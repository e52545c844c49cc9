//! What happened: log records and events, collected.

use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use taskloom::{Event, current_task};

use crate::scratch::Gate;

/// A log record as the program's logger saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The task on whose behalf it was delivered.
    pub task: Option<u64>,
    /// Its level.
    pub level: log::Level,
    /// Its target.
    pub target: String,
    /// Its message.
    pub message: String,
}

/// Target of records at which the logger stops until this gate is open.
pub const BLOCKED_TARGET: &str = "tests::blocked";

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());
static BLOCK: OnceLock<Gate> = OnceLock::new();

/// Makes the collecting logger this process's, at level `Info`.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).expect("nobody else sets a logger");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// From now on the logger waits at `gate` with each record for [`BLOCKED_TARGET`]. Once per process.
pub fn block_at(gate: Gate) {
    BLOCK.set(gate).expect("set once");
}

/// The records so far for which `wanted` holds.
pub fn records(wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
    let records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
    records.iter().filter(|record| wanted(record)).cloned().collect()
}

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == BLOCKED_TARGET
            && let Some(gate) = BLOCK.get()
        {
            gate.pass(|| false);
        }
        let record = Record {
            task: current_task(),
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
        };
        RECORDS.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    fn flush(&self) {}
}

/// The events of a pool. Complete when the pool has ended.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    /// One more.
    pub fn push(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }

    /// Those so far.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those so far that are about this task.
    pub fn of(&self, task: u64) -> Vec<Event> {
        self.all().into_iter().filter(|event| event.task() == Some(task)).collect()
    }
}
