//! Memory that is filled once and never changes, for any process of this user to look at.
//!
//! It is a file without a name, sealed: nobody can write to it, cut it or seal it otherwise any more. Another process
//! reaches it through `/proc`, as long as somebody has it open, and needs no descriptor to keep it.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    ptr::NonNull,
    slice,
};

use super::{checked, files};

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;

/// Where memory can be found by another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pid: u32,
    pub(crate) fd: u32,
    pub(crate) inode: u64,
    pub(crate) length: u64,
}

/// Memory that was filled here.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: File,
    place: Place,
}

impl Sealed {
    /// Copies the bytes. No process can change them from then on.
    pub(crate) fn filled(bytes: &[u8]) -> io::Result<Self> {
        let mut file = files::in_memory_sealable(c"taskloom-blob")?;
        file.write_all(bytes)?;
        files::seal(&file, SEALS)?;
        let (fd, inode) = (file.as_raw_fd() as u32, file.metadata()?.ino());
        let place = Place { pid: std::process::id(), fd, inode, length: bytes.len() as u64 };
        Ok(Self { file, place })
    }

    pub(crate) fn place(&self) -> Place {
        debug_assert_eq!(self.file.as_raw_fd(), self.place.fd as i32);
        self.place
    }
}

/// Memory that another process has filled.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: NonNull<u8>,
    length: usize,
    place: Place,
}

// SAFETY: it is memory that nobody can write to, and that only its drop gives back.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Finds it, and makes sure that it is what was promised.
    ///
    /// # Errors
    /// If it is not there any more, or may not be looked at, or could still change.
    pub(crate) fn at(place: Place) -> io::Result<Self> {
        let file = File::open(files::path_in(place.pid, place.fd))?;
        let found = file.metadata()?;
        if (found.ino(), found.len()) != (place.inode, place.length) || place.length == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is not there any more"));
        }
        // SAFETY: takes numbers only. What is no memory file has no seals, and this fails.
        let seals = checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) })?;
        if seals & SEALS != SEALS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it could still change"));
        }
        let length = usize::try_from(place.length).map_err(io::Error::other)?;
        // SAFETY: the kernel chooses a place of its own, and the file's length is what was found: it is sealed.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("it lies nowhere"))?;
        Ok(Self { start, length, place })
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped from there on until the drop. The seals, which were looked at before, see to it that
        // they stay there and never change.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this was mapped by `at`, and nobody can have a part of it: `as_ref` borrows.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os;

    fn refused(place: Place) -> String {
        Mapped::at(place).expect_err("must not be had").to_string()
    }

    #[test]
    fn memory_is_found_as_it_was_filled() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let sealed = Sealed::filled(&bytes).unwrap();
        let mapped = Mapped::at(sealed.place()).unwrap();
        assert_eq!((mapped.as_ref(), mapped.place()), (&bytes[..], sealed.place()));
        // It outlives its descriptor.
        let place = sealed.place();
        drop(sealed);
        assert_eq!(mapped.as_ref(), bytes);
        refused(place);
    }

    #[test]
    fn what_is_not_what_was_promised_is_refused() {
        let sealed = Sealed::filled(&[7; 5000]).unwrap();
        let place = sealed.place();
        assert!(refused(Place { inode: place.inode + 1, ..place }).contains("not there any more"));
        assert!(refused(Place { length: 4999, ..place }).contains("not there any more"));
        assert!(refused(Place { fd: 1 << 30, ..place }).contains("No such file"));
        assert!(refused(Place { pid: u32::MAX, ..place }).contains("No such file"));
        let empty = Sealed::filled(&[]).unwrap();
        assert!(refused(empty.place()).contains("not there any more"));
    }

    #[test]
    fn what_could_still_change_is_refused() {
        let mut open = os::files::in_memory(c"open").unwrap();
        open.write_all(&[7; 5000]).unwrap();
        let inode = open.metadata().unwrap().ino();
        let place = Place { pid: std::process::id(), fd: open.as_raw_fd() as u32, inode, length: 5000 };
        assert!(refused(place).contains("could still change"));
        // A file that knows no seals.
        let file = File::open("/proc/self/exe").unwrap();
        let found = file.metadata().unwrap();
        let place = Place { fd: file.as_raw_fd() as u32, inode: found.ino(), length: found.len(), ..place };
        refused(place);
    }

    #[test]
    fn nobody_can_change_what_is_sealed() {
        let sealed = Sealed::filled(&[7; 5000]).unwrap();
        let place = sealed.place();
        let path = format!("/proc/self/fd/{}", place.fd);
        let mut again = File::options().write(true).open(path).unwrap();
        assert!(again.write(&[1]).is_err() && again.set_len(1).is_err() && again.set_len(9999).is_err());
        assert_eq!(Mapped::at(place).unwrap().as_ref(), [7; 5000]);
    }
}
