//! What waiting is made of, from one place: `tests/loom.rs` compiles the files that use it against loom's instead.

pub(crate) use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Thread},
};
