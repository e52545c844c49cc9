//! Memory that is filled once and never changes, for any process of this user to look at.
//!
//! It is a file without a name, sealed: nobody can write to it, cut it or seal it otherwise any more. Another process
//! reaches it through `/proc`, as long as somebody has it open, and needs no descriptor to keep it.
//!
//! What is long is cut into *stripes*, a file each: processors fill them at the same time, and so the kernel finds and frees
//! their pages. Whoever maps them has them in one piece all the same.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    ptr::NonNull,
    slice,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{checked, files, signals};

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;

/// Most files for one memory.
pub(crate) const MOST_STRIPES: usize = 4;
/// A stripe is a multiple of this; what has not so much for two is one.
const STRIPE: usize = 8 << 20;

/// Where memory can be found by another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pid: u32,
    /// One behind the other.
    pub(crate) stripes: Vec<Stripe>,
}

/// A file, among those that a process has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stripe {
    pub(crate) fd: u32,
    pub(crate) inode: u64,
    pub(crate) length: u64,
}

/// How many files so much memory is in.
pub(crate) fn stripes(bytes: usize) -> usize {
    bytes.div_ceil(stripe(bytes)).max(1)
}

/// How long they are.
fn stripe(bytes: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST_STRIPES);
    bytes.div_ceil(processors).next_multiple_of(STRIPE).max(STRIPE)
}

/// Memory that was filled here, and what is to be dropped when it has been freed.
#[derive(Debug)]
pub(crate) struct Sealed<W: Send + 'static = ()> {
    files: Vec<File>,
    place: Place,
    with: Option<W>,
}

impl<W: Send + 'static> Sealed<W> {
    /// Copies the bytes. No process can change them from then on.
    pub(crate) fn filled(bytes: &[u8], with: W) -> io::Result<Self> {
        let parts: Vec<&[u8]> =
            if bytes.is_empty() { vec![bytes] } else { bytes.chunks(stripe(bytes.len())).collect() };
        let files =
            parts.iter().map(|_| files::in_memory_sealable(c"taskloom-blob")).collect::<io::Result<Vec<_>>>()?;
        let fill = |(mut file, part): (&File, &[u8])| {
            file.write_all(part)?;
            files::seal(file, SEALS)
        };
        at_once(files.iter().zip(parts).collect(), fill).into_iter().collect::<io::Result<()>>()?;
        let stripe = |file: &File| {
            let found = file.metadata()?;
            Ok(Stripe { fd: file.as_raw_fd() as u32, inode: found.ino(), length: found.len() })
        };
        let stripes = files.iter().map(stripe).collect::<io::Result<_>>()?;
        Ok(Self { place: Place { pid: std::process::id(), stripes }, files, with: Some(with) })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl<W: Send + 'static> Drop for Sealed<W> {
    /// Frees it. What is long takes the kernel milliseconds: whoever drops it does not wait for that, if another thread can be had.
    fn drop(&mut self) {
        let (files, with) = (std::mem::take(&mut self.files), self.with.take());
        let is_long = files.len() > 1;
        let here = taskloom_cpu::here();
        // In this order, whether it runs or is dropped: a tuple's parts go one after the other.
        let both = (files, with);
        let free = move || {
            signals::block_all();
            taskloom_cpu::leave(here);
            drop(both);
        };
        // Where no thread can be had they go with the closure, here and now.
        if is_long {
            let _ = thread::Builder::new().name("taskloom-blob".to_owned()).spawn(free);
            taskloom_cpu::make_way();
        } else {
            drop(free);
        }
    }
}

