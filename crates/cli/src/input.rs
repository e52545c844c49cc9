//! Where inputs come from.
//!
//! ```text
//!  file, standard input ──▶ lines ─┐
//!  pattern ──▶ paths ──────────────┤
//!  range ──▶ integers ─────────────┼──▶ Input{origin, text} ──▶ a task, a command, or BadInput
//!  words typed ──▶ combinations ───┘
//! ```

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::value::RawValue;
use taskloom::JsonFault;

use crate::{
    Stop, exit,
    line::Line,
    record::{Key, NotKept, Spool},
    words,
};

/// One source of inputs, in the order in which they are read.
#[derive(Debug)]
pub(crate) enum Source {
    /// JSON values, one a line. The byte ends a line.
    Json(Place, u8),
    /// A file with an array of JSON values.
    Array(PathBuf),
    /// Strings, one a line.
    Lines(Place, u8),
    /// Paths of files.
    Paths(Vec<PathBuf>),
    /// Integers.
    Range(Range<i64>),
    /// JSON values that were typed.
    Typed(Vec<String>),
    /// Lists of words that were typed: each word of the first with each of the others.
    Lists(Vec<Vec<OsString>>),
    /// One input for a task without arguments; there is nothing to show of it.
    Nothing,
}

/// Something that has lines.
#[derive(Debug)]
pub(crate) enum Place {
    Stdin,
    File(PathBuf),
    /// What was once read from standard input.
    Kept(PathBuf),
}

/// Where an input stands: in which source, and at which line or position from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: usize,
    pub(crate) at: u64,
}

/// One input as it was read.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) origin: Origin,
    pub(crate) text: Text,
    /// By what its success is recorded, if it is.
    pub(crate) key: Option<Key>,
}

/// The text of an input.
#[derive(Debug)]
pub(crate) enum Text {
    /// JSON, as it stands.
    Json(Line),
    /// A string that is not JSON yet.
    Plain(Line),
    /// A string that is no text at all.
    Bytes(Vec<u8>),
    /// What should be JSON, and is no text at all.
    BadJson(Vec<u8>),
    /// One word from each of several lists.
    Several(Vec<Vec<u8>>),
}

impl Source {
    /// Whether it can be read twice: what can is checked whole before the first task starts.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Json(place, _) | Self::Lines(place, _) => place.is_regular(),
            Self::Array(file) => file.is_file(),
            Self::Paths(_) | Self::Range(_) | Self::Typed(_) | Self::Lists(_) | Self::Nothing => true,
        }
    }

    /// Whether it is what standard input says now.
    pub(crate) fn is_stdin(&self) -> bool {
        matches!(self, Self::Json(Place::Stdin, _) | Self::Lines(Place::Stdin, _))
    }

    /// Whether it is what standard input said when it was recorded.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Json(Place::Kept(_), _) | Self::Lines(Place::Kept(_), _))
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Json(place, _) | Self::Lines(place, _) => place.name(),
            Self::Array(file) => words::shown(&file.to_string_lossy(), 200),
            Self::Paths(_) => "--files".to_owned(),
            Self::Range(range) => format!("--range {}..{}", range.start, range.end),
            Self::Typed(_) => "--arg".to_owned(),
            Self::Lists(_) => ":::".to_owned(),
            Self::Nothing => String::new(),
        }
    }

    /// Its inputs. The number is its place among the sources.
    /// Standard input is copied to `spool`.
    pub(crate) fn inputs(
        &self,
        number: usize,
        spool: Option<&Arc<Spool>>,
    ) -> Result<Box<dyn Iterator<Item = Result<Input, Stop>> + '_>, Stop> {
        let input = move |at: u64, text: Text| Ok(Input { origin: Origin { source: number, at }, text, key: None });
        Ok(match self {
            Self::Json(place, end) => Box::new(place.lines(number, spool, *end, true)?),
            Self::Array(file) => {
                Box::new(elements(file)?.into_iter().zip(1..).map(move |(text, at)| input(at, Text::Json(text.into()))))
            }
            Self::Lines(place, end) => Box::new(place.lines(number, spool, *end, false)?),
            Self::Paths(paths) => Box::new(
                paths.iter().zip(1..).map(move |(path, at)| input(at, Text::of(path.as_os_str().as_bytes().to_vec()))),
            ),
            Self::Range(range) => {
                Box::new(range.clone().zip(1..).map(move |(n, at)| input(at, Text::Json(n.to_string().into()))))
            }
            Self::Typed(values) => {
                Box::new(values.iter().zip(1..).map(move |(text, at)| input(at, Text::Json(text.as_str().into()))))
            }
            Self::Lists(lists) => Box::new(combinations(lists).zip(1..).map(move |(text, at)| input(at, text))),
            Self::Nothing => Box::new(std::iter::once(input(1, Text::Json("null".into())))),
        })
    }

    /// What its input number `at` is called in messages: `images.jsonl:17`.
    pub(crate) fn label(&self, at: u64) -> String {
        match self {
            Self::Json(..) | Self::Lines(..) => format!("{}:{at}", self.name()),
            Self::Array(_) => format!("{}[{}]", self.name(), at - 1),
            Self::Paths(paths) => {
                let path = usize::try_from(at - 1).ok().and_then(|at| paths.get(at));
                words::shown(&path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()), 200)
            }
            Self::Range(_) | Self::Typed(_) | Self::Lists(_) => format!("{}, number {at}", self.name()),
            Self::Nothing => String::new(),
        }
    }
}

