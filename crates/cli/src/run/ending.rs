//! How a run ends, and what ends it before its inputs do.

use std::{
    thread,
    time::{Duration, Instant},
};

use taskloom::{Cancel, Policy, State};

use super::{Engine, Ready};
use crate::{
    Stop,
    chunks::Rest,
    exit,
    outcome::Status,
    report::{End, Report},
    stopping::Why,
};

impl Engine {
    /// Why it ended, when nothing is left to do.
    pub(super) fn end(&mut self) -> End {
        let seen = self.read + self.skipped + self.before;
        match (self.stopping.take(), self.bad.take()) {
            (Some(Why::Output(stop)), _) => End::Stop(stop),
            (Some(Why::Signal(code)), _) => End::Signal(code),
            (Some(Why::RunTimeout), _) => End::RunTimeout(self.plan.limits.run_timeout.unwrap_or_default()),
            (_, Some(bad)) => End::Input(bad),
            (Some(Why::Failures), None) => End::TooManyFailures,
            (None, None) if seen == 0 && !self.plan.feed.allow_empty => End::Input(no_input()),
            (None, None) => End::Complete,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some() || self.bad.is_some()
    }

    /// A full disk costs what has not started; what runs may end. A reader that went away wants none of it.
    pub(super) fn written(&mut self, written: Result<(), Stop>) -> Result<(), Stop> {
        match written {
            Err(stop) if stop.is_quiet() || stop.exit() != exit::NOT_WRITTEN => return Err(stop),
            Err(stop) if !matches!(self.stopping, Some(Why::Output(_))) => _ = self.stop(Why::Output(stop), false),
            _ => {}
        }
        Ok(())
    }

    /// Starts nothing more; what runs is told to end, if it is to be. How many those are.
    fn stop(&mut self, why: Why, tell: bool) -> usize {
        self.stopping = Some(match self.stopping.take() {
            Some(before) => before.or(why),
            None => why,
        });
        self.credits.close();
        self.input_ended = true;
        self.chunks.abort();
        self.chunks.waiting.clear();
        self.held_back.clear();
        let mut running = 0;
        for open in self.open.values_mut() {
            let runs = open.handle.state() == State::Running;
            if tell || !runs {
                open.told |= matches!(open.handle.cancel(), Cancel::Requested) && tell;
            }
            running += usize::from(open.told && runs);
        }
        if tell {
            let grace = self.plan.limits.grace;
            if self.chunks.open > 0 {
                self.end_pool(grace);
            }
            let kill_at = Instant::now() + grace;
            self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        }
        running
    }

    /// What runs of chunks is told by the pool's end, which waits for it: elsewhere, since signals are heard here.
    fn end_pool(&self, grace: Duration) {
        let pool = self.pool.with(Policy::new());
        let ended = thread::Builder::new().name("taskloom-end".to_owned()).spawn(move || pool.cancel_all(grace));
        if ended.is_err() {
            self.pool.cancel_all(grace);
        }
    }

    pub(super) fn interrupt(&mut self, code: u8, report: &Report) {
        if self.signalled {
            self.kill_at = Some(Instant::now());
            return;
        }
        self.signalled = true;
        let running = self.stop(Why::Signal(code), true);
        report.stopping(running, self.plan.limits.grace);
    }

    /// Counts what came of inputs; too many failures end the run.
    pub(super) fn count(&mut self, ready: &Ready) {
        let mut count = |status| {
            self.done += usize::from(status != Status::Cancelled);
            self.failed += usize::from(!matches!(status, Status::Ok | Status::Cancelled));
        };
        match ready {
            Ready::Done(done) => count(done.status),
            Ready::Part(part) => {
                for rest in &part.rest {
                    if let Rest::Done(done) = rest {
                        count(done.status);
                    }
                }
                self.done += part.successes.len();
            }
        }
        let max_fail = self.plan.limits.max_fail;
        if self.stopping.is_none() && max_fail.is_reached(self.failed, self.done, self.plan.feed.total) {
            self.stop(Why::Failures, max_fail.now);
        }
    }

    /// Ends the run when its time is over; kills what has used up its grace, or was told to go by a second signal.
    pub(super) fn keep_clocks(&mut self) {
        if self.run_ends.is_none() && self.kill_at.is_none() {
            return;
        }
        let now = Instant::now();
        if self.rests() {
            return;
        }
        if self.run_ends.is_some_and(|at| at <= now) {
            self.run_ends = None;
            self.stop(Why::RunTimeout, true);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.pool.cancel_all(Duration::ZERO);
        }
    }

    /// Whether the run rests, as by Ctrl-Z; no clock runs meanwhile. To be asked after a look at the time: it may have begun since.
    pub(super) fn rests(&mut self) -> bool {
        let Some(rested) = self.signals.rested() else { return true };
        let since = self.open.values_mut().filter_map(|open| open.since.as_mut());
        since.chain(&mut self.run_ends).chain(&mut self.kill_at).for_each(|at| *at += rested);
        // That look was before it was known how long.
        !rested.is_zero()
    }

    /// How long it may wait for something to happen.
    pub(super) fn patience(&self) -> Duration {
        let now = Instant::now();
        let clocks = [self.run_ends, self.kill_at].into_iter().flatten();
        clocks.map(|at| at.saturating_duration_since(now)).fold(self.tick, Duration::min)
    }
}

fn no_input() -> Stop {
    Stop::new(exit::NO_INPUT, "no-input", "there is no input").help("`--allow-empty` makes that no error")
}
