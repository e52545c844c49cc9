//! What a command printed: in memory if it was little, in an unlinked file if it was much.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{Stop, exit, words};

/// As much is read into memory, so that its file can be closed.
const LITTLE: u64 = 4 << 10;
/// How much of a command's output an event carries.
const IN_EVENT: usize = 64 << 10;
/// How much of a file's end is looked at for its last line.
const TAIL: u64 = 4 << 10;

/// Both streams of one attempt.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) stdout: Part,
    pub(crate) stderr: Part,
}

/// One stream.
#[derive(Debug)]
pub(crate) enum Part {
    Little(Vec<u8>),
    Much(File, u64, #[expect(dead_code, reason = "it counts by being there")] Held),
}

/// Counts the files that wait to be written.
#[derive(Debug)]
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Part {
    /// What stands in a command's file, now that the command has ended.
    pub(crate) fn of(file: File, count: &Arc<AtomicUsize>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length > LITTLE {
            return Ok(Self::Much(file, length, Held::new(count)));
        }
        let mut bytes = vec![0; length as usize];
        if length > 0 {
            file.read_exact_at(&mut bytes, 0)?;
        }
        Ok(Self::Little(bytes))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Little(bytes) => bytes.len() as u64,
            Self::Much(_, length, _) => *length,
        }
    }

    /// Gives all of it, piece by piece; in lines, each with this in front, if there is a tag.
    pub(crate) fn copy(
        &mut self,
        tag: Option<&[u8]>,
        mut write: impl FnMut(&[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        match self {
            Self::Little(bytes) => copy(&bytes[..], tag, &mut write),
            Self::Much(file, ..) => {
                file.rewind().map_err(not_read)?;
                copy(BufReader::with_capacity(64 << 10, file), tag, &mut write)
            }
        }
    }

    /// The start of it as text, for an event, and whether that is all.
    pub(crate) fn text(&self) -> io::Result<(String, bool)> {
        let mut start = vec![0; self.len().min(IN_EVENT as u64) as usize];
        match self {
            Self::Little(bytes) => start.copy_from_slice(bytes),
            Self::Much(file, ..) => file.read_exact_at(&mut start, 0)?,
        }
        Ok((String::from_utf8_lossy(&start).into_owned(), start.len() as u64 == self.len()))
    }

    /// The last line of it, safe to be shown.
    pub(crate) fn last_line(&self) -> Option<String> {
        let from = self.len().saturating_sub(TAIL);
        let mut end = vec![0; (self.len() - from) as usize];
        match self {
            Self::Little(bytes) => end.copy_from_slice(bytes),
            Self::Much(file, ..) => file.read_exact_at(&mut end, from).ok()?,
        }
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(words::shown(line, 400))
    }
}

fn not_read(error: io::Error) -> Stop {
    Stop::new(exit::NOT_WRITTEN, "output-error", format!("cannot read back what a command printed: {error}"))
}

fn copy(
    mut from: impl BufRead,
    tag: Option<&[u8]>,
    write: &mut impl FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut at_start = true;
    loop {
        let piece = from.fill_buf().map_err(not_read)?;
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        match tag {
            None => write(piece)?,
            Some(tag) => {
                for line in piece.split_inclusive(|byte| *byte == b'\n') {
                    if at_start {
                        write(tag)?;
                    }
                    write(line)?;
                    at_start = line.ends_with(b"\n");
                }
            }
        }
        from.consume(length);
    }
    // A tagged line that lacks its end would swallow the next tag.
    if tag.is_some() && !at_start { write(b"\n") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn part(bytes: &[u8]) -> Part {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Part::of(file, &Arc::default()).unwrap()
    }

    fn copied(bytes: &[u8], tag: Option<&[u8]>) -> Vec<u8> {
        let mut all = Vec::new();
        let write = |piece: &[u8]| {
            all.extend_from_slice(piece);
            Ok(())
        };
        part(bytes).copy(tag, write).unwrap();
        all
    }

    #[test]
    fn little_and_much_are_the_same_text() {
        for size in [0, 1, LITTLE as usize, LITTLE as usize + 1, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|at| b"abc\n"[at % 4]).collect();
            assert_eq!(copied(&bytes, None), bytes, "{size}");
            let tagged = copied(&bytes, Some(b">"));
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let mut expected: Vec<u8> = lines.flat_map(|line| [b">", line].concat()).collect();
            if size % 4 != 0 {
                expected.push(b'\n');
            }
            assert_eq!(tagged, expected, "{size}");
        }
    }

    #[test]
    fn the_last_line_is_found_at_the_end() {
        assert_eq!(part(b"one\ntwo\n\n").last_line().unwrap(), "two");
        assert_eq!(part(&[&[b'x'; 100_000][..], b"\nlast\x1b[0m"].concat()).last_line().unwrap(), "last\\u{1b}[0m");
        assert_eq!(part(b"").last_line(), None);
    }

    #[test]
    fn files_are_counted_while_they_are_held() {
        let count = Arc::new(AtomicUsize::new(0));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 10_000]).unwrap();
        let part = Part::of(file, &count).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        drop(part);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
