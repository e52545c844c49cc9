//! Descriptors, the environment, and the limits of both.

use std::{
    ffi::CStr,
    fmt::Display,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
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
    empty_stdin()
}

/// Leaves nothing to be read in the place of standard input.
pub(crate) fn empty_stdin() -> io::Result<()> {
    replace(File::open("/dev/null")?, libc::STDIN_FILENO)
}

/// A file that has no name and lies in memory.
pub(crate) fn in_memory(shown_as: &CStr) -> io::Result<File> {
    memory_file(shown_as, 0)
}

/// A file that has no name and lies in memory, and can be sealed.
pub(crate) fn in_memory_sealable(shown_as: &CStr) -> io::Result<File> {
    memory_file(shown_as, libc::MFD_ALLOW_SEALING)
}

/// From now on what these seals forbid is not possible, to anybody.
pub(crate) fn seal(file: &File, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// Where the file is found that another process has open under this number.
pub(crate) fn path_in(process: u32, fd: impl Display) -> String {
    format!("/proc/{process}/fd/{fd}")
}

fn memory_file(shown_as: &CStr, flags: libc::c_uint) -> io::Result<File> {
    // SAFETY: the name ends with a zero and outlives the call, which copies it.
    let fd = checked(unsafe { libc::memfd_create(shown_as.as_ptr(), flags | libc::MFD_CLOEXEC) })?;
    // SAFETY: the descriptor was made just now, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Frees the memory of a file's beginning; nothing else moves.
pub(crate) fn let_go(file: &File, end: u64) {
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    if end > 0 {
        // SAFETY: takes numbers only. Where it is not possible, the memory stays in use.
        unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, end) };
    }
}

/// Writes out what C code has printed and its library still holds.
pub(crate) fn flush_c_streams() {
    // SAFETY: the null pointer stands for all streams; the library locks each of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Whether there is anything behind this number.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok()
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
