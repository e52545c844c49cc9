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
pub(crate) mod ticks;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// What a short file of `/proc` says. It comes whole by one read, and costs nothing but that.
fn read_proc(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = [0; 4096];
    let length = File::open(path)?.read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

/// Turns `-1` into the error that the system call left behind.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
