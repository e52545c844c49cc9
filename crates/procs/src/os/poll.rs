//! Waiting for several descriptors at once, and an alarm bell that can be waited for.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use super::checked;

/// Descriptors to wait for.
#[derive(Default)]
pub(crate) struct Set(Vec<libc::pollfd>);

impl Set {
    /// One more; gives its place in the set.
    pub(crate) fn add(&mut self, fd: RawFd) -> usize {
        self.0.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        self.0.len() - 1
    }

    /// Waits until one can be read, has ended, or the time is over. A signal may end it early.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) {
        // Rounded up, else the last millisecond is a busy loop.
        let millis = limit.map_or(-1, |limit| i32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let count = self.0.len() as libc::nfds_t;
        // SAFETY: pointer and length are those of one vector, which nobody else touches meanwhile.
        let found = unsafe { libc::poll(self.0.as_mut_ptr(), count, millis) };
        if found < 0 {
            self.0.iter_mut().for_each(|entry| entry.revents = 0);
        }
    }

    /// Whether there is something to be read at that place; not that it has ended.
    pub(crate) fn has_some(&self, place: usize) -> bool {
        self.0[place].revents & libc::POLLIN != 0
    }

    /// Whether something happened at that place.
    pub(crate) fn is_ready(&self, place: usize) -> bool {
        self.0[place].revents != 0
    }
}

/// Wakes a thread that waits in [`Set::wait`]. Rings until it is answered.
#[derive(Debug)]
pub(crate) struct Bell(File);

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        // SAFETY: takes numbers only.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was made just now, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
    }

    pub(crate) fn ring(&self) {
        // It fails only if it rings already, 2^64 times.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    pub(crate) fn answer(&self) {
        // It fails only if it does not ring.
        let _ = (&self.0).read(&mut [0; 8]);
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
