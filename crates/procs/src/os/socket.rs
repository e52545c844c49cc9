//! Looking at a socket that somebody else owns, without taking anything from it.

use std::{io, os::fd::RawFd};

/// The size of the packet at the front of a socket, and its first bytes; waits for one. `None` at the end of the stream.
pub(crate) fn peek(fd: RawFd, head: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: pointer and length are those of one slice, which is ours for the time of the call.
    let size = unsafe { libc::recv(fd, head.as_mut_ptr().cast(), head.len(), libc::MSG_PEEK | libc::MSG_TRUNC) };
    match usize::try_from(size) {
        Ok(0) => Ok(None),
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The socket's owner still reads what has arrived, and then finds the end, whoever else can write to it.
pub(crate) fn end_of_stream(fd: RawFd) {
    // SAFETY: takes numbers only. It fails only if the socket has ended already.
    unsafe { libc::shutdown(fd, libc::SHUT_RD) };
}

/// Writes past whatever protocol the socket has.
#[cfg(test)]
pub(crate) fn write_raw(fd: RawFd, bytes: &[u8]) {
    // SAFETY: pointer and length are those of one slice, which outlives the call.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(usize::try_from(written), Ok(bytes.len()));
}
