//! The first example with `inline` for `procs`.

include!(concat!(env!("OUT_DIR"), "/inline.rs"));
