//! Signals as things to wait for: no handler does more than to note one and to wake whoever waits.

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, getpgid, kill_process_group},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP},
    flag,
    low_level::{pipe, raise},
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

/// Notes what comes and calls `wake`, on a thread of its own. The third ending signal does not wait for anybody. A rest is a
/// rest for worker processes too.
pub(crate) fn watch(seen: Arc<Seen>, wake: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let watch = move || {
        let mut count = 0;
        loop {
            // It fails for a signal only, which has left a note.
            let _ = poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], None);
            for wish in signals.heard() {
                match wish {
                    Wish::Rest => seen.rest(),
                    Wish::End(_, code) => {
                        count += 1;
                        if count > 2 {
                            groups().into_iter().for_each(|group| _ = kill_process_group(group, Signal::KILL));
                            process::exit(code.into());
                        }
                        seen.push(code);
                        wake();
                    }
                }
            }
        }
    };
    thread::Builder::new().name("taskloom-signals".to_owned()).spawn(watch).map(drop)
}

/// Stops this process and its workers, until somebody lets it go on.
fn rest() {
    let groups = groups();
    groups.iter().for_each(|group| _ = kill_process_group(*group, Signal::STOP));
    stop_here();
    groups.iter().for_each(|group| _ = kill_process_group(*group, Signal::CONT));
}

/// Stops this process; returns when somebody lets it go on.
pub(crate) fn stop_here() {
    // To this thread, which so stops here. One to the process might stop it by another thread, a moment later.
    let _ = raise(SIGSTOP);
}

/// The groups that children of this process lead.
fn groups() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<Pid> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>())
        .collect();
    children.into_iter().filter(|pid| getpgid(Some(*pid)).is_ok_and(|group| group == *pid)).collect()
}

/// Signals that have come and have not been acted on.
#[derive(Debug)]
pub(crate) struct Seen {
    codes: Mutex<Vec<u8>>,
    /// For how long the run has rested; `None` while it does.
    rested: Mutex<Option<Duration>>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { codes: Mutex::default(), rested: Mutex::new(Some(Duration::ZERO)) }
    }

    fn push(&self, code: u8) {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).push(code);
    }

    /// One of them. Which does not matter: the first one acted on names the exit code, later ones hurry.
    pub(crate) fn pop(&self) -> Option<u8> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn rest(&self) {
        let before = self.lock_rested().take().unwrap_or_default();
        let start = Instant::now();
        rest();
        *self.lock_rested() = Some(before + start.elapsed());
    }

    /// For how long the run has rested since it was last asked; `None` while it does.
    pub(crate) fn rested(&self) -> Option<Duration> {
        self.lock_rested().as_mut().map(std::mem::take)
    }

    fn lock_rested(&self) -> MutexGuard<'_, Option<Duration>> {
        self.rested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
