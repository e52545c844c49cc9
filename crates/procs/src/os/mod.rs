//! What the standard library has no words for: thin, safe wrappers around system calls.
//!
//! The only place of this crate with `unsafe` code. Nothing here knows tasks or pools.

#[cfg(test)]
pub(crate) mod counted;
pub(crate) mod family;
pub(crate) mod files;
pub(crate) mod forked;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod socket;

use std::io;

/// Turns `-1` into the error that the system call left behind.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
