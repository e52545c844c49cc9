//! What is typed to run one input again.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use crate::{feed::Feed, outcome::Status, program, shell, words};

/// Longest command line that is worth repeating.
const LONGEST: usize = 400;

/// The words that run one input again, before and after its number.
#[derive(Debug)]
pub(crate) struct Again(String, String);

impl Again {
    /// `None` if these words cannot be typed again: standard input is over, and a file of results is there already.
    pub(crate) fn new(typed: &[OsString], feed: &Feed, has_output: bool) -> Option<Self> {
        if feed.total.is_none() || feed.only.is_some() || has_output {
            return None;
        }
        let command = typed.get(1)?.to_str()?;
        let rest = shell::line(typed.get(2..)?.iter().map(|word| word.as_bytes()));
        let rest = String::from_utf8(rest).ok().filter(|rest| rest.len() <= LONGEST)?;
        Some(Self(format!("{} {command} --only", program()), words::shown(&rest, LONGEST)))
    }

    /// A line for this input, if seeing it by itself may help.
    pub(crate) fn line(&self, number: u64, status: Status) -> Option<String> {
        let helps = matches!(status, Status::Crash | Status::Timeout | Status::Memory | Status::Lost);
        helps.then(|| format!("again, alone: {} {number} {}", self.0, self.1))
    }
}
