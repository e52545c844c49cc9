//! Where inputs come from, and how each becomes a task.
//!
//! ```text
//!  file, standard input ──▶ lines ─┐
//!  pattern ──▶ paths ──────────────┼──▶ Input{origin, text} ──Fit──▶ NamedTask, or BadInput
//!  range ──▶ integers ─────────────┘
//! ```

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;
use taskloom::{JsonFault, NamedTask, TaskDef};

use crate::{Stop, event::Event, exit, snippet, words};

/// One source of inputs, in the order in which they are read.
#[derive(Debug)]
pub(crate) enum Source {
    /// JSON values, one a line.
    Json(Place),
    /// Strings, one a line.
    Lines(Place),
    /// Paths of files.
    Paths(Vec<String>),
    /// Integers.
    Range(Range<i64>),
    /// One input for a task without arguments; there is nothing to show of it.
    Nothing,
}

/// Something that has lines.
#[derive(Debug)]
pub(crate) enum Place {
    Stdin,
    File(PathBuf),
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
}

/// The text of an input.
#[derive(Debug)]
pub(crate) enum Text {
    /// JSON, as it stands.
    Json(String),
    /// A string that is not JSON yet.
    Plain(String),
    /// A line that is no text at all.
    NotUtf8(Vec<u8>),
}

impl Source {
    /// Whether it can be read twice: what can is checked whole before the first task starts.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Json(place) | Self::Lines(place) => place.is_regular(),
            Self::Paths(_) | Self::Range(_) | Self::Nothing => true,
        }
    }

    /// Its inputs. The number is its place among the sources.
    pub(crate) fn inputs(&self, number: usize) -> Result<Box<dyn Iterator<Item = Result<Input, Stop>> + '_>, Stop> {
        let input = move |at: u64, text: Text| Ok(Input { origin: Origin { source: number, at }, text });
        Ok(match self {
            Self::Json(place) => {
                let blank = |text: &Text| matches!(text, Text::Json(text) if text.trim().is_empty());
                let lines = place.lines(Text::Json)?;
                Box::new(lines.zip(1..).filter_map(move |(text, at)| match text {
                    // A blank line is no value, and no mistake.
                    Ok(text) if blank(&text) => None,
                    Ok(text) => Some(input(at, text)),
                    Err(stop) => Some(Err(stop)),
                }))
            }
            Self::Lines(place) => Box::new(place.lines(Text::Plain)?.zip(1..).map(move |(text, at)| input(at, text?))),
            Self::Paths(paths) => {
                Box::new(paths.iter().zip(1..).map(move |(path, at)| input(at, Text::Plain(path.clone()))))
            }
            Self::Range(range) => {
                Box::new(range.clone().zip(1..).map(move |(n, at)| input(at, Text::Json(n.to_string()))))
            }
            Self::Nothing => Box::new(std::iter::once(input(1, Text::Json("null".to_owned())))),
        })
    }

    /// What its input number `at` is called in messages: `images.jsonl:17`.
    pub(crate) fn label(&self, at: u64) -> String {
        match self {
            Self::Json(place) | Self::Lines(place) => format!("{}:{at}", place.name()),
            Self::Paths(paths) => {
                let path = usize::try_from(at - 1).ok().and_then(|at| paths.get(at));
                words::shown(path.map_or("", String::as_str), 200)
            }
            Self::Range(range) => format!("--range {}..{}, number {at}", range.start, range.end),
            Self::Nothing => String::new(),
        }
    }
}

impl Place {
    pub(crate) fn new(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => words::shown(&path.to_string_lossy(), 200),
        }
    }

    fn is_regular(&self) -> bool {
        matches!(self, Self::File(path) if path.is_file())
    }

    /// Fails unless it can be opened and has lines.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let Self::File(path) = self else { return Ok(()) };
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

    fn lines(&self, text: fn(String) -> Text) -> Result<impl Iterator<Item = Result<Text, Stop>> + use<>, Stop> {
        let (mut reader, name): (Box<dyn BufRead>, _) = match self {
            Self::Stdin => (Box::new(io::stdin().lock()), PathBuf::from("standard input")),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
                (Box::new(BufReader::with_capacity(64 << 10, file)), path.clone())
            }
        };
        let mut first = true;
        Ok(std::iter::from_fn(move || {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(_) => {
                    if line.ends_with(b"\n") {
                        line.pop();
                    }
                    if line.ends_with(b"\r") {
                        line.pop();
                    }
                    // Files from elsewhere may begin with a byte order mark.
                    if std::mem::take(&mut first) && line.starts_with("\u{feff}".as_bytes()) {
                        line.drain(..3);
                    }
                    Some(Ok(String::from_utf8(line).map_or_else(|error| Text::NotUtf8(error.into_bytes()), text)))
                }
                Err(error) => Some(Err(cannot_read(&name, &error))),
            }
        }))
    }
}

