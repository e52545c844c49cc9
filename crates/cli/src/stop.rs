//! Why the program ends before its work is done, in the words that people see.

use std::{fmt, io};

use crate::{event::Event, exit};

/// An end with an exit code and, except for a reader that went away, a message.
///
/// ```text
/// error: no task named `resise`
///   help: did you mean `resize`? `taskloom tasks` lists the 4 tasks in this binary
/// ```
#[derive(Debug, Clone)]
pub struct Stop(Box<Words>);

// Boxed, because nearly every function here can fail, and nearly none does.
#[derive(Debug, Clone)]
struct Words {
    exit: u8,
    /// One word for programs that read `--json`.
    word: &'static str,
    message: String,
    /// Lines under the message, each as it is to be shown.
    lines: Vec<String>,
    /// Where the margin of a snippet is, if the lines are one.
    margin: Option<usize>,
    notes: Vec<String>,
    reason: Option<String>,
    help: Option<String>,
}

impl Stop {
    /// An end with this code and message; `word` names the kind of trouble for programs.
    pub fn new(exit: u8, word: &'static str, message: impl Into<String>) -> Self {
        let (lines, notes) = (Vec::new(), Vec::new());
        Self(Box::new(Words {
            exit,
            word,
            message: message.into(),
            lines,
            margin: None,
            notes,
            reason: None,
            help: None,
        }))
    }

    /// Wrong usage.
    pub fn usage(word: &'static str, message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, word, message)
    }

    /// Something that cannot be written: a closed pipe is no error, everything else is.
    pub fn not_written(what: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(exit::READER_GONE, "reader-gone", "")
        } else {
            Self::new(exit::NOT_WRITTEN, "output-error", format!("cannot write {what}: {error}"))
        }
    }

    /// Adds a line, shown as it is.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.0.lines.push(line.into());
        self
    }

    /// Adds a snippet, whose lines have their margin at this column. The notes will hang on it.
    #[must_use]
    pub(crate) fn snippet(mut self, lines: Vec<String>, margin: usize) -> Self {
        self.0.lines = lines;
        self.0.margin = Some(margin);
        self
    }

    /// Adds something worth knowing.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.0.notes.push(note.into());
        self
    }

    /// Adds why.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The exit code.
    pub fn exit(&self) -> u8 {
        self.0.exit
    }

    /// The kind of trouble, for programs.
    pub fn word(&self) -> &'static str {
        self.0.word
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the exit code says it all.
    pub fn is_quiet(&self) -> bool {
        self.0.message.is_empty()
    }

    /// As one line of an event stream.
    pub(crate) fn event(&self) -> Event {
        Event::new("error")
            .with("code", self.0.word)
            .with("message", &self.0.message)
            .with_some("reason", self.0.reason.as_ref())
            .with_some("help", self.0.help.as_ref())
            .with("exit_code", self.0.exit)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0.message)?;
        self.0.lines.iter().try_for_each(|line| write!(f, "\n{line}"))?;
        let mark = self.0.margin.map_or("  ".to_owned(), |margin| format!("{:margin$}= ", ""));
        self.0.notes.iter().try_for_each(|note| write!(f, "\n{mark}{note}"))?;
        self.0.reason.iter().try_for_each(|reason| write!(f, "\n{mark}reason: {reason}"))?;
        self.0.help.iter().try_for_each(|help| write!(f, "\n{mark}help: {help}"))
    }
}

impl std::error::Error for Stop {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_what_to_do() {
        let stop = Stop::usage("unknown-task", "no task named `resise`").help("did you mean `resize`?");
        assert_eq!(stop.to_string(), "error: no task named `resise`\n  help: did you mean `resize`?");
    }

    #[test]
    fn a_closed_pipe_says_nothing() {
        let stop = Stop::not_written("standard output", &io::ErrorKind::BrokenPipe.into());
        assert!(stop.is_quiet());
        assert_eq!(stop.exit(), exit::READER_GONE);
    }
}
