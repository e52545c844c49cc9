//! What is started next, and whether anything can be.

use std::{io, sync::atomic::Ordering, time::Instant};

use rustix::io::Errno;
use taskloom::JsonFault;

use super::{Supervisor, settling::blank};
use crate::{
    args::OnBadInput,
    exec::{
        command::{Job, Running, Started},
        ending,
        inbox::Item,
        reporter::Word,
    },
    input::Input,
    outcome::Status,
    words,
};

/// Files with output that wait to be written, at most: more would use up the descriptors.
const MOST_HELD: usize = 128;
/// How much of an input is kept while it runs, to be shown.
const KEPT: usize = 200;

impl Supervisor {
    pub(super) fn start_more(&mut self) {
        while self.stopping.is_none() && self.has_room() {
            let Some(job) = self.next_job() else { return };
            let reporter = &self.reporter;
            if !self.gate.is_open(|line| reporter.say(Word::Remark(line.to_owned()))) {
                self.returned.push_front(job);
                return;
            }
            self.start(job);
        }
    }

    /// What is to be started next, if anything can be.
    fn next_job(&mut self) -> Option<Job> {
        if let Some(job) = self.returned.pop_front() {
            return Some(job);
        }
        let now = Instant::now();
        if let Some(at) = self.waiting.iter().position(|(at, ..)| *at <= now) {
            let (_, mut job, _) = self.waiting.swap_remove(at);
            job.attempt += 1;
            return Some(job);
        }
        // What has been started before must be able to go on; so only new ones wait for room.
        if self.held_files.load(Ordering::Relaxed) >= MOST_HELD {
            self.reporter.wake_me();
            if self.held_files.load(Ordering::Relaxed) >= MOST_HELD {
                return None;
            }
        }
        while !self.input_ended {
            match self.inbox.take()? {
                Item::Input(number, input, Ok(subject)) => {
                    self.read += 1;
                    self.taken += 1;
                    return Some(Job {
                        turn: self.taken,
                        number,
                        origin: input.origin,
                        shown: words::shown(&String::from_utf8_lossy(&subject.whole()), KEPT),
                        in_bytes: input.text.len(),
                        key: input.key,
                        subject,
                        attempt: 1,
                    });
                }
                Item::Before(number, origin) => {
                    self.before += 1;
                    self.reporter.say(Word::Before(number, origin));
                }
                Item::Input(_, input, Err(fault)) => self.bad_input(&input, fault),
                Item::End(end) => {
                    self.input_ended = true;
                    if let Err(stop) = end {
                        self.bad = Some(stop);
                    }
                }
            }
        }
        None
    }

    fn bad_input(&mut self, input: &Input, fault: JsonFault) {
        let bad = self.plan.feed.bad(input, fault);
        if self.plan.feed.on_bad_input == OnBadInput::Skip {
            self.skipped += 1;
            return self.reporter.say(Word::Skipped(bad));
        }
        self.bad = Some(bad.stop("exec"));
        // What has started is finished; nothing more is read.
        self.input_ended = true;
        self.credits.close();
        self.inbox.close();
        self.reporter.say(Word::Bad(bad));
    }

    fn start(&mut self, job: Job) {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.running.push(None);
            self.running.len() - 1
        });
        match Started::new(&self.plan, &job, slot) {
            Ok(started) => self.running[slot] = Some(Running::new(&self.plan, job, started)),
            Err(error) => {
                self.free.insert(slot);
                // Too many processes or descriptors: those that run will give theirs back.
                if is_for_want_of_room(&error) && self.count_running() > 0 {
                    self.crowded = true;
                    self.returned.push_front(job);
                    return;
                }
                let mut done = blank(&job, Some(slot));
                (done.status, done.trouble) = (Status::Fail, Some(ending::not_started(&error)));
                self.settle(job, done);
            }
        }
    }
}

fn is_for_want_of_room(error: &io::Error) -> bool {
    let room = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| room.contains(&Errno::from_raw_os_error(code)))
}
