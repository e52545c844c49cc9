//! Write a task once; run it inline, on threads, in isolated worker processes.

#![forbid(unsafe_code)]

#[allow(unused_extern_crates, reason = "used by what `#[task]` expands to in this crate's tests")]
extern crate self as taskloom;

#[doc(inline)]
pub use taskloom_core::*;
// These expand to paths in this crate, core's to paths in core.
#[doc(inline)]
pub use taskloom_macros::{main_of_facade as main, register_of_facade as register, task_of_facade as task};

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

/// The first line of `main`: in a worker process it never returns, elsewhere at once.
pub fn init() {
    Registry::get();
}
