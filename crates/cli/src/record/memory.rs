//! What a record wants of each input while it is read: its key, whether it was done before, and what standard input said.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Key, key::Keys};
use crate::{Stop, input::Text};

/// Successes that were recorded, with how often each was.
pub(crate) type Before = HashMap<Key, u32>;

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) keys: Keys,
    /// None if this run goes on with no other.
    pub(crate) before: Option<Mutex<Before>>,
    pub(crate) spool: Option<Arc<Spool>>,
}

impl Memory {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, before: None, spool: None }
    }

    pub(crate) fn key(&self, text: &Text) -> Key {
        self.keys.key(text)
    }

    /// Whether an input was done before. Each recorded success stands for one input.
    pub(crate) fn was_done(&self, key: Key) -> bool {
        let Some(before) = &self.before else { return false };
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        match before.get_mut(&key) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

/// A copy of standard input.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    ended: AtomicBool,
}

impl Spool {
    /// The name of the first.
    pub(crate) const FIRST: &str = "stdin";
    /// The name of one that is made when there is one already: it takes its place when it is whole.
    pub(crate) const AGAIN: &str = "stdin.part";

    pub(crate) fn new(path: &Path) -> Result<Self, Stop> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| super::not_written(path, &error))?;
        Ok(Self { file, path: path.to_owned(), ended: AtomicBool::new(false) })
    }

    /// `from`, copied as it is read.
    pub(crate) fn copying<R: Read>(self: &Arc<Self>, from: R) -> impl Read + use<R> {
        Tee { from, spool: self.clone() }
    }

    /// Whether all of it has been read.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn end(&self) -> io::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        if self.path.ends_with(Self::AGAIN) {
            std::fs::rename(&self.path, self.path.with_file_name(Self::FIRST))?;
        }
        Ok(())
    }
}

struct Tee<R> {
    from: R,
    spool: Arc<Spool>,
}

/// Why a read failed that could have succeeded: the copy could not be written.
#[derive(Debug)]
pub(crate) struct NotKept(pub(crate) Stop);

impl std::fmt::Display for NotKept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.message())
    }
}

impl std::error::Error for NotKept {}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        let kept = if length == 0 { self.spool.end() } else { (&self.spool.file).write_all(&buffer[..length]) };
        kept.map_err(|error| io::Error::other(NotKept(super::not_written(&self.spool.path, &error))))?;
        Ok(length)
    }
}
