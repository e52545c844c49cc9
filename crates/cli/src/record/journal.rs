//! The file that a run's events are added to.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::Place;
use crate::{Stop, program};

/// How long somebody may hold the lock who only looks whether it is held.
const GLANCE: Duration = Duration::from_millis(100);

/// A journal that this process alone writes to, as long as it has it.
#[derive(Debug)]
pub(crate) struct Journal {
    place: Place,
    file: File,
    /// Whether there was a part of it before.
    pub(crate) goes_on: bool,
    /// Where a file of results is to be cut, if it is the same and may hold more than is recorded.
    pub(crate) cut: Option<u64>,
    /// What is to be said about it when the run begins.
    sayings: Vec<String>,
}

impl Journal {
    pub(crate) fn create(place: Place) -> Result<Self, Stop> {
        let file = OpenOptions::new().append(true).read(true).create_new(true).mode(0o600).open(place.journal());
        let file = file.map_err(|error| super::not_written(&place.journal(), &error))?;
        Self::lock(place, file)
    }

    /// The journal of a run that is over.
    pub(crate) fn go_on(place: Place) -> Result<Self, Stop> {
        let cannot = |error: &io::Error| super::not_written(&place.journal(), error);
        let file = OpenOptions::new().append(true).read(true).open(place.journal()).map_err(|error| cannot(&error))?;
        let mut journal = Self::lock(place.clone(), file)?;
        journal.goes_on = true;
        if journal.is_torn().map_err(|error| cannot(&error))? {
            journal.write_now("")?;
        }
        Ok(journal)
    }

    fn lock(place: Place, file: File) -> Result<Self, Stop> {
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if start.elapsed() < GLANCE => thread::sleep(GLANCE / 20),
                Err(Errno::WOULDBLOCK) => break,
                // Some file systems have no locks.
                _ => return Ok(Self { place, file, goes_on: false, cut: None, sayings: Vec::new() }),
            }
        }
        Err(Stop::usage("run-goes-on", format!("run {} is not over yet", place.id)).help(format!(
            "`{} runs cancel {}` stops it",
            program(),
            place.id
        )))
    }

    /// Whether its last line lacks its end.
    fn is_torn(&mut self) -> io::Result<bool> {
        if self.file.seek(SeekFrom::End(0))? == 0 {
            return Ok(false);
        }
        self.file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        Ok(last != *b"\n")
    }

    pub(crate) fn id(&self) -> &str {
        &self.place.id
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    pub(crate) fn say(&mut self, line: String) {
        self.sayings.push(line);
    }

    pub(crate) fn sayings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sayings)
    }

    /// Adds a line.
    pub(crate) fn write_now(&mut self, line: &str) -> Result<(), Stop> {
        self.append(format!("{line}\n").as_bytes())
    }

    /// Adds whole lines.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Stop> {
        self.file.write_all(lines).map_err(|error| super::not_written(&self.place.journal(), &error))
    }
}

/// Whether a process writes to this run's journal now.
pub(crate) fn is_open(place: &Place) -> bool {
    let Ok(file) = File::open(place.journal()) else { return false };
    matches!(flock(&file, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK))
}
