//! What waiting is made of, from one place: `tests/loom.rs` compiles the files that use it against loom's instead.

pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
};

/// The guard behind a lock. Nothing panics while it holds one of ours: a poisoned one is as good as any.
pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Stands between a write and a read of which another thread does the opposite. Nothing where both are sequentially
/// consistent; but loom takes such accesses for weaker ones, and has a fence here.
pub(crate) fn between() {}