/// A file or folder that is missing or cannot be read.
pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Stop {
    let path = words::shown(&path.to_string_lossy(), 200);
    Stop::new(exit::NO_INPUT, "no-input", format!("cannot read {path}: {error}"))
}

impl Text {
    /// For messages: the JSON itself, or the string.
    pub(crate) fn as_shown(&self) -> String {
        match self {
            Self::Json(text) | Self::Plain(text) => text.clone(),
            Self::NotUtf8(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(text) | Self::Plain(text) => text.len(),
            Self::NotUtf8(bytes) => bytes.len(),
        }
    }
}

/// A task that inputs become arguments of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    pub(crate) slot: u32,
    pub(crate) def: &'static TaskDef,
}

impl Fit {
    /// The task with this input as its arguments.
    pub(crate) fn task(&self, text: &Text) -> Result<NamedTask, JsonFault> {
        match text {
            Text::Json(text) => NamedTask::from_json(self.slot, text),
            // A string where a string fits. Else a line may be a number, or an object with the arguments by name.
            Text::Plain(text) => {
                let quoted = Value::from(text.as_str()).to_string();
                NamedTask::from_json(self.slot, &quoted)
                    .or_else(|fault| NamedTask::from_json(self.slot, text).map_err(|_| self.of_plain(fault, text)))
            }
            Text::NotUtf8(bytes) => {
                let mut fault = JsonFault::new("not UTF-8, as JSON has to be");
                fault.offset = Some(bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len()));
                Err(fault)
            }
        }
    }

    /// A place in the quoted text is none in the line.
    fn of_plain(&self, mut fault: JsonFault, text: &str) -> JsonFault {
        fault.offset = Some(0);
        if let ([param], true) = (self.def.params(), fault.message.contains("invalid type: string")) {
            fault.message = format!("expected {}, found `{}`", param.ty, words::shown(text, 30));
        }
        fault
    }
}

/// An input that does not fit its task.
#[derive(Debug)]
pub(crate) struct BadInput {
    pub(crate) label: String,
    at: u64,
    text: String,
    fault: JsonFault,
}

impl BadInput {
    pub(crate) fn new(label: String, input: &Input, fault: JsonFault) -> Self {
        Self { label, at: input.origin.at, text: input.text.as_shown(), fault }
    }

    /// Position of the fault in characters from 0, and its width.
    fn extent(&self) -> (usize, usize) {
        let offset = self.fault.offset.unwrap_or(0).min(self.text.len());
        let offset = (0..=offset).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
        let (before, rest) = self.text.split_at(offset);
        let width = if self.is_misfit() { snippet::value_width(rest) } else { 1 };
        (before.chars().count(), width)
    }

    /// Valid JSON of the wrong shape.
    fn is_misfit(&self) -> bool {
        !self.fault.message.starts_with(NOT_JSON) && !self.fault.message.starts_with("not UTF-8")
    }

    fn headline(&self, task: &str) -> String {
        if self.is_misfit() {
            format!("{}: does not fit task `{task}`", self.label)
        } else {
            let what = self.fault.message.split(',').next().unwrap_or_default();
            format!("{}: {}", self.label, what.split(':').next().unwrap_or_default())
        }
    }

    fn explanation(&self) -> String {
        let message = self.fault.message.strip_prefix(NOT_JSON).unwrap_or(&self.fault.message);
        // serde says what it found first; what was expected is what helps.
        let message = match message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
            Some((found, expected)) => format!("expected {expected}, found {found}"),
            None => message.to_owned(),
        };
        match self.fault.param {
            Some(param) => format!("`{param}`: {message}"),
            None => message,
        }
    }

    /// One line, for lists.
    pub(crate) fn in_short(&self) -> String {
        format!("{}: {}", self.label, words::shown(&self.explanation(), 120))
    }

    /// The message with the line and a caret under the place.
    pub(crate) fn stop(&self, task: &str) -> Stop {
        let (column, width) = self.extent();
        let label = words::shown(&self.explanation(), 120);
        let lines = snippet::draw(self.at, &self.text, column, width, &label);
        Stop::new(exit::BAD_INPUT, "bad-input", self.headline(task)).snippet(lines, snippet::margin(self.at))
    }

    /// The help that goes with it.
    pub(crate) fn help(&self, program: &str, task: &str) -> Option<String> {
        self.is_misfit().then(|| format!("`{program} tasks {task}` shows the arguments"))
    }

    /// As one line of an event stream.
    pub(crate) fn event(&self) -> Event {
        Event::new("input-error")
            .with("source", &self.label)
            .with("column", self.extent().0 + 1)
            .with_some("path", self.fault.param)
            .with("message", self.explanation())
    }
}

const NOT_JSON: &str = "not valid JSON: ";
