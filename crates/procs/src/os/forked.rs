//! Whether this is a forked copy, without a system call.

use std::{
    io,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use super::checked;

/// Says whether the process has been copied by a fork since this was made.
///
/// A page that the kernel gives to copies empty (`MADV_WIPEONFORK`). Asking for the process id instead is a system call each
/// time, and hooks on `fork` are not called for a copy that somebody makes by a bare system call.
#[derive(Debug)]
pub(crate) struct Original(NonNull<AtomicU32>);

// SAFETY: the mapping belongs to no thread, and what is in it is atomic.
unsafe impl Send for Original {}
// SAFETY: as above.
unsafe impl Sync for Original {}

const SIZE: usize = 4096;

impl Original {
    /// # Errors
    /// If there is no memory, or the kernel (before 4.14) cannot do it.
    pub(crate) fn new() -> io::Result<Self> {
        let [protection, flags] = [libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS];
        // SAFETY: a new mapping, wherever the kernel likes: it replaces none.
        let address = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // From now on it is given back in any case.
        let mark = Self(NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: the page is this mapping's own.
        checked(unsafe { libc::madvise(address, SIZE, libc::MADV_WIPEONFORK) })?;
        mark.word().store(1, Ordering::Relaxed);
        Ok(mark)
    }

    /// Whether this is the process in which it was made.
    pub(crate) fn is_here(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 1
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: page-aligned, zeroed or written as this atomic only, and mapped as long as `self` lives.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this size; no reference into it outlives `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_the_original() {
        let original = Original::new().unwrap();
        assert!(original.is_here());
        // SAFETY: the copy does nothing but look at the page and end at once.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let code = i32::from(original.is_here());
            // SAFETY: ends the copy without running anything of the test program's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the write; the copy is this process's child.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the copy took itself for the original");
        assert!(original.is_here());
    }
}
