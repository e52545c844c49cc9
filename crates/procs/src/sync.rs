//! What the rings are made of, from one place: `tests/loom.rs` compiles [`ring`](crate::ring) against loom's instead.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

pub(crate) use crate::os::mapping as futex;
