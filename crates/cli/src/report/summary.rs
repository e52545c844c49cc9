//! The last words of a run.

use std::time::Duration;

use super::{End, Report, SHOWN_AGAIN, SHOWN_ALIKE, place};
use crate::{
    Stop,
    event::Event,
    exit,
    outcome::Status,
    program,
    terminal::{Terminal, Tone},
    words,
};

impl Report {
    /// The last words of the run, and its exit code. `read` is how many inputs were seen.
    pub(crate) fn ended(mut self, end: End, read: usize) -> Result<u8, Stop> {
        self.terminal.clear();
        let elapsed = self.start.elapsed();
        let failed = self.failed();
        let done = self.count(Status::Ok) + failed + self.count(Status::Skip);
        let total = self.feed.total.unwrap_or(read);
        // What came of a run is known without its last words, so their loss changes nothing.
        let broken = self.broken.take().or_else(|| self.flush().err());
        let (end, exit) = match (broken, end) {
            (_, End::Stop(stop)) | (Some(stop), _) => {
                let exit = stop.exit();
                (End::Stop(stop), exit)
            }
            (None, End::Signal(exit)) => (End::Signal(exit), exit),
            (None, End::RunTimeout(limit)) => (End::RunTimeout(limit), exit::RUN_TIMEOUT),
            (None, End::Input(stop)) => {
                let exit = stop.exit();
                (End::Input(stop), exit)
            }
            (None, end) if failed > 0 => (end, exit::TASKS_FAILED),
            (None, end) => (end, exit::OK),
        };
        if self.journal.is_some() {
            let last = self.last_event(&end, exit, elapsed, total, done);
            // A disk that is full for results is full for this too.
            let _ = self.journal.as_mut().map(|journal| journal.write_now(&last.to_string()));
        }
        if let End::Stop(stop) = end {
            return self.stopped(stop, elapsed, total, done);
        }
        if total > 0 {
            self.summary(&end, elapsed, total, done);
        }
        if self.show.json {
            self.run_finished(&end, exit, elapsed, total, done)?;
            return Ok(exit);
        }
        match end {
            End::Input(stop) if done > 0 => {
                Err(stop.note(format!("{} ended before it, with their results", words::count(done, "task"))))
            }
            End::Input(stop) => Err(stop),
            _ => Ok(exit),
        }
    }

    /// An end that nobody chose: what cannot be written, or a fault of the program's own.
    fn stopped(&mut self, stop: Stop, elapsed: Duration, total: usize, done: usize) -> Result<u8, Stop> {
        if stop.is_quiet() {
            return Err(stop);
        }
        let mut stop = stop.note(self.what_is_safe(total, done));
        if let Some(again) = self.resume() {
            let more = match self.lost() {
                0 => String::new(),
                1 => " (the lost one runs again)".to_owned(),
                lost => format!(" (the {lost} lost ones run again)"),
            };
            stop = stop.help(format!("free some space, then `{again}`{more}"));
        }
        // Events may still have a reader, when it is a file of results that is full.
        if self.show.json && self.results.is_some() {
            let exit = stop.exit();
            self.run_finished(&End::Stop(stop.clone()), exit, elapsed, total, done)?;
        }
        Err(stop)
    }

    /// How much was done, and how much of it is written.
    fn what_is_safe(&self, total: usize, done: usize) -> String {
        let were = if total == 1 { "was" } else { "were" };
        let mut note = format!("{done} of {} {were} done", words::count(total, "input"));
        let lost = self.lost();
        if lost > 0 {
            let to = self.results.as_ref().or(self.events.as_ref()).map_or("", |output| output.name());
            let held = self.count(Status::Ok).saturating_sub(lost);
            let were = if lost == 1 { "was" } else { "were" };
            note += &format!("; {to} holds {held} complete results, {lost} {were} lost");
        }
        note
    }

    fn lost(&self) -> usize {
        self.lost + self.ledger.waiting()
    }

    /// What is typed to go on with this run.
    fn resume(&self) -> Option<String> {
        self.journal.as_ref().map(|journal| format!("{} runs resume {}", program(), journal.id()))
    }