/// The values of a file's array, each as it stands.
fn elements(file: &Path) -> Result<Vec<String>, Stop> {
    let text = std::fs::read_to_string(file).map_err(|error| cannot_read(file, &error))?;
    let parsed: Result<Vec<&RawValue>, _> = serde_json::from_str(&text);
    let values = parsed.map_err(|error| {
        let (name, at) = (words::shown(&file.to_string_lossy(), 200), (error.line(), error.column()));
        let fault = JsonFault::not_json(&text, &error);
        Stop::new(exit::BAD_INPUT, "bad-input", format!("{name}:{}:{}: {}", at.0, at.1, fault.message))
            .help("a `.json` file holds one array; one value a line is called `.jsonl`")
    })?;
    Ok(values.into_iter().map(|value| value.get().to_owned()).collect())
}

/// Each word of the first list with each of the others, the last list going round fastest.
fn combinations(lists: &[Vec<OsString>]) -> impl Iterator<Item = Text> {
    let total: usize = lists.iter().map(Vec::len).product();
    (0..total).map(move |mut at| {
        let mut words: Vec<Vec<u8>> = lists
            .iter()
            .rev()
            .map(|list| {
                let word = list[at % list.len()].clone().into_vec();
                at /= list.len();
                word
            })
            .collect();
        words.reverse();
        match <[_; 1]>::try_from(words) {
            Ok([word]) => Text::of(word),
            Err(words) => Text::Several(words),
        }
    })
}

impl Place {
    pub(crate) fn new(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin | Self::Kept(_) => "standard input".to_owned(),
            Self::File(path) => words::shown(&path.to_string_lossy(), 200),
        }
    }

    fn is_regular(&self) -> bool {
        matches!(self, Self::File(path) | Self::Kept(path) if path.is_file())
    }

    /// Fails unless it can be opened and has lines.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let (Self::File(path) | Self::Kept(path)) = self else { return Ok(()) };
        // Opening a pipe waits for its writer, and is left to the reader.
        let folder = std::fs::metadata(path).map_err(|error| cannot_read(path, &error))?.is_dir();
        if folder {
            return Err(cannot_read(path, &io::ErrorKind::IsADirectory.into())
                .help("a folder's files are given with `--files 'FOLDER/*'`"));
        }
        if self.is_regular() {
            File::open(path).map_err(|error| cannot_read(path, &error))?;
        }
        Ok(())
    }

    /// Its lines as inputs of the source with this number.
    fn lines(&self, source: usize, spool: Option<&Arc<Spool>>, end: u8, are_json: bool) -> Result<Lines, Stop> {
        let (from, name): (Box<dyn Read>, _) = match self {
            Self::Stdin => {
                let stdin = io::stdin().lock();
                let from: Box<dyn Read> = match spool {
                    Some(spool) => Box::new(spool.copying(stdin)),
                    None => Box::new(stdin),
                };
                (from, PathBuf::from("standard input"))
            }
            Self::File(path) | Self::Kept(path) => {
                let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
                (Box::new(file), path.clone())
            }
        };
        let reader = BufReader::with_capacity(64 << 10, from);
        Ok(Lines { reader, name, source, end, are_json, at: 0, line: Vec::new() })
    }
}

/// The lines of something as inputs.
struct Lines {
    reader: BufReader<Box<dyn Read>>,
    name: PathBuf,
    source: usize,
    end: u8,
    are_json: bool,
    /// Number of the last.
    at: u64,
    line: Vec<u8>,
}

impl Iterator for Lines {
    type Item = Result<Input, Stop>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line.clear();
            match self.reader.read_until(self.end, &mut self.line) {
                Ok(0) => return None,
                Ok(_) => self.at += 1,
                Err(error) => return Some(Err(not_read(&self.name, error))),
            }
            let mut line = &self.line[..];
            line = line.strip_suffix(&[self.end]).unwrap_or(line);
            if self.end == b'\n' {
                line = line.strip_suffix(b"\r").unwrap_or(line);
            }
            // Files from elsewhere may begin with a byte order mark.
            if self.at == 1 {
                line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
            }
            let text = match (str::from_utf8(line), self.are_json) {
                // A blank line is no value, and no mistake.
                (Ok(text), true) if text.trim_start().is_empty() => continue,
                (Ok(text), true) => Text::Json(text.into()),
                (Ok(text), false) => Text::Plain(text.into()),
                (Err(_), true) => Text::BadJson(line.to_owned()),
                (Err(_), false) => Text::Bytes(line.to_owned()),
            };
            return Some(Ok(Input { origin: Origin { source: self.source, at: self.at }, text, key: None }));
        }
    }
}

fn not_read(name: &Path, error: io::Error) -> Stop {
    match error.downcast::<NotKept>() {
        Ok(NotKept(stop)) => stop,
        Err(error) => cannot_read(name, &error),
    }
}

/// A file or folder that is missing or cannot be read.
pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Stop {
    let path = words::shown(&path.to_string_lossy(), 200);
    Stop::new(exit::NO_INPUT, "no-input", format!("cannot read {path}: {error}"))
}

impl Text {
    fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), |text| Self::Plain(text.into()))
    }

    /// For messages: the JSON itself, or the string.
    pub(crate) fn as_shown(&self) -> String {
        match self {
            Self::Json(text) | Self::Plain(text) => text.to_string(),
            Self::Bytes(bytes) | Self::BadJson(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Several(words) => String::from_utf8_lossy(&words.join(&b' ')).into_owned(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(text) | Self::Plain(text) => text.len(),
            Self::Bytes(bytes) | Self::BadJson(bytes) => bytes.len(),
            Self::Several(words) => words.iter().map(Vec::len).sum(),
        }
    }
}

/// These bytes are no text, from the place where they stop to be it.
pub(crate) fn not_utf8(bytes: &[u8]) -> JsonFault {
    let mut fault = JsonFault::new("not UTF-8, as JSON has to be");
    fault.offset = Some(bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len()));
    fault
}
