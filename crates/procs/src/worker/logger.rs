//! Sends log records of this process to the program's own logger, in the parent.
//!
//! Records on their way are counted: a task that floods waits until the parent's logger has caught
//! up, and the parent's memory is safe from it.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use taskloom_core::backend_api::LogRecord;

use super::Up;
use crate::wire::Rare;

/// How many records may be on their way.
const CREDIT: u32 = 1024;

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    up: Arc<Up>,
    credit: Mutex<u32>,
    more: Condvar,
}

/// From now on records go to the parent, if they are of this level.
pub(super) fn install(up: Arc<Up>, level: usize) {
    let logger = LOGGER.get_or_init(|| Logger { up, credit: Mutex::new(CREDIT), more: Condvar::new() });
    // A logger that was there before `init` keeps what it has.
    if log::set_logger(logger).is_ok() {
        log::set_max_level(
            log::LevelFilter::iter().find(|filter| *filter as usize == level).unwrap_or(log::LevelFilter::Off),
        );
    }
}

/// The parent has delivered `count` records.
pub(super) fn credit(count: u32) {
    if let Some(logger) = LOGGER.get() {
        let mut credit = logger.credit.lock().unwrap_or_else(PoisonError::into_inner);
        *credit = credit.saturating_add(count).min(CREDIT);
        drop(credit);
        logger.more.notify_all();
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        // A forked copy is heard by nobody, and gets no credit.
        if !self.enabled(record.metadata()) || self.up.is_copy() {
            return;
        }
        // Formatting runs the task's code, which may log: no lock is held.
        let record = LogRecord::copy(record);
        let mut credit = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        while *credit == 0 {
            credit = self.more.wait(credit).unwrap_or_else(PoisonError::into_inner);
        }
        *credit -= 1;
        drop(credit);
        self.up.rare(&Rare::Log(record));
    }

    fn flush(&self) {}
}
