//! Standard output, checked: a full disk is an error, a reader that went away a quiet end.
//!
//! `println!` panics on both. Setting SIGPIPE back to its default, the usual cure, would also let a
//! write to a dead worker's pipe kill this process.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use crate::{Stop, words};

/// Longest time that a line waits for company, if more are written meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);
/// As much is written at once.
const BUFFER: usize = 64 << 10;

/// Where results go: whole lines, in a buffer. Flush it when there is nothing more to write for now; while there is,
/// it looks after itself.
pub struct Output {
    to: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    name: String,
    flushed: Instant,
    /// How much has left the buffer, from the start of the file if it is one.
    written: u64,
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refused,
    Overwritten,
    /// More is added to it, behind this place, if it is known that what follows is not to stay.
    GoesOn(Option<u64>),
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output. One at a time: each has a buffer of its own.
    pub fn stdout() -> Self {
        let name = "standard output".to_owned();
        // Not through `Stdout`, whose own buffer would say that something is written that is not.
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Self::new(Box::new(File::from(descriptor)), name, 0),
            Err(_) => Self::new(Box::new(io::stdout()), name, 0),
        }
    }

    /// A file that is not there yet, or is dealt with like this.
    pub(crate) fn file(path: &Path, existing: Existing) -> Result<Self, Stop> {
        let name = words::shown(&path.to_string_lossy(), 200);
        let mut options = OpenOptions::new();
        match existing {
            Existing::Refused => options.write(true).create_new(true),
            Existing::Overwritten => options.write(true).create(true).truncate(true),
            Existing::GoesOn(_) => options.append(true).create(true),
        };
        let opened = options.open(path).and_then(|file| {
            let mut length = if file.metadata()?.is_file() { file.metadata()?.len() } else { 0 };
            if let Existing::GoesOn(Some(end)) = existing
                && end < length
            {
                file.set_len(end)?;
                length = end;
            }
            Ok((file, length))
        });
        match opened {
            Ok((file, length)) => Ok(Self::new(Box::new(file), name, length)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Stop::usage("output-exists", format!("{name} is there already"))
                    .help("`--force` overwrites it, `--resume RUN` goes on with it"))
            }
            Err(error) => Err(Stop::not_written(&name, &error)),
        }
    }

    fn new(to: Box<dyn Write + Send>, name: String, written: u64) -> Self {
        Self { to, buffer: Vec::with_capacity(BUFFER), name, flushed: Instant::now(), written }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How far it is written, and how far it will be when it is flushed.
    pub(crate) fn extent(&self) -> (u64, u64) {
        (self.written, self.written + self.buffer.len() as u64)
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
        let mut done = 0;
        let result = loop {
            if done == self.buffer.len() {
                break Ok(());
            }
            match self.to.write(&self.buffer[done..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(length) => done += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.written += done as u64;
        // What could not be written stays: it will never be, and counts.
        self.buffer.drain(..done);
        result.map_err(|error| Stop::not_written(&self.name, &error))
    }

    /// Writes what may be any part of a line.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.buffer.len() + bytes.len() > BUFFER && !self.buffer.is_empty() {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Flushes if it is time to.
    pub(crate) fn be_seen(&mut self) -> Result<(), Stop> {
        if self.flushed.elapsed() < PATIENCE { Ok(()) } else { self.flush() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.0);
            self.0 -= length;
            if length == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(length) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_counted_to_the_byte() {
        let mut output = Output::new(Box::new(Full(10)), "x".to_owned(), 100);
        output.line("abcd").unwrap();
        assert_eq!(output.extent(), (100, 105));
        output.line("efghijk").unwrap();
        assert_eq!(output.flush().unwrap_err().exit(), crate::exit::NOT_WRITTEN);
        assert_eq!(output.extent(), (110, 113));
    }
}