    fn summary(&mut self, end: &End, elapsed: Duration, total: usize, done: usize) {
        if self.show.quiet {
            return;
        }
        for (text, seen) in std::mem::take(&mut self.alike) {
            if seen > SHOWN_ALIKE {
                self.terminal.line(&text.replace("{}", &(seen - SHOWN_ALIKE).to_string()));
            }
        }
        self.terminal.rule();
        let mut parts: Vec<_> = std::iter::once(Status::Ok)
            .chain(Status::FAILURES)
            .chain([Status::Skip])
            .filter(|status| self.count(*status) > 0)
            .map(|status| match (status, self.slow_ok) {
                (Status::Ok, slow @ 1..) => format!("{} ok ({slow} slow)", self.count(status)),
                _ => format!("{} {}", self.count(status), status.past()),
            })
            .collect();
        if !self.skipped.is_empty() {
            parts.push(format!("{} skipped", self.skipped.len()));
        }
        let took = format!("[{:>7.1}s]", elapsed.as_secs_f64());
        let cut_short = match end {
            End::Signal(_) => Some("interrupted".to_owned()),
            End::RunTimeout(limit) => Some(format!("over --run-timeout {}", words::time(*limit))),
            End::TooManyFailures => Some("stopped by --max-fail".to_owned()),
            _ => None,
        };
        if let Some(why) = cut_short {
            let cancelled = self.count(Status::Cancelled);
            let not_started = total.saturating_sub(done + cancelled + self.skipped.len());
            let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
            self.terminal.status(
                "Summary",
                Tone::Bad,
                &format!(
                    "{took} {why}: {done} of {total} done{parts}, {cancelled} cancelled, {not_started} not started"
                ),
            );
        } else {
            let tone = if self.failed() > 0 { Tone::Bad } else { Tone::Good };
            self.terminal.status(
                "Summary",
                tone,
                &format!("{took} {}: {}", words::count(total, "input"), parts.join(", ")),
            );
        }
        let speed = self.speed(elapsed, done);
        self.terminal.detail(&speed);
        if let (Some(_), Some(results)) = (&self.show.output, &self.results) {
            self.terminal.detail(&format!("results: {}", results.name()));
        }
        for bad in self.skipped.iter().take(SHOWN_AGAIN) {
            self.terminal.status("SKIP", Tone::Bad, bad);
        }
        let more = |terminal: &Terminal, all: usize| {
            if all > SHOWN_AGAIN {
                terminal.detail(&format!("and {} more", all - SHOWN_AGAIN));
            }
        };
        more(&self.terminal, self.skipped.len());
        for failure in &self.failures {
            self.terminal.line(failure);
        }
        more(&self.terminal, self.failed());
        if let Some(again) = self.resume() {
            match end {
                End::Signal(_) | End::RunTimeout(_) | End::TooManyFailures => {
                    self.terminal.detail(&format!("continue: {again}"));
                }
                _ if self.failed() > 0 => self.terminal.detail(&format!("again: {again}")),
                _ => {}
            }
        }
    }

    /// "threads x 4, 92% busy, 5.97 tasks/s; median 612ms, p99 2.91s, longest #212 61.3s".
    fn speed(&mut self, elapsed: Duration, done: usize) -> String {
        let mut text = place(&self.facts);
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let all_measured = self.walls.len() == done && done > 0;
        if all_measured {
            let busy: f64 = self.walls.iter().map(|(wall, _)| f64::from(*wall)).sum();
            text += &format!(", {:.0}% busy", (100.0 * busy / (seconds * self.facts.workers as f64)).min(100.0));
        }
        text += &format!(", {} tasks/s", words::three(done as f64 / seconds));
        self.walls.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let (true, Some((longest, number))) = (all_measured, self.walls.last()) {
            let at = |share: f64| self.walls[((self.walls.len() - 1) as f64 * share).round() as usize].0;
            let time = |seconds: f32| words::time(Duration::from_secs_f32(seconds));
            let (median, p99) = (time(at(0.5)), time(at(0.99)));
            text += &format!("; median {median}, p99 {p99}, longest #{number} {}", time(*longest));
        }
        text
    }

    fn run_finished(&mut self, end: &End, exit: u8, elapsed: Duration, total: usize, done: usize) -> Result<(), Stop> {
        let event = self.last_event(end, exit, elapsed, total, done);
        let Some(events) = &mut self.events else { return Ok(()) };
        events.line(event.to_string())?;
        events.flush()
    }

    fn last_event(&self, end: &End, exit: u8, elapsed: Duration, total: usize, done: usize) -> Event {
        let cancelled = self.count(Status::Cancelled);
        let (status, signal) = match end {
            End::Complete if exit == exit::OK => ("ok", None),
            End::Complete => ("failed", None),
            End::TooManyFailures => ("failed", None),
            End::RunTimeout(_) => ("run-timeout", None),
            End::Signal(code) => ("interrupted", Some(exit::signal(*code))),
            End::Input(stop) | End::Stop(stop) => (stop.word(), None),
        };
        let message = if let End::Input(stop) | End::Stop(stop) = end { Some(stop.message()) } else { None };
        let spool = self.feed.memory.get().and_then(|memory| memory.spool.as_ref());
        Event::new("run-finished")
            .with("status", status)
            .with_some("signal", signal)
            .with_some("message", message)
            .with("total", total)
            .with("ok", self.count(Status::Ok))
            .with("failed", self.failed())
            .with("skipped", self.skipped.len())
            .with("cancelled", cancelled)
            .with("not_started", total.saturating_sub(done + cancelled + self.skipped.len()))
            .with_some("done_before", Some(self.count(Status::Skip)).filter(|count| *count > 0))
            .with_some("lost_results", Some(self.lost()).filter(|lost| *lost > 0))
            .with_some("stdin", spool.map(|spool| if spool.is_whole() { "whole" } else { "cut" }))
            .with("wall_s", (elapsed.as_secs_f64() * 1e3).round() / 1e3)
            .with("exit_code", exit)
    }
}
