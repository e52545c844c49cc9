//! Which outcomes are safe: those whose results have been written. Only they enter the journal.

use std::collections::VecDeque;

/// One outcome.
#[derive(Debug)]
struct Mark {
    /// Where the output ends when its result is written.
    end: u64,
    /// Where its line ends.
    line: usize,
    is_success: bool,
}

/// Outcomes in the order in which their results are written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Lines for the journal, one for each outcome, if there is a journal.
    lines: Vec<u8>,
    marks: VecDeque<Mark>,
    /// How far the output was written at the last look.
    written: u64,
}

impl Ledger {
    /// An outcome whose result ends there.
    pub(super) fn add(&mut self, end: u64, is_success: bool, line: Option<&str>) {
        if let Some(line) = line {
            self.lines.extend_from_slice(line.as_bytes());
            self.lines.push(b'\n');
        }
        self.marks.push_back(Mark { end, line: self.lines.len(), is_success });
    }

    /// Whether more of them may be safe, now that the output is written up to there.
    pub(super) fn has_news(&self, written: u64) -> bool {
        written != self.written && !self.marks.is_empty()
    }

    /// Gives the lines of those that are safe.
    pub(super) fn settle(
        &mut self,
        written: u64,
        append: impl FnOnce(&[u8]) -> Result<(), crate::Stop>,
    ) -> Result<(), crate::Stop> {
        self.written = written;
        let safe = self.marks.partition_point(|mark| mark.end <= written);
        let Some(length) = self.marks.drain(..safe).next_back().map(|mark| mark.line) else { return Ok(()) };
        self.marks.iter_mut().for_each(|mark| mark.line -= length);
        let append = if length > 0 { append(&self.lines[..length]) } else { Ok(()) };
        self.lines.drain(..length);
        append
    }

    /// How many successes are not safe.
    pub(super) fn waiting(&self) -> usize {
        self.marks.iter().filter(|mark| mark.is_success).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_when_their_results_are_written() {
        let mut ledger = Ledger::default();
        for (end, line) in [(5, "a"), (5, "b"), (9, "c")] {
            ledger.add(end, line != "b", Some(line));
        }
        let mut settled = |written| {
            let mut text = String::new();
            ledger
                .settle(written, |lines| {
                    text += std::str::from_utf8(lines).unwrap();
                    Ok(())
                })
                .unwrap();
            (text, ledger.waiting())
        };
        assert_eq!(settled(4), (String::new(), 2));
        assert_eq!(settled(8), ("a\nb\n".to_owned(), 1));
        assert_eq!(settled(9), ("c\n".to_owned(), 0));
    }
}
