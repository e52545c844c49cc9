//! Standard output, checked: a full disk is an error, a reader that went away a quiet end.
//!
//! `println!` panics on both. Setting SIGPIPE back to its default, the usual cure, would also let a
//! write to a dead worker's pipe kill this process.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use crate::{Stop, words};

/// Longest time that a line waits for company, if more are written meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where results go: whole lines, in a buffer. Flush it when there is nothing more to write for now; while there is,
/// it looks after itself.
pub struct Output {
    lines: BufWriter<Box<dyn Write + Send>>,
    name: String,
    flushed: Instant,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output. One at a time: each has a buffer of its own.
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), "standard output".to_owned())
    }

    /// A file that is not there yet, or is to be overwritten by `force`.
    pub(crate) fn file(path: &Path, force: bool) -> Result<Self, Stop> {
        let name = words::shown(&path.to_string_lossy(), 200);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(force).create_new(!force);
        match options.open(path) {
            Ok(file) => Ok(Self::new(Box::new(file), name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Stop::usage("output-exists", format!("{name} is there already")).help("`--force` overwrites it"))
            }
            Err(error) => Err(Stop::not_written(&name, &error)),
        }
    }

    fn new(to: Box<dyn Write + Send>, name: String) -> Self {
        Self { lines: BufWriter::with_capacity(64 << 10, to), name, flushed: Instant::now() }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If it cannot be written: [`READER_GONE`](crate::exit::READER_GONE) or [`NOT_WRITTEN`](crate::exit::NOT_WRITTEN).
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), Stop> {
        self.bytes(line.as_ref().as_bytes())?;
        self.bytes(b"\n")?;
        self.be_seen()
    }

    /// Sends what is buffered on its way.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.flushed = Instant::now();
        self.lines.flush().map_err(|error| Stop::not_written(&self.name, &error))
    }

    /// Writes what may be any part of a line.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.lines.write_all(bytes).map_err(|error| Stop::not_written(&self.name, &error))
    }

    /// Flushes if it is time to.
    pub(crate) fn be_seen(&mut self) -> Result<(), Stop> {
        if self.flushed.elapsed() < PATIENCE { Ok(()) } else { self.flush() }
    }
}
