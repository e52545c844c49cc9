//! Five tutorials, in order: the files beside this package's manifest. Each opens with what you will see and the command
//! to run it, then shows one idea. `tests/run.rs` runs them all.

/// The guide's blocks of code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub mod guide {}
