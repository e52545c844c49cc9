//! Write a task once; run it inline, on threads, in isolated worker processes: the same code, the same results.
//!
//! ```text
//!                     ┌── inline    here, at once            for tests and for tiny work
//!  #[task] fn ─▶ pool ┼── threads   on all cores             for almost everything
//!                     └── procs     in worker processes      for what may crash, hang or eat all memory
//!                          │
//!  Handle<T> ◀─────────────┘   exactly one outcome a task: its value, or a `TaskError` that says what became of it
//! ```
//!
//! ```
//! use taskloom::{task, threads};
//!
//! /// A plain function, and still callable as one.
//! #[task]
//! fn count_words(text: String) -> usize {
//!     text.split_whitespace().count()
//! }
//!
//! # #[cfg(feature = "threads")]
//! fn main() -> Result<(), taskloom::TaskError> {
//!     taskloom::init(); // the first line of `main`
//!
//!     let pool = threads::pool().workers(2).build()?; // or procs::pool(), or inline::pool()
//!     let one = pool.submit(count_words::task("to be or not to be".into()))?;
//!     assert_eq!(one.join()?, 6);
//!
//!     let texts = ["a", "b c", "d e f"].map(String::from);
//!     let counts: Result<Vec<usize>, _> = pool.map(texts.into_iter().map(count_words::task)).collect();
//!     assert_eq!(counts?, [1, 2, 3]);
//!     Ok(())
//! }
//! # #[cfg(not(feature = "threads"))]
//! # fn main() {}
//! ```
//!
//! # Which backend
//!
//! In Rust threads already use every core: there is no interpreter lock to escape from. A process
//! computes no faster than a thread, starts in about a millisecond where a thread takes some tens
//! of microseconds, and what it is given and gives back is copied, all but a [`Blob`]. Processes are for
//! *isolation*: a segmentation fault, an `exit` in a C library or a runaway allocation ends one
//! task with a record of what happened, and the pool goes on; a task over its time limit can be
//! killed; code that may not be threaded gets a process to itself.
//!
//! So: [`threads`] unless there is a reason, `procs` where a task may take its process with it,
//! [`inline`] in tests. A program that wants to decide later chooses by name with [`pool()`].
//!
#![cfg_attr(feature = "procs", doc = "```standalone_crate")]
#![cfg_attr(not(feature = "procs"), doc = "```ignore")]
//! use taskloom::{TaskError, procs, task};
//!
//! #[task]
//! fn careless(n: u64) -> u64 {
//!     if n == 3 { std::process::abort() }
//!     n * n
//! }
//!
//! fn main() -> Result<(), TaskError> {
//!     taskloom::init(); // workers are this program again: in one of them, this never returns
//!     let pool = procs::pool().workers(2).build()?;
//!     let outcomes: Vec<_> = pool.map((1..=4).map(careless::task)).collect();
//!     assert!(matches!(&outcomes[2], Err(TaskError::Crashed(death)) if death.signal == Some(6)));
//!     assert_eq!(*outcomes[3].as_ref().unwrap(), 16);
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! | feature | brings | costs | leave it off |
//! |---|---|---|---|
//! | `threads` (default) | [`threads`]: the pool of threads, one-shot threads | libc | if all work runs in processes |
//! | `procs` | `procs`: worker processes, one-shot processes, [`init`] that makes workers of them | ipc-channel and what it pulls in | if nothing has to survive a crash |
//!
//! The inline backend is always there. Features only add: none changes what an existing call does.
//!
//! # Tests
//!
//! A program's `#[test]` functions have no `main` in which to call [`init`]. With the feature
//! `procs`, `taskloom::test_support!()`, written once at the top of a test file, lets worker
//! processes start there.

#![forbid(unsafe_code)]

#[allow(unused_extern_crates, reason = "used by what `#[task]` expands to in this crate's tests")]
extern crate self as taskloom;

mod choose;

pub use choose::{AnyBuilder, backends, pool};
#[doc(inline)]
pub use taskloom_core::*;
// These expand to paths in this crate, core's to paths in core.
#[doc(inline)]
pub use taskloom_macros::{main_of_facade as main, register_of_facade as register, task_of_facade as task};
#[cfg(feature = "procs")]
#[doc(inline)]
pub use taskloom_procs::test_support;

/// The pool of threads, and one-shot threads. Feature `threads`, on by default.
#[cfg(feature = "threads")]
pub mod threads {
    #[doc(inline)]
    pub use taskloom_threads::*;
}

/// Isolated worker processes, and one-shot processes. Feature `procs`.
#[cfg(feature = "procs")]
pub mod procs {
    #[doc(inline)]
    pub use taskloom_procs::*;
}

/// The first line of `main`. In a worker process, which is this same program started again, it runs
/// tasks and never returns; everywhere else it returns at once.
///
/// Without the feature `procs` there are no workers, and all it does is to sort the program's tasks.
/// Write it all the same: then the choice of a backend stays one word.
pub fn init() {
    #[cfg(feature = "procs")]
    taskloom_procs::init();
    Registry::get();
}

/// [`init`] for platforms and builds where tasks are not found at link time: registers `tasks` too.
///
/// # Errors
/// If the program's tasks have been looked at already: then it was not the first line.
pub fn init_with(tasks: impl IntoIterator<Item = &'static TaskDef>) -> Result<(), TaskError> {
    #[cfg(feature = "procs")]
    return taskloom_procs::init_with(tasks);
    #[cfg(not(feature = "procs"))]
    Registry::init_with(tasks).map(drop)
}
