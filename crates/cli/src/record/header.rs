//! The first line of a journal: what was typed, where, and what it meant.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::Work;
use crate::{Stop, exit, feed::Feed, program, utc};

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) v: u32,
    pub(crate) event: String,
    pub(crate) format: u32,
    pub(crate) run: String,
    pub(crate) time: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) program: String,
    pub(crate) command: String,
    pub(crate) task: String,
    pub(crate) version: String,
    pub(crate) words: Vec<Word>,
    pub(crate) cwd: Word,
    pub(crate) inputs: Vec<String>,
    pub(crate) total: Option<usize>,
    pub(crate) output: Option<Word>,
}

/// Something that was typed, which need not be text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Word {
    Text(String),
    Bytes(Vec<u8>),
}

impl Word {
    pub(crate) fn of(word: &OsStr) -> Self {
        word.to_str().map_or_else(|| Self::Bytes(word.as_bytes().to_vec()), |text| Self::Text(text.to_owned()))
    }

    pub(crate) fn as_os(&self) -> OsString {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => OsString::from_vec(bytes.clone()),
        }
    }
}

impl Header {
    pub(crate) fn new(run: &str, work: &Work<'_>, feed: &Feed) -> Result<Self, Stop> {
        let cwd = env::current_dir().map_err(|error| {
            Stop::new(exit::FAILED, "no-folder", format!("cannot tell the current folder: {error}"))
        })?;
        Ok(Self {
            v: 1,
            event: "recorded".to_owned(),
            format: FORMAT,
            run: run.to_owned(),
            time: utc::rfc3339(SystemTime::now()),
            host: host(),
            pid: process::id(),
            program: program(),
            command: work.command.to_owned(),
            task: work.name.to_owned(),
            version: work.version.clone(),
            words: work.typed.iter().skip(1).map(|word| Word::of(word)).collect(),
            cwd: Word::of(cwd.as_os_str()),
            inputs: feed.sources.iter().map(crate::input::Source::name).collect(),
            total: feed.total,
            output: work.output.map(Path::as_os_str).map(Word::of),
        })
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The name of this machine: a process is known by its number only there.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
