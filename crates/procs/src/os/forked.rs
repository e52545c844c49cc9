//! Whether this is a forked copy, without a system call.

use std::{
    io,
    ptr::{self, NonNull},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::checked;

/// Says whether the process has been copied by a fork since this was made.
///
/// There is a page that the kernel gives to copies empty (`MADV_WIPEONFORK`). Asking for the process id instead is a system call
/// each time, and hooks on `fork` are not called for a copy that somebody makes by a bare system call.
#[derive(Debug)]
pub(crate) struct Original(u32);

/// The page of this process and of all its copies: in it stands a number that no copy had before, once one has been asked for.
static PAGE: OnceLock<Page> = OnceLock::new();
/// The number that was given last.
static LAST: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Page(NonNull<AtomicU32>);

// SAFETY: the mapping belongs to no thread, and what is in it is atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Original {
    /// # Errors
    /// If there is no memory, or the kernel (before 4.14) cannot do it.
    pub(crate) fn new() -> io::Result<Self> {
        let page = match PAGE.get() {
            Some(page) => page,
            None => {
                let page = Page::new()?;
                PAGE.get_or_init(|| page)
            }
        };
        // Copies have the counter too, and go on from where they left: what was made before the fork is none of theirs.
        let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let here = page.word().compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
        Ok(Self(here.map_or_else(|there| there, |_| fresh)))
    }

    /// Whether this is the process in which it was made.
    pub(crate) fn is_here(&self) -> bool {
        PAGE.get().is_some_and(|page| page.word().load(Ordering::Relaxed) == self.0)
    }
}

impl Page {
    fn new() -> io::Result<Self> {
        const SIZE: usize = 4096;
        let [protection, flags] = [libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS];
        // SAFETY: a new mapping, wherever the kernel likes: it replaces none.
        let address = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the page is this mapping's own.
        if let Err(error) = checked(unsafe { libc::madvise(address, SIZE, libc::MADV_WIPEONFORK) }) {
            // SAFETY: made just now with this size, and nobody has a reference into it.
            unsafe { libc::munmap(address, SIZE) };
            return Err(error);
        }
        Ok(Self(page))
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: page-aligned, zeroed or written as this atomic only, and mapped for good: if two make a page at once the
        // one that is not taken stays too.
        unsafe { self.0.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_the_original() {
        let original = Original::new().unwrap();
        assert!(original.is_here());
        // SAFETY: the copy does nothing but look at the page, write to it, and end at once.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let own = Original::new().is_ok_and(|own| own.is_here());
            let code = i32::from(original.is_here() || !own);
            // SAFETY: ends the copy without running anything of the test program's.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the write; the copy is this process's child.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the copy took itself for the original");
        assert!(original.is_here() && Original::new().unwrap().is_here());
    }
}
