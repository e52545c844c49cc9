//! The one piece of unsafe code of this program: a crash on purpose, for the demo and for trying out isolation.

use std::{hint::black_box, ptr};

/// Reads through a null pointer: the process ends by SIGSEGV.
#[allow(unsafe_code, reason = "a crash that is not a panic cannot be had in safe code")]
pub(crate) fn follow_null() -> u8 {
    let nothing: *const u8 = black_box(ptr::null());
    // SAFETY: there is none, and that is the purpose. Address 0 is not mapped on Linux (vm.mmap_min_addr), so the kernel
    // ends the process here, before any value is read; `read_volatile` and `black_box` keep the compiler from assuming
    // that this place is never reached.
    unsafe { nothing.read_volatile() }
}
