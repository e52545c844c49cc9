//! The process backend of Taskloom: isolated worker processes over ipc-channel.
//!
//! ```text
//!              this process                              worker process (a copy of this program)
//!  submit ──▶ queue ──▶ dispatch ── frames ─────────────▶ runner ── task
//!               ▲          │  └──── recall, cancel ─────▶ control thread (the lifeline)
//!               │ front    ▼                                │
//!               └────── reader  ◀── started, done, logs ────┘
//!                          ▲
//!                     supervisor: starts, watches, kills, buries, replaces
//! ```
//!
//! A crash is the outcome of one task and of nobody else. A task over its time is killed. Workers
//! live as long as the pool, and never longer than this process.
//!
//! ```no_run
//! # use taskloom_core::task;
//! #[task]
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! fn main() -> Result<(), taskloom_core::TaskError> {
//!     taskloom_procs::init(); // first line: a worker enters here, and does not return
//!     let pool = taskloom_procs::pool().workers(4).build()?;
//!     assert_eq!(pool.submit(square::task(12))?.join()?, 144);
//!     Ok(())
//! }
//! ```
//!
//! How the two sides talk, and why no task is lost between them, stands in [`protocol`].

#![deny(unsafe_code)]

pub mod accounting;
mod builder;
mod entry;
mod process;

#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(not(feature = "chaos"))]
mod chaos;

mod backend;
mod capture;
mod dispatch;
mod lane;
mod launch;
mod line;
mod reader;
mod share;
mod spare;
mod stderr;
mod supervisor;

mod fast;
mod message;
mod places;
mod ring;
mod sync;
mod transport;
mod wire;
mod worker;

#[cfg(test)]
mod hostile;

#[allow(unsafe_code, reason = "system calls that the standard library has no words for")]
mod os;

#[doc = include_str!("PROTOCOL.md")]
pub mod protocol {}

pub use backend::Procs;
pub use builder::{Builder, pool};
pub use entry::{init, init_with};
pub use process::{Process, spawn};

/// What [`test_support!`] expands to. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::entry::{TestSupport, worker_test};
}
