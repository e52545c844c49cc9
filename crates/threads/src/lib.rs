//! The threads backend of Taskloom: a pool of threads, and single threads, for tasks and closures.
//!
//! ```text
//!  View::submit ─▶ Job ─▶ queue ─▶ a worker thread: Job::run ─▶ outcome
//!                           │           │ waits for other tasks: another thread takes its place
//!                           │           │ overruns its limit:    abandoned, a new one takes its place
//!                           └──────▶ an idle worker helps with the items of a chunk: Ticket::help
//! ```
//!
//! [`pool`] builds a pool, [`spawn`] starts one thread for one task. Everything else (views,
//! handles, policies, maps) is `taskloom_core`'s and the same on every backend.
//!
//! A task may wait for other tasks, of its own pool or of another that waits for this one: with a
//! single worker too. A thread cannot be killed: a task that overruns its limit has its outcome in
//! time, its thread is left behind and replaced.

mod builder;
mod oneshot;

mod backend;
mod worker;

mod bench;
mod crew;
mod hire;
mod muster;
mod pace;
mod queue;
mod seats;
mod watch;

mod sync;

pub use backend::Threads;
pub use builder::{Builder, pool};
pub use oneshot::{Thread, spawn};
