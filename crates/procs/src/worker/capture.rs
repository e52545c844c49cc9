//! Tells from where to where a task has printed, in the files that stand in for standard output and standard error.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use crate::{os, wire::Rare};

pub(super) struct Capture {
    /// Of our own, for a task may close those that it prints to.
    streams: [File; 2],
    starts: [u64; 2],
}

impl Capture {
    /// `None` if this process has no such streams to begin with; then nothing can be printed either.
    pub(super) fn new() -> Option<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned().ok()?;
        let stderr = io::stderr().as_fd().try_clone_to_owned().ok()?;
        Some(Self { streams: [stdout.into(), stderr.into()], starts: [0; 2] })
    }

    /// A task begins.
    pub(super) fn begin(&mut self) {
        self.starts = self.ends();
    }

    /// A task is done: what it has printed, if anything.
    pub(super) fn end(&self, token: u64, item: u32) -> Option<Rare> {
        // What stays in a buffer would be the next task's.
        let _ = io::stdout().flush();
        os::files::flush_c_streams();
        self.so_far(token, item)
    }

    /// What a task has printed that is no more in any buffer, if anything.
    pub(super) fn so_far(&self, token: u64, item: u32) -> Option<Rare> {
        let ends = self.ends();
        let [stdout, stderr] = [0, 1].map(|stream| (self.starts[stream], ends[stream]));
        (ends != self.starts).then_some(Rare::Printed { token, item, stdout, stderr })
    }

    fn ends(&self) -> [u64; 2] {
        self.streams.each_ref().map(|stream| stream.metadata().map_or(0, |file| file.len()))
    }
}
