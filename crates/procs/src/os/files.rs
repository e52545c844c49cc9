//! Descriptors, the environment, and the limits of both.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use super::checked;

/// Makes `to` another name for what `from` is.
pub(crate) fn replace(from: impl AsFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes two numbers; `from` is open as long as it is borrowed, and who calls owns the slot `to`.
    checked(unsafe { libc::dup2(from.as_fd().as_raw_fd(), to) }).map(drop)
}

/// Puts a standard output that was handed over in the place of standard input where it belongs, and nothing in its place.
pub(crate) fn restore_stdout() -> io::Result<()> {
    replace(io::stdin(), libc::STDOUT_FILENO)?;
    replace(File::open("/dev/null")?, libc::STDIN_FILENO)
}

/// From now on a read that would wait fails with `WouldBlock`.
pub(crate) fn never_block(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: takes numbers only.
    let flags = checked(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// How many descriptors this process may have open; `None` for no limit.
pub(crate) fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is ours and outlives the call, which writes to it and nothing else.
    let done = checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) });
    (done.is_ok() && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Bytes of memory this machine has.
pub(crate) fn machine_memory() -> u64 {
    // SAFETY: takes a number only.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: takes a number only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// Sets the mask of permissions that new files do not get.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes a number only.
    unsafe { libc::umask(mask) };
}

/// Removes a variable from this process's environment.
///
/// Call it before there is a second thread: this is what makes it sound.
pub(crate) fn remove_variable(name: &str) {
    // SAFETY: called by `init` alone, documented as the first line of `main`, in a worker process
    // that has started no thread: nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
}
