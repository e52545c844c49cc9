//! Successes of short tasks, many at a time: their results, and what the journal is to know of them.

use std::ops::Range;

use serde_json::Value;

use crate::{event::Event, record::Key};

/// Some of them, in the order in which their results are written.
#[derive(Debug, Default)]
pub(crate) struct Successes {
    /// The results, a line each.
    text: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    numbers: Vec<u64>,
    /// As many, or none if nothing is recorded.
    keys: Vec<Key>,
}

impl Successes {
    pub(crate) fn add(&mut self, number: u64, key: Option<Key>, result: &Value) {
        // A value has no keys but strings, and memory refuses nothing.
        let _ = serde_json::to_writer(&mut self.text, result);
        self.text.push(b'\n');
        self.ends.push(self.text.len());
        self.numbers.push(number);
        self.keys.extend(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The results. They are not needed here any more.
    pub(crate) fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// How many have their results within so many bytes.
    pub(crate) fn within(&self, bytes: u64) -> usize {
        self.ends.partition_point(|end| *end as u64 <= bytes)
    }

    /// Where the last of so many ends.
    pub(crate) fn end(&self, count: usize) -> u64 {
        count.checked_sub(1).map_or(0, |last| self.ends[last] as u64)
    }

    /// Some of them for the journal: one line.
    pub(crate) fn line(&self, some: Range<usize>, out_end: Option<u64>) -> String {
        let event = Event::new("tasks-finished")
            .with("indexes", ranges(&self.numbers[some.clone()]))
            .with("status", "ok")
            .with_some("out_end", out_end);
        let mut line = event.to_string();
        if let Some(keys) = self.keys.get(some).filter(|keys| !keys.is_empty()) {
            // Digits need no escapes.
            line.pop();
            line.reserve(Key::DIGITS * keys.len() + 16);
            line += ",\"keys\":\"";
            keys.iter().for_each(|key| key.append_to(&mut line));
            line += "\"}";
        }
        line.push('\n');
        line
    }
}

/// Rising numbers, as ranges from the first to the last.
fn ranges(numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_which_they_are() {
        let mut successes = Successes::default();
        for number in [3, 4, 7, 8, 9, 12] {
            successes.add(number, None, &Value::from(number));
        }
        assert_eq!(successes.take_text(), b"3\n4\n7\n8\n9\n12\n");
        let line = |some| successes.line(some, Some(5));
        let start = r#"{"v":1,"event":"tasks-finished","indexes":"#;
        assert_eq!(line(0..6), format!("{start}[[3,4],[7,9],[12,12]],\"status\":\"ok\",\"out_end\":5}}\n"));
        assert_eq!(line(1..4), format!("{start}[[4,4],[7,8]],\"status\":\"ok\",\"out_end\":5}}\n"));
    }

    #[test]
    fn what_is_written_in_part_is_counted_by_whole_lines() {
        let mut successes = Successes::default();
        ["a", "bb", "c"].into_iter().zip(1..).for_each(|(text, number)| successes.add(number, None, &text.into()));
        assert_eq!([0, 3, 4, 8, 9, 12, 13, 99].map(|bytes| successes.within(bytes)), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!([0, 1, 2, 3].map(|count| successes.end(count)), [0, 4, 9, 13]);
    }
}
