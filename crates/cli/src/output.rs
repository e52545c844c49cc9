//! Standard output, checked: a full disk is an error, a reader that went away a quiet end.
//!
//! `println!` panics on both. Setting SIGPIPE back to its default, the usual cure, would also let a
//! write to a dead worker's pipe kill this process.

use std::{
    io::{self, BufWriter, Stdout, Write},
    time::{Duration, Instant},
};

use crate::Stop;

/// Longest time that a line waits for company, if more are written meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where results go: whole lines, in a buffer. Flush it when there is nothing more to write for now; while there is,
/// it looks after itself.
#[derive(Debug)]
pub struct Output {
    lines: BufWriter<Stdout>,
    flushed: Instant,
}

impl Output {
    /// Standard output. One at a time: each has a buffer of its own.
    pub fn stdout() -> Self {
        Self { lines: BufWriter::with_capacity(64 << 10, io::stdout()), flushed: Instant::now() }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If it cannot be written: [`READER_GONE`](crate::exit::READER_GONE) or [`NOT_WRITTEN`](crate::exit::NOT_WRITTEN).
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), Stop> {
        let written = self.lines.write_all(line.as_ref().as_bytes()).and_then(|()| self.lines.write_all(b"\n"));
        written.map_err(not_written)?;
        if self.flushed.elapsed() < PATIENCE { Ok(()) } else { self.flush() }
    }

    /// Sends what is buffered on its way.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.flushed = Instant::now();
        self.lines.flush().map_err(not_written)
    }
}

fn not_written(error: io::Error) -> Stop {
    Stop::not_written("standard output", &error)
}
