//! What a journal says.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, ErrorKind},
};

use serde::{Deserialize, Serialize};

use super::{Header, Key, Place, header, memory::Before};
use crate::{Stop, exit, input::cannot_read, words};

/// A run, as far as it is recorded.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) header: Header,
    /// The process that wrote last.
    pub(crate) pid: u32,
    pub(crate) successes: Before,
    /// Inputs whose last outcome is no success, by number.
    pub(crate) failures: BTreeMap<u64, Failure>,
    /// How many inputs succeeded.
    pub(crate) ok: usize,
    pub(crate) total: Option<usize>,
    /// How the last part of it ended; none if it goes on, or ended without a word.
    pub(crate) end: Option<Ended>,
    /// Where the results end that are recorded, in their file.
    pub(crate) out_end: u64,
    /// Standard input was read, and perhaps not to its end.
    pub(crate) may_lack_input: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) index: u64,
    pub(crate) source: String,
    pub(crate) status: String,
    pub(crate) input: String,
    pub(crate) message: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Ended {
    pub(crate) status: String,
    pub(crate) wall_s: f64,
    pub(crate) exit_code: u8,
}

/// One line of a journal behind the first: what is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    index: u64,
    /// From the first to the last.
    indexes: Vec<(u64, u64)>,
    key: Option<Key>,
    #[serde(borrow)]
    keys: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    source: Option<String>,
    input: Option<String>,
    error: Option<Trouble>,
    pid: u32,
    total: Option<usize>,
    stdin: Option<Cow<'a, str>>,
    wall_s: Option<f64>,
    exit_code: u8,
    out_end: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trouble {
    message: String,
}

impl History {
    /// Reads all of it.
    pub(crate) fn read(place: &Place) -> Result<Self, Stop> {
        let path = place.journal();
        let mut reader =
            BufReader::with_capacity(64 << 10, File::open(&path).map_err(|error| cannot_read(&path, &error))?);
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            match reader.read_until(b'\n', line) {
                Ok(length) => Ok(length > 0),
                // A run that was deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(cannot_read(&path, &error)),
            }
        };
        next(&mut line)?;
        let header = header(place, &line)?;
        let mut history = Self {
            pid: header.pid,
            total: header.total,
            header,
            successes: Before::new(),
            failures: BTreeMap::new(),
            ok: 0,
            end: None,
            out_end: 0,
            may_lack_input: true,
        };
        while next(&mut line)? {
            // A line that was torn says nothing: what it would have said was done is done again.
            if line.ends_with(b"\n")
                && let Ok(line) = serde_json::from_slice(&line)
            {
                history.take(line);
            }
        }
        Ok(history)
    }

    fn take(&mut self, line: Line<'_>) {
        self.out_end = self.out_end.max(line.out_end);
        match &*line.event {
            "resumed" => {
                (self.pid, self.end) = (line.pid, None);
                self.total = line.total.or(self.total);
            }
            "run-finished" => {
                self.total = line.total.or(self.total);
                self.may_lack_input &= line.stdin.as_deref() != Some("whole");
                let wall_s = line.wall_s.unwrap_or_default();
                self.end = Some(Ended { status: line.status.into_owned(), wall_s, exit_code: line.exit_code });
            }
            "task-finished" if line.status == "ok" => {
                if let Some(key) = line.key {
                    *self.successes.entry(key).or_default() += 1;
                }
                self.ok += 1;
                self.failures.remove(&line.index);
            }
            "tasks-finished" => {
                for key in Key::several(&line.keys) {
                    *self.successes.entry(key).or_default() += 1;
                }
                for (first, last) in line.indexes {
                    let next = last.saturating_add(1);
                    self.ok += usize::try_from(next.saturating_sub(first)).unwrap_or_default();
                    let mut behind = self.failures.split_off(&first);
                    self.failures.append(&mut behind.split_off(&next));
                }
            }
            "task-finished" => {
                let failure = Failure {
                    index: line.index,
                    source: line.source.unwrap_or_default(),
                    status: line.status.into_owned(),
                    input: line.input.unwrap_or_default(),
                    message: line.error.unwrap_or_default().message,
                };
                self.failures.insert(line.index, failure);
            }
            _ => {}
        }
    }
}

fn header(place: &Place, line: &[u8]) -> Result<Header, Stop> {
    let read: Result<Header, _> = serde_json::from_slice(line);
    match read {
        Ok(header) if header.format <= header::FORMAT => Ok(header),
        Ok(header) => {
            let format = header.format;
            Err(Stop::new(exit::FAILED, "bad-record", format!("run {} was recorded by a newer program", place.id))
                .reason(format!("its format is {format}; this program reads up to {}", header::FORMAT)))
        }
        Err(error) => {
            let error = words::shown(&error.to_string(), 200);
            Err(Stop::new(
                exit::FAILED,
                "bad-record",
                format!("the record of run {} cannot be read: {error}", place.id),
            ))
        }
    }
}
