//! Signals as things to wait for: no handler does more than to note one and to wake the supervisor.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::Signal;
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
    flag,
    low_level::pipe,
};

use crate::exit;

/// What is listened for, and the exit code of a run that it ends.
const ENDING: [(i32, Signal, u8); 4] = [
    (SIGINT, Signal::INT, exit::INTERRUPTED),
    (SIGTERM, Signal::TERM, exit::TERMINATED),
    (SIGHUP, Signal::HUP, exit::HUNG_UP),
    (SIGQUIT, Signal::QUIT, exit::QUIT),
];

/// What somebody wants of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To end, with this code; commands get the same signal.
    End(Signal, u8),
    /// To rest, as by Ctrl-Z.
    Rest,
}

/// Everything that is listened for.
pub(crate) struct Signals {
    noted: Vec<(Arc<AtomicBool>, Wish)>,
    waker: UnixStream,
}

impl Signals {
    /// Listens from now on. A signal that was ignored at the start, as `nohup` does and as shells do for what runs in the
    /// background, stays ignored.
    pub(crate) fn listen() -> io::Result<Self> {
        let (waker, wakes) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        let ignored = ignored();
        let mut noted = Vec::new();
        let ending = ENDING.into_iter().map(|(number, signal, code)| (number, Wish::End(signal, code)));
        for (number, wish) in ending.chain([(SIGTSTP, Wish::Rest)]) {
            if ignored & (1 << (number - 1)) != 0 {
                continue;
            }
            let seen = Arc::new(AtomicBool::new(false));
            // In this order: what wakes must find the note.
            flag::register(number, seen.clone())?;
            pipe::register(number, wakes.try_clone()?)?;
            noted.push((seen, wish));
        }
        // Ended commands would leave no status to whoever ignores them; a handler, even an idle one, does not.
        if ignored & (1 << (SIGCHLD - 1)) != 0 {
            flag::register(SIGCHLD, Arc::default())?;
        }
        Ok(Self { noted, waker })
    }

    /// What has come since the last time. Equal signals at once are one.
    pub(crate) fn heard(&mut self) -> Vec<Wish> {
        while matches!(self.waker.read(&mut [0; 64]), Ok(count) if count > 0) {}
        let heard = self.noted.iter().filter(|(seen, _)| seen.swap(false, Ordering::SeqCst));
        heard.map(|(_, wish)| *wish).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
