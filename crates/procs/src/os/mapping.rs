//! Memory that two processes share, and sleeping on a word in it.
//!
//! The memory is a file without a name whose size can never change: a process that maps it cannot be killed by
//! another that truncates it. The other process may write to it at any time, whatever the protocol says; so nothing here
//! makes a reference to plain bytes in it. They are copied, by pointer, and the words are atomic.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64},
    time::Duration,
};

use super::{checked, files};

/// A file of this size, filled with zeroes, that can neither grow nor shrink.
pub(crate) fn create(size: usize) -> io::Result<File> {
    let file = files::in_memory_sealable(c"taskloom-rings")?;
    file.set_len(size as u64)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    files::seal(&file, seals)?;
    Ok(file)
}

/// The file that another process, of the same user, has open under this number.
///
/// # Errors
/// If the system does not allow it, or the file has not this size.
pub(crate) fn open_of(process: u32, fd: RawFd, size: usize) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(files::path_in(process, fd))?;
    if file.metadata()?.size() == size as u64 {
        Ok(file)
    } else {
        Err(io::Error::other("it is another file than was announced"))
    }
}

/// A whole file, mapped. Not inherited by copies of this process.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: the memory belongs to no thread; it is reached by copies and atomics only, which any thread may do.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `size` bytes of a file that has so many and keeps them.
    pub(crate) fn new(file: &File, size: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the system chooses touches no memory of ours.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { base, size };
        // SAFETY: the range is the mapping's own. Who forks without our knowledge gets none of it.
        checked(unsafe { libc::madvise(base.as_ptr().cast(), size, libc::MADV_DONTFORK) })?;
        Ok(mapping)
    }

    /// The value at `at`.
    ///
    /// # Panics
    /// If it is not inside, or not aligned.
    pub(crate) fn get<T: Words>(&self, at: usize) -> &T {
        assert!(
            at.is_multiple_of(align_of::<T>()) && at.checked_add(size_of::<T>()).is_some_and(|end| end <= self.size)
        );
        // SAFETY: the range is inside the mapping, which lives as long as `self`, and aligned, as asserted. `Words` are made of
        // atomics, for which all bytes are values and which may change under a shared reference.
        unsafe { &*self.base.as_ptr().wrapping_add(at).cast::<T>() }
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Panics
    /// If there is no room for them.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= self.size));
        // SAFETY: the target is inside the mapping, as asserted, and no reference to it exists; `bytes` is ours, and no part
        // of a mapping.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().wrapping_add(at), bytes.len()) }
    }

    /// Appends a copy of the `length` bytes from `at` on to `out`.
    ///
    /// # Panics
    /// If they are not inside.
    pub(crate) fn read(&self, at: usize, length: usize, out: &mut Vec<u8>) {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.size));
        out.reserve(length);
        let end = out.len();
        let (from, to) = (self.base.as_ptr().wrapping_add(at), out.as_mut_ptr().wrapping_add(end));
        // SAFETY: the source is inside the mapping, as asserted; the target is the vector's spare room, which was
        // reserved. The other process may write meanwhile: then the bytes are any bytes, which is what whoever reads them
        // expects.
        unsafe { ptr::copy_nonoverlapping(from, to, length) };
        // SAFETY: there is room for so many, and they have just been written.
        unsafe { out.set_len(end + length) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping's own, and nothing borrowed from `self` is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}

/// Types that consist of atomics and unused bytes only.
///
/// # Safety
/// All bytes must be values of the type, and all of its fields atomics or unused.
pub(crate) unsafe trait Words {}

// SAFETY: an atomic number.
unsafe impl Words for AtomicU64 {}
// SAFETY: four atomic numbers, and the room between them.
unsafe impl Words for crate::ring::Words {}

/// Sleeps while the word has this value, until woken or until the time is over; also returns for no reason.
pub(crate) fn wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // Not private to this process: the word may be in shared memory.
    // SAFETY: word and limit outlive the call; the limit may be null.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, limit) };
}

/// Wakes who sleeps on this word.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the system looks at the address, and writes nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
