//! Which outcomes are safe: those whose results have been written. Only they enter the journal.

use std::collections::VecDeque;

use crate::{Stop, successes::Successes};

/// Outcomes that are written at once.
#[derive(Debug)]
enum Mark {
    One {
        /// Where the output ends when its result is written.
        end: u64,
        is_success: bool,
        /// For the journal, if there is one.
        line: Option<String>,
    },
    Many {
        /// Where their results begin.
        start: u64,
        successes: Successes,
        /// How many of them are in the journal.
        settled: usize,
    },
}

/// Outcomes in the order in which their results are written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    marks: VecDeque<Mark>,
    /// How far the output was written at the last look.
    written: u64,
}

impl Ledger {
    /// An outcome whose result ends there.
    pub(super) fn add(&mut self, end: u64, is_success: bool, line: Option<String>) {
        self.marks.push_back(Mark::One { end, is_success, line });
    }

    /// Successes whose results begin there.
    pub(super) fn add_many(&mut self, start: u64, successes: Successes) {
        self.marks.push_back(Mark::Many { start, successes, settled: 0 });
    }

    /// Whether more of them may be safe, now that the output is written up to there.
    pub(super) fn has_news(&self, written: u64) -> bool {
        written != self.written && !self.marks.is_empty()
    }

    /// Gives the journal's lines of those that are safe; `to_file` if the output is a file with a place to remember.
    pub(super) fn settle(
        &mut self,
        written: u64,
        to_file: bool,
        append: impl FnOnce(&[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.written = written;
        let mut lines = String::new();
        while let Some(mark) = self.marks.front_mut() {
            match mark {
                Mark::One { end, .. } if *end > written => break,
                Mark::One { line, .. } => {
                    if let Some(line) = line {
                        lines += line;
                        lines.push('\n');
                    }
                }
                Mark::Many { start, successes, settled } => {
                    let safe = successes.within(written.saturating_sub(*start));
                    if safe > *settled {
                        let end = to_file.then(|| *start + successes.end(safe));
                        lines += &successes.line(*settled..safe, end);
                        *settled = safe;
                    }
                    if safe < successes.len() {
                        break;
                    }
                }
            }
            self.marks.pop_front();
        }
        if lines.is_empty() { Ok(()) } else { append(lines.as_bytes()) }
    }

    /// How many successes are not safe.
    pub(super) fn waiting(&self) -> usize {
        let waiting = |mark: &Mark| match mark {
            Mark::One { is_success, .. } => usize::from(*is_success),
            Mark::Many { successes, settled, .. } => successes.len() - settled,
        };
        self.marks.iter().map(waiting).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(ledger: &mut Ledger, written: u64) -> (String, usize) {
        let mut text = String::new();
        let append = |lines: &[u8]| {
            text += std::str::from_utf8(lines).unwrap();
            Ok(())
        };
        ledger.settle(written, true, append).unwrap();
        (text, ledger.waiting())
    }

    #[test]
    fn lines_come_when_their_results_are_written() {
        let mut ledger = Ledger::default();
        for (end, line) in [(5, "a"), (5, "b"), (9, "c")] {
            ledger.add(end, line != "b", Some(line.to_owned()));
        }
        assert_eq!(settled(&mut ledger, 4), (String::new(), 2));
        assert_eq!(settled(&mut ledger, 8), ("a\nb\n".to_owned(), 1));
        assert_eq!(settled(&mut ledger, 9), ("c\n".to_owned(), 0));
    }

    #[test]
    fn of_many_those_come_whose_results_are_written() {
        let mut ledger = Ledger::default();
        let mut successes = Successes::default();
        (1..=3).for_each(|number| successes.add(number, None, &number.into()));
        successes.take_text();
        ledger.add_many(100, successes);
        ledger.add(106, true, Some("last".to_owned()));
        let line = |ranges: &str, end: u64| {
            format!(
                "{{\"v\":1,\"event\":\"tasks-finished\",\"indexes\":{ranges},\"status\":\"ok\",\"out_end\":{end}}}\n"
            )
        };
        assert_eq!(settled(&mut ledger, 101), (String::new(), 4));
        assert_eq!(settled(&mut ledger, 105), (line("[[1,2]]", 104), 2));
        assert_eq!(settled(&mut ledger, 106), (line("[[3,3]]", 106) + "last\n", 0));
    }
}
