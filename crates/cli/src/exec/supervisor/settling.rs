//! A command has ended: what came of it, and what follows from that.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};

use super::{Supervisor, no_file};
use crate::{
    Stop,
    exec::{
        command::{Job, Running},
        ending::Ending,
        reporter::Word,
    },
    exit, limits,
    outcome::{Done, Status, Trouble},
    printed::{Part, Printed},
    stopping::Why,
};

impl Supervisor {
    /// Takes a command that has ended out of its slot.
    pub(super) fn bury(&mut self, slot: usize) {
        let Some(mut running) = self.running[slot].take() else { return };
        self.free.insert(slot);
        self.crowded = false;
        let status = running.process.reap();
        let wall = running.started.elapsed();
        let Running { job, files, started, ended_by, killed, .. } = running;
        let mut done = blank(&job, Some(slot));
        done.start = Some(started.saturating_duration_since(self.start));
        (done.wall, done.cpu) = (Some(wall), self.meter.lap());
        (done.status, done.trouble) = match status {
            Ok(status) => {
                let by_kill = ended_by.is_none() && status.signal() == Some(9);
                let kernel_killed = by_kill && self.meter.was_killed_for_memory();
                Ending { status, ended_by, killed, kernel_killed }.judge(&self.plan.limits)
            }
            // Somebody else has reaped it.
            Err(error) => (Status::Lost, Some(Trouble::plain(format!("its end was not seen: {error}")))),
        };
        match files.map(|(stdout, stderr)| self.printed(stdout, stderr)).transpose() {
            Ok(printed) => done.printed = printed,
            Err(error) => self.output_failed(no_file(&error)),
        }
        if self.plan.ungroup && self.is_reader_gone(&done) {
            return self.output_failed(Stop::new(exit::READER_GONE, "reader-gone", ""));
        }
        self.settle(job, done);
    }

    fn printed(&self, stdout: File, stderr: File) -> io::Result<Printed> {
        let count = &self.held_files;
        Ok(Printed { stdout: Part::of(stdout, count)?, stderr: Part::of(stderr, count)? })
    }

    /// A command that wrote directly died of a closed pipe, and it is ours that is closed.
    fn is_reader_gone(&self, done: &Done) -> bool {
        let of_pipe = done.trouble.as_ref().is_some_and(|trouble| trouble.record["signal"] == 13);
        let stdout = io::stdout();
        let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        of_pipe && poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && !fds[0].revents().is_empty()
    }

    /// An attempt has an outcome: there is another one, or it is the input's.
    pub(super) fn settle(&mut self, job: Job, mut done: Done) {
        let retry = &self.plan.limits.retry;
        let kind = limits::kind_of(done.status);
        if self.stopping.is_none()
            && let Some(after) = retry.wait_after(kind, job.attempt, job.number)
        {
            let mut told = blank(&job, None);
            (told.status, told.wall) = (done.status, done.wall);
            told.trouble = done.trouble.clone();
            self.reporter.say(Word::Retrying(told, after));
            self.waiting.push((Instant::now() + after, job, done));
            return;
        }
        if let (Some(trouble), Some(again)) = (&mut done.trouble, &self.plan.again) {
            trouble.details.extend(again.line(job.number, done.status));
        }
        self.deliver(job.turn, done);
    }

    pub(super) fn deliver(&mut self, turn: u64, done: Done) {
        if done.status != Status::Cancelled {
            self.done += 1;
            self.failed += usize::from(done.status != Status::Ok);
        }
        self.reporter.say(Word::Done(turn, done));
        let max_fail = self.plan.limits.max_fail;
        if self.stopping.is_none() && max_fail.is_reached(self.failed, self.done, self.plan.feed.total) {
            let grace = self.plan.limits.grace;
            self.stop(Why::Failures, max_fail.now.then_some((Signal::TERM, grace)));
        }
    }
}

/// What is known of an attempt before it has an outcome.
pub(super) fn blank(job: &Job, slot: Option<usize>) -> Done {
    Done {
        number: job.number,
        origin: job.origin,
        shown: job.shown.clone(),
        in_bytes: job.in_bytes,
        key: job.key,
        status: Status::Ok,
        result: None,
        printed: None,
        trouble: None,
        attempt: job.attempt,
        worker: slot.and_then(|slot| u32::try_from(slot).ok()),
        start: None,
        wall: None,
        cpu: None,
    }
}