/// Does this with each of them, at the same time as far as threads can be had.
fn at_once<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let others = items.len().saturating_sub(1);
    let (items, done) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = next() {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    let here = taskloom_cpu::here();
    thread::scope(|scope| {
        for _ in 0..others {
            let help = || {
                signals::block_all();
                taskloom_cpu::leave(here);
                run();
            };
            // Without it all takes longer, and nothing else.
            let _ = thread::Builder::new().name("taskloom-blob".to_owned()).spawn_scoped(scope, help);
        }
        taskloom_cpu::make_way();
        run();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
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
        let files = place.stripes.iter().map(|stripe| open(place.pid, stripe)).collect::<io::Result<Vec<_>>>()?;
        let lengths = place.stripes.iter().map(|stripe| usize::try_from(stripe.length).map_err(io::Error::other));
        let lengths = lengths.collect::<io::Result<Vec<_>>>()?;
        let sum = lengths.iter().try_fold(0_usize, |sum, length| sum.checked_add(*length));
        let (Some(length), Some((last, whole))) = (sum, lengths.split_last()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it lies nowhere"));
        };
        if *last == 0 || whole.iter().any(|length| *length == 0 || !length.is_multiple_of(STRIPE)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not lie in one piece"));
        }
        // A single file is mapped where the kernel likes; several go side by side into room that was set aside.
        let (kind, file) = match &files[..] {
            [file] => (libc::MAP_SHARED, file.as_raw_fd()),
            _ => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1),
        };
        // SAFETY: a new mapping, at a place that the kernel chooses, touches no memory of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, kind, file, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("it lies nowhere"))?;
        // From now on it is given back in any case.
        let mapped = Self { start, length, place };
        if files.len() > 1 {
            let mut at = 0;
            for (file, length) in files.iter().zip(lengths) {
                let flags = libc::MAP_SHARED | libc::MAP_FIXED;
                let to = start.as_ptr().wrapping_add(at).cast();
                // SAFETY: replaces a part of the room just set aside, of which nobody has a reference yet: the parts are
                // multiples of a page, and all together as long as the room.
                let part = unsafe { libc::mmap(to, length, libc::PROT_READ, flags, file.as_raw_fd(), 0) };
                if part == libc::MAP_FAILED {
                    return Err(io::Error::last_os_error());
                }
                at += length;
            }
        }
        Ok(mapped)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// Opens a file of another process, if it is the one that was meant, and can never change.
fn open(pid: u32, stripe: &Stripe) -> io::Result<File> {
    let file = File::open(files::path_in(pid, stripe.fd))?;
    let found = file.metadata()?;
    if (found.ino(), found.len()) != (stripe.inode, stripe.length) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is not there any more"));
    }
    // SAFETY: takes numbers only. What is no memory file has no seals, and this fails.
    let seals = checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) })?;
    if seals & SEALS != SEALS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it could still change"));
    }
    Ok(file)
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
    use std::time::{Duration, Instant};

    use super::*;
    use crate::os;

    fn refused(place: Place) -> String {
        Mapped::at(place).expect_err("must not be had").to_string()
    }

    /// The place of memory in one file, with another stripe.
    fn other(place: &Place, change: impl FnOnce(&mut Stripe)) -> Place {
        let mut place = place.clone();
        change(&mut place.stripes[0]);
        place
    }

    #[test]
    fn memory_is_found_as_it_was_filled() {
        for length in [1, 100_000, STRIPE, STRIPE + 1, 3 * STRIPE, 3 * STRIPE + 7, 9 * STRIPE - 1] {
            let bytes: Vec<u8> = (0..length as u32).map(|n| (n >> 8 ^ n) as u8).collect();
            let sealed = Sealed::filled(&bytes, ()).unwrap();
            let place = sealed.place().clone();
            assert_eq!(place.stripes.len(), stripes(length));
            let mapped = Mapped::at(place.clone()).unwrap();
            assert!(mapped.as_ref() == bytes && *mapped.place() == place);
            // It outlives its descriptors, which are closed soon.
            drop(sealed);
            let start = Instant::now();
            while Mapped::at(place.clone()).is_ok() {
                assert!(start.elapsed() < Duration::from_secs(20), "it is never freed");
                thread::sleep(Duration::from_millis(1));
            }
            assert!(mapped.as_ref() == bytes);
            refused(place);
        }
    }

    #[test]
    fn what_is_not_what_was_promised_is_refused() {
        let sealed = Sealed::filled(&[7; 5000], ()).unwrap();
        let place = sealed.place();
        assert!(refused(other(place, |stripe| stripe.inode += 1)).contains("not there any more"));
        assert!(refused(other(place, |stripe| stripe.length = 4999)).contains("not there any more"));
        assert!(refused(other(place, |stripe| stripe.fd = 1 << 30)).contains("No such file"));
        assert!(refused(Place { pid: u32::MAX, ..place.clone() }).contains("No such file"));
        assert!(refused(Place { stripes: Vec::new(), ..place.clone() }).contains("nowhere"));
        // The second would begin in the middle of a page.
        let twice = vec![place.stripes[0]; 2];
        assert!(refused(Place { stripes: twice, ..place.clone() }).contains("one piece"));
        let empty = Sealed::filled(&[], ()).unwrap();
        assert!(refused(empty.place().clone()).contains("one piece"));
    }

    #[test]
    fn what_could_still_change_is_refused() {
        let mut open = os::files::in_memory(c"open").unwrap();
        open.write_all(&[7; 5000]).unwrap();
        let stripe = Stripe { fd: open.as_raw_fd() as u32, inode: open.metadata().unwrap().ino(), length: 5000 };
        let place = Place { pid: std::process::id(), stripes: vec![stripe] };
        assert!(refused(place.clone()).contains("could still change"));
        // A file that knows no seals.
        let file = File::open("/proc/self/exe").unwrap();
        let found = file.metadata().unwrap();
        let stripe = Stripe { fd: file.as_raw_fd() as u32, inode: found.ino(), length: found.len() };
        refused(Place { stripes: vec![stripe], ..place });
    }

    #[test]
    fn nobody_can_change_what_is_sealed() {
        let sealed = Sealed::filled(&[7; 5000], ()).unwrap();
        let place = sealed.place();
        let path = format!("/proc/self/fd/{}", place.stripes[0].fd);
        let mut again = File::options().write(true).open(path).unwrap();
        assert!(again.write(&[1]).is_err() && again.set_len(1).is_err() && again.set_len(9999).is_err());
        assert_eq!(Mapped::at(place.clone()).unwrap().as_ref(), [7; 5000]);
    }
}
