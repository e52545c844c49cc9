//! An input that cannot be used: the line, the place in it, and what is wrong.

use taskloom::JsonFault;

use crate::{Stop, event::Event, exit, input::Input, snippet, words};

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
        let message = self.message();
        match self.fault.param {
            Some(param) => format!("`{param}`: {message}"),
            None => message,
        }
    }

    /// Without the name of the argument.
    fn message(&self) -> String {
        let message = self.fault.message.strip_prefix(NOT_JSON).unwrap_or(&self.fault.message);
        // serde says what it found first; what was expected is what helps.
        match message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
            Some((found, expected)) => format!("expected {expected}, found {found}"),
            None => message.to_owned(),
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
            .with("message", self.message())
    }
}

const NOT_JSON: &str = "not valid JSON: ";
