//! The conformance suite: what the contract promises, one generic test per clause, run for every backend.
//!
//! ```text
//!  tests/inline.rs   conformance!(Inline)  ─┐                  ┌─▶ outcome.rs handle.rs map.rs
//!  tests/threads.rs  conformance!(Threads) ─┼─▶ suite.rs ──────┤   crash.rs life.rs context.rs
//!  tests/procs.rs    conformance!(Procs)   ─┘   one #[test]    └─▶ each `pub fn section_id<H: Harness>()`
//!                                               per clause
//! ```
//!
//! A clause holds for every backend. Where one lacks a capability, the same test asserts what the backend declares
//! and does instead; nothing is skipped. Time is bounded from below only, and whatever could hang runs under a
//! [`watchdog`] that says where. Tasks and tests meet through files (see [`scratch`]), because nothing else is shared
//! by threads and processes alike.

pub mod harness;
pub mod suite;
pub mod watchdog;

pub mod journal;
pub mod misdeeds;
pub mod outside;
pub mod process;
pub mod scratch;
pub mod tasks;
pub mod values;

pub mod context;
pub mod crash;
pub mod handle;
pub mod life;
pub mod limits;
pub mod map;
pub mod nested;
pub mod outcome;
pub mod parent;
pub mod resize;
pub mod share;
pub mod workers;
