//! Standard output, checked: a full disk is an error, a reader that went away a quiet end.
//!
//! `println!` panics on both. Setting SIGPIPE back to its default, the usual cure, would also let a
//! write to a dead worker's pipe kill this process.

use std::io::{self, BufWriter, Stdout, Write};

use crate::Stop;

/// Where results go: whole lines, in a buffer that is flushed when there is nothing more to write for now.
#[derive(Debug)]
pub struct Output(BufWriter<Stdout>);

impl Output {
    /// Standard output. One at a time: each has a buffer of its own.
    pub fn stdout() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If it cannot be written: [`READER_GONE`](crate::exit::READER_GONE) or [`NOT_WRITTEN`](crate::exit::NOT_WRITTEN).
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), Stop> {
        let written = self.0.write_all(line.as_ref().as_bytes()).and_then(|()| self.0.write_all(b"\n"));
        written.map_err(|error| Stop::not_written("standard output", &error))
    }

    /// Sends what is buffered on its way.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.0.flush().map_err(|error| Stop::not_written("standard output", &error))
    }
}
