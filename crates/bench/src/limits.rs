//! What nothing between two processes can beat: one word of shared memory, and both sides spin.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    sync::atomic::AtomicU32,
};

/// A word that two processes share.
pub(crate) struct SharedWord(NonNull<AtomicU32>);

impl SharedWord {
    /// The first word of a file of at least one page.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() < Self::SIZE as u64 {
            return Err(io::Error::other("the file is smaller than a page"));
        }
        // SAFETY: A new mapping, wherever the kernel likes: it replaces none.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).map(Self).ok_or_else(|| io::Error::other("mapped at zero"))
    }

    const SIZE: usize = 4096;

    pub(crate) fn get(&self) -> &AtomicU32 {
        // SAFETY: The mapping is page-aligned, lives as long as `self`, and is only ever read and written as this
        // atomic, here and in the other process. Nobody truncates the file, which is the bench's own.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedWord {
    fn drop(&mut self) {
        // SAFETY: Made by `of` with this size; references into it cannot outlive `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::SIZE) };
    }
}
