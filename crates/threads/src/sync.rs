//! Locks, from one place: `tests/loom.rs` compiles the files that use them against loom's instead.

pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering},
};

pub(crate) use taskloom_core::backend_api::Spin;
pub(crate) use taskloom_cpu as cpu;

/// The guard behind a lock. Nothing panics while it holds one of ours: a poisoned one is as good as any.
pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}
