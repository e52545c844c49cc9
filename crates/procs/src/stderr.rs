//! Workers' standard error: passed on to ours, the last lines kept for the record of a death.
//!
//! By a thread of its own, because our standard error may be a pipe that nobody reads: whoever writes
//! to it may wait for ever, and that must not be whoever watches limits on time. The thread is there from the first byte
//! on; most pools never have one.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    process::ChildStderr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::os::{
    self,
    poll::{Bell, Set},
};

/// Lines of a record, and bytes of a line.
const LINES: usize = 16;
const LINE: usize = 4096;
/// What is read at once, about.
const PIECE: usize = 64 * 1024;
/// Pieces that are read when a worker has died: as much as a pipe holds at most, whoever still writes to it.
const LEFT: usize = 16;

/// The last lines of this text.
pub(crate) fn last_lines(text: &[u8]) -> Vec<String> {
    let mut lines = Lines::default();
    lines.note(text);
    lines.texts()
}

/// The last lines of a stream that comes in pieces.
#[derive(Debug, Default)]
struct Lines {
    texts: VecDeque<Vec<u8>>,
    /// The last of them is not finished.
    open: bool,
}

impl Lines {
    fn note(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.open {
                self.texts.push_back(Vec::new());
            }
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if let Some(line) = self.texts.back_mut() {
                let room = LINE.saturating_sub(line.len());
                line.extend_from_slice(&text[..text.len().min(room)]);
            }
            self.open = !ended;
            if self.texts.len() > LINES {
                self.texts.pop_front();
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        self.texts.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

/// One worker's standard error.
#[derive(Debug)]
pub(crate) struct Tail(Mutex<State>);

#[derive(Debug)]
struct State {
    pipe: Option<File>,
    lines: Lines,
    /// Read, and not yet passed on.
    unwritten: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(pipe: ChildStderr) -> io::Result<Self> {
        let pipe = File::from(OwnedFd::from(pipe));
        os::files::never_block(&pipe)?;
        let state = State { pipe: Some(pipe), lines: Lines::default(), unwritten: Vec::new() };
        Ok(Self(Mutex::new(state)))
    }

    /// Reads what is left, as far as it is there now: a grandchild may keep the pipe open. Gives the last lines.
    pub(crate) fn finish(&self) -> Vec<String> {
        let mut state = self.lock();
        let _ = (0..LEFT).all(|_| state.read_piece());
        state.pipe = None;
        state.lines.texts()
    }

    /// Whether it is open, or something has been read and not passed on.
    fn has_more(&self) -> bool {
        let state = self.lock();
        state.pipe.is_some() || !state.unwritten.is_empty()
    }

    fn fd(&self) -> Option<RawFd> {
        self.lock().pipe.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Reads once; gives what is to be passed on.
    fn pump(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.read_piece();
        std::mem::take(&mut state.unwritten)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads a piece. Whether there may be more.
    fn read_piece(&mut self) -> bool {
        let before = self.unwritten.len();
        while self.unwritten.len() - before < PIECE {
            let Some(pipe) = &mut self.pipe else { return false };
            // Most say nothing, or little: that takes no memory.
            let mut part = [0; 4096];
            match pipe.read(&mut part) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.lines.note(&part[..count]);
                    self.unwritten.extend_from_slice(&part[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.pipe = None,
            }
        }
        true
    }
}

/// Passes on what a pool's workers say, by a thread from when one of them says something.
#[derive(Debug)]
pub(crate) struct Tee {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tails: Mutex<Vec<Arc<Tail>>>,
    bell: Bell,
    ended: AtomicBool,
}

impl Tee {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared { tails: Mutex::default(), bell: Bell::new()?, ended: AtomicBool::new(false) });
        Ok(Self { shared, thread: None })
    }

    pub(crate) fn add(&self, tail: Arc<Tail>) {
        self.shared.tails().push(tail);
        self.look();
    }

    /// Whether anything has come that may still have to be passed on.
    pub(crate) fn has_more(&self) -> bool {
        self.thread.is_some() || self.has_been_read()
    }

    /// Whether there is something that somebody who died had left, and that has not been passed on.
    fn has_been_read(&self) -> bool {
        self.shared.tails().iter().any(|tail| !tail.lock().unwritten.is_empty())
    }

    /// Something was read by somebody else, or a pipe is gone.
    pub(crate) fn look(&self) {
        self.shared.bell.ring();
    }

    /// As long as there is no thread, whoever watches the workers waits for their first words too. Gives their places.
    pub(crate) fn add_to(&self, set: &mut Set) -> Vec<(usize, Arc<Tail>)> {
        if self.thread.is_some() {
            return Vec::new();
        }
        let tails = self.shared.open_tails();
        tails.into_iter().filter_map(|tail| Some((set.add(tail.fd()?), tail))).collect()
    }

    /// Sees to it that what has come is passed on.
    pub(crate) fn look_at(&mut self, set: &Set, tails: Vec<(usize, Arc<Tail>)>) {
        if self.thread.is_some() {
            return;
        }
        if tails.iter().any(|(place, _)| set.has_some(*place)) || self.has_been_read() {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("taskloom-stderr".to_owned()).spawn(move || shared.run());
            // Without a thread to be had, it is passed on right here.
            self.thread = thread.inspect_err(|_| drop(self.shared.pass_on())).ok();
        } else {
            // Those that only have ended are not waited for again.
            for (_, tail) in tails.iter().filter(|(place, _)| set.is_ready(*place)) {
                tail.lock().read_piece();
            }
        }
    }
}

impl Drop for Tee {
    /// Passes on what has been read, and ends the thread. If nobody reads our own standard error that waits as any `eprintln!` would.
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.bell.ring();
        match self.thread.take() {
            // It catches nothing because nothing in it panics.
            Some(thread) => drop(thread.join()),
            None => drop(self.shared.pass_on()),
        }
    }
}

impl Shared {
    fn tails(&self) -> MutexGuard<'_, Vec<Arc<Tail>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        os::signals::block_all();
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            let mut set = self.pass_on();
            if ended {
                return;
            }
            set.add(self.bell.fd());
            set.wait(None);
            self.bell.answer();
        }
    }

    /// Passes on what is there. Gives what to wait for.
    fn pass_on(&self) -> Set {
        let mut set = Set::default();
        for tail in self.open_tails() {
            let text = tail.pump();
            // If ours is closed there is nobody to tell.
            let _ = io::stderr().write_all(&text);
            if let Some(fd) = tail.fd() {
                set.add(fd);
            }
        }
        set
    }

    /// Those that may have something to say.
    fn open_tails(&self) -> Vec<Arc<Tail>> {
        let mut tails = self.tails();
        // One that is shared with nobody else has nothing more to say once its pipe is gone and all has been passed on.
        tails.retain(|tail| Arc::strong_count(tail) > 1 || tail.has_more());
        tails.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sixteen_lines_are_kept() {
        let mut lines = Lines::default();
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        for piece in text.as_bytes().chunks(7) {
            lines.note(piece);
        }
        lines.note(b"unfinished");
        let lines = lines.texts();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[14], "line 39");
        assert_eq!(lines[15], "unfinished");
    }
}
