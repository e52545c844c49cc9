//! What a worker's tasks print, kept for their outcome.
//!
//! The worker's standard output and standard error are files in memory that both sides hold, so that
//! what was printed outlives a crash. The worker says from where to where a task has printed; for a task
//! that died it is everything behind what was told before. Whatever else is written there, before the first
//! task, between two, or later by a process that a task left behind, belongs to nobody or to the task that then runs.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use taskloom_core::TaskOutput;

use crate::{os, stderr::last_lines};

/// Most that is kept of one task's stream: the end of it.
const MOST: u64 = 1 << 20;

/// Both streams of one worker.
#[derive(Debug)]
pub(crate) struct Capture {
    stdout: Stream,
    stderr: Stream,
}

/// Where a task's output lies in a stream.
pub(crate) type Place = (u64, u64);

#[derive(Debug)]
struct Stream {
    file: File,
    /// What comes before has been read, or will not be.
    seen: AtomicU64,
    /// What comes before may have been freed, and reads as zeroes.
    freed: AtomicU64,
}

impl Capture {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { stdout: Stream::new()?, stderr: Stream::new()? })
    }

    /// Standard output and standard error for the worker.
    pub(crate) fn ends(&self) -> io::Result<[Stdio; 2]> {
        Ok([self.stdout.file.try_clone()?.into(), self.stderr.file.try_clone()?.into()])
    }

    /// What lies at these places.
    pub(crate) fn take(&self, stdout: Place, stderr: Place) -> TaskOutput {
        output(self.stdout.take(stdout.0..stdout.1), self.stderr.take(stderr.0..stderr.1))
    }

    /// What nobody has been told of: a task that died has printed it.
    pub(crate) fn rest(&self) -> TaskOutput {
        output(self.stdout.rest(), self.stderr.rest())
    }

    /// The last lines on standard error that nobody has been told of.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let end = self.stderr.len();
        let start = self.stderr.seen.load(Ordering::Relaxed).max(end.saturating_sub(MOST));
        last_lines(&self.stderr.read(start.min(end)..end))
    }

    /// Lets go of what a running task has printed too much. To be called now and then.
    pub(crate) fn trim(&self) {
        self.stdout.trim();
        self.stderr.trim();
    }
}

fn output(stdout: (Vec<u8>, u64), stderr: (Vec<u8>, u64)) -> TaskOutput {
    let mut output = TaskOutput::default();
    (output.stdout, output.stderr) = (stdout.0, stderr.0);
    output.dropped = stdout.1 + stderr.1;
    output
}

impl Stream {
    fn new() -> io::Result<Self> {
        Ok(Self { file: os::files::in_memory(c"taskloom-output")?, seen: AtomicU64::new(0), freed: AtomicU64::new(0) })
    }

    fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    fn rest(&self) -> (Vec<u8>, u64) {
        self.take(self.seen.load(Ordering::Relaxed)..self.len())
    }

    /// The end of what lies there, and how much came before that. The place comes from the worker, and may be wrong.
    fn take(&self, place: Range<u64>) -> (Vec<u8>, u64) {
        let end = place.end.min(self.len());
        let start = place.start.min(end);
        let kept = start.max(end.saturating_sub(MOST));
        let bytes = self.read(kept..end);
        self.seen.fetch_max(end, Ordering::Relaxed);
        self.let_go(end);
        let dropped = end - start - bytes.len() as u64;
        (bytes, dropped)
    }

    /// What lies there, without what has been freed: its end.
    fn read(&self, place: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; (place.end - place.start) as usize];
        // The worker may have cut its own file short.
        if self.file.read_exact_at(&mut bytes, place.start).is_err() {
            return Vec::new();
        }
        // A trim may have come before its reader, or between: the mark is set before anything is freed.
        let freed = self.freed.load(Ordering::Acquire).clamp(place.start, place.end);
        bytes.split_off((freed - place.start) as usize)
    }

    fn trim(&self) {
        if let Some(end) = self.len().checked_sub(2 * MOST) {
            self.let_go(end);
        }
    }

    fn let_go(&self, end: u64) {
        self.freed.fetch_max(end, Ordering::AcqRel);
        os::files::let_go(&self.file, end);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_task_gets_what_lies_at_its_place() {
        let capture = Capture::new().unwrap();
        (&capture.stdout.file).write_all(b"before mine after").unwrap();
        let output = capture.take((7, 11), (0, 0));
        assert_eq!((&output.stdout[..], &output.stderr[..], output.dropped), (&b"mine"[..], &b""[..], 0));
        assert_eq!(capture.rest().stdout, b" after");
    }

    #[test]
    fn of_much_the_end_is_kept() {
        let capture = Capture::new().unwrap();
        for _ in 0..5 {
            (&capture.stderr.file).write_all(&vec![b'a'; MOST as usize]).unwrap();
            capture.trim();
        }
        (&capture.stderr.file).write_all(b"end").unwrap();
        let output = capture.rest();
        assert_eq!(output.stderr.len() as u64, MOST);
        assert_eq!(output.dropped, 4 * MOST + 3);
        assert!(output.stderr.ends_with(b"aaend"));
    }

    #[test]
    fn what_was_freed_before_it_was_read_is_counted_as_dropped() {
        let capture = Capture::new().unwrap();
        (&capture.stdout.file).write_all(b"of a task whose end has not been heard").unwrap();
        for _ in 0..3 {
            (&capture.stdout.file).write_all(&vec![b'b'; MOST as usize]).unwrap();
        }
        capture.trim();
        let output = capture.take((0, 9), (0, 0));
        assert_eq!((&output.stdout[..], output.dropped), (&b""[..], 9));
    }

    #[test]
    fn last_lines_are_those_that_nobody_was_told_of() {
        let capture = Capture::new().unwrap();
        (&capture.stderr.file).write_all(&[b'x'; 5000]).unwrap();
        let _ = capture.take((0, 0), (0, 5000));
        (&capture.stderr.file).write_all(b"dying words\n").unwrap();
        assert_eq!(capture.last_lines(), ["dying words"]);
    }

    #[test]
    fn wrong_places_are_no_harm() {
        let capture = Capture::new().unwrap();
        (&capture.stdout.file).write_all(b"text").unwrap();
        assert_eq!(capture.take((u64::MAX, 2), (3, u64::MAX)).stdout, b"");
        assert_eq!(capture.take((9, 1), (u64::MAX, u64::MAX)).stderr, b"");
    }
}
