//! What is seen of tasks before they have outcomes: those that run, for long, or again, or not yet.

use std::time::{Duration, Instant};

use taskloom::{Event, Kind, State};

use super::Engine;
use crate::{
    Stop,
    limits::{over_time, status_of},
    outcome::{Done, Trouble},
    report::Report,
    words,
};

/// How often it is looked what runs.
const TICK: Duration = Duration::from_millis(250);

/// The same, where what is slow is so after a shorter time.
pub(super) fn tick(slow: Duration) -> Duration {
    TICK.min(slow / 4).max(Duration::from_millis(5))
}

impl Engine {
    /// Says which tasks take long. The time from when a task was first seen to run: it ran longer than that.
    pub(super) fn look_at_running(&mut self, report: &mut Report) {
        let (now, limit) = (Instant::now(), self.plan.limits.slow);
        if self.rests() {
            return;
        }
        let running = self.open.values_mut().filter(|open| open.handle.state() == State::Running);
        let (mut count, mut slow) = (0, Vec::new());
        for open in running {
            count += 1;
            let since = *open.since.get_or_insert(now);
            if !open.slow && now.duration_since(since) >= limit {
                open.slow = true;
                slow.push((open.brief.number, &open.brief.shown));
            }
        }
        slow.sort_unstable();
        self.running.set(count);
        slow.into_iter().for_each(|(number, shown)| report.slow(number, shown, limit));
    }

    /// An attempt has ended, and the pool will make another.
    pub(super) fn retrying(&mut self, event: Event, report: &mut Report) -> Result<(), Stop> {
        let Event::Retrying { task, attempt, kind, error, after, .. } = event else { return Ok(()) };
        let Some(open) = self.open.values_mut().find(|open| open.handle.id() == task) else { return Ok(()) };
        (open.since, open.slow) = (None, false);
        let message = match (kind, self.plan.limits.timeout) {
            (Kind::TimedOut, Some(limit)) => over_time(limit).0,
            // The word before it says as much.
            _ => ["task failed: ", "task panicked at "]
                .into_iter()
                .find_map(|said| error.strip_prefix(said))
                .unwrap_or(&error)
                .to_owned(),
        };
        let trouble = Trouble::plain(words::shown(&message, 400));
        let done = Done { attempt, ..Done::failed(open.brief.clone(), status_of(kind), trouble) };
        if self.stopping.is_some() {
            // Nothing more is started: what came of this attempt is what came of the input.
            open.handle.cancel();
            open.last = Some(Box::new(done));
            return Ok(());
        }
        let told = report.retrying(&done, after);
        open.last = Some(Box::new(done));
        told
    }

    /// Starts inputs that were held back: as many as can run at once. When others follow there may be less memory, or one
    /// failure too many.
    pub(super) fn start_held_back(&mut self, report: &mut Report) -> Result<(), Stop> {
        while !self.held_back.is_empty() && self.open.len() < self.plan.workers {
            if !self.gate.is_open(|line| report.remark(line)) {
                break;
            }
            if let Some((number, input, task)) = self.held_back.pop_front() {
                self.start(number, input, task, report)?;
            }
        }
        Ok(())
    }
}
