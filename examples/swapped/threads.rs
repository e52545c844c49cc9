//! The first example with `threads` for `procs`.

include!(concat!(env!("OUT_DIR"), "/threads.rs"));
