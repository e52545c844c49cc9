//! Why the program ends before its work is done, in the words that people see.

use std::{fmt, io};

use serde_json::json;

use crate::exit;

/// An end with an exit code and, except for a reader that went away, a message.
///
/// ```text
/// error: no task named `resise`
///   help: did you mean `resize`? `taskloom tasks` lists the 4 tasks in this binary
/// ```
#[derive(Debug)]
pub struct Stop {
    exit: u8,
    /// One word for programs that read `--json`.
    word: &'static str,
    message: String,
    /// Lines under the message, each as it is to be shown.
    lines: Vec<String>,
    reason: Option<String>,
    help: Option<String>,
}

impl Stop {
    /// An end with this code and message; `word` names the kind of trouble for programs.
    pub fn new(exit: u8, word: &'static str, message: impl Into<String>) -> Self {
        Self { exit, word, message: message.into(), lines: Vec::new(), reason: None, help: None }
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
        self.lines.push(line.into());
        self
    }

    /// Adds why.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The exit code.
    pub fn exit(&self) -> u8 {
        self.exit
    }

    /// The kind of trouble, for programs.
    pub fn word(&self) -> &'static str {
        self.word
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the exit code says it all.
    pub fn is_quiet(&self) -> bool {
        self.message.is_empty()
    }

    /// As one line of an event stream.
    pub fn event(&self) -> serde_json::Value {
        let mut event = json!({
            "v": 1, "event": "error", "code": self.word, "message": self.message, "exit_code": self.exit,
        });
        for (key, text) in [("reason", &self.reason), ("help", &self.help)] {
            if let Some(text) = text {
                event[key] = text.as_str().into();
            }
        }
        event
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))?;
        // Under a snippet the notes hang on its margin; under a plain message they are indented.
        let mark = if self.lines.iter().any(|line| line.contains(" | ")) { "   = " } else { "  " };
        self.reason.iter().try_for_each(|reason| write!(f, "\n{mark}reason: {reason}"))?;
        self.help.iter().try_for_each(|help| write!(f, "\n{mark}help: {help}"))
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
