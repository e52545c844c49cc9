//! What a run says: results or events on standard output, everything else for people on standard error.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use taskloom::TaskError;

use crate::{
    Output, Stop,
    event::Event,
    exit,
    input::{BadInput, Origin},
    outcome::{Done, Status, details, record},
    plan::{Chunk, Plan},
    terminal::{Terminal, Tone},
    utc, words,
};

/// Failures of one message that are shown in full.
const SHOWN_ALIKE: usize = 10;
/// Failures that the summary repeats.
const SHOWN_AGAIN: usize = 10;
/// How often a run that is not watched on a terminal says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Longest piece of an input that is shown.
const INPUT_WIDTH: usize = 60;

/// Why a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All inputs are done.
    Complete,
    /// By a signal: 130 or 143.
    Signal(u8),
    /// By its input: one that does not fit, or none at all.
    Input(Stop),
    /// By anything else, or without a word.
    Stop(Stop),
}

/// Says what happens in one run.
pub(crate) struct Report {
    plan: PlanFacts,
    out: Output,
    terminal: Terminal,
    start: Instant,
    last_progress: Instant,
    counts: HashMap<Status, usize>,
    alike: HashMap<String, usize>,
    failures: Vec<String>,
    skipped: Vec<String>,
    walls: Vec<(f32, u64)>,
}

/// What of the plan is repeated in reports.
struct PlanFacts {
    task: &'static str,
    backend: &'static str,
    workers: usize,
    chunk: Chunk,
    json: bool,
    total: Option<usize>,
    labels: Box<dyn Fn(Origin) -> String>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, labels: impl Fn(Origin) -> String + 'static) -> Self {
        let now = Instant::now();
        let plan = PlanFacts {
            task: plan.fit.def.short_name(),
            backend: plan.backend,
            workers: plan.workers,
            chunk: plan.chunk,
            json: plan.json,
            total: plan.total,
            labels: Box::new(labels),
        };
        Self {
            terminal: Terminal::stderr(plan.total),
            plan,
            out: Output::stdout(),
            start: now,
            last_progress: now,
            counts: HashMap::new(),
            alike: HashMap::new(),
            failures: Vec::new(),
            skipped: Vec::new(),
            walls: Vec::new(),
        }
    }

    /// The run begins.
    pub(crate) fn started(&mut self) -> Result<(), Stop> {
        let PlanFacts { task, backend, workers, chunk, total, .. } = &self.plan;
        if self.plan.json {
            let chunk = match chunk {
                Chunk::Auto => 1,
                Chunk::Fixed(size) => *size,
            };
            let event = Event::new("run-started")
                .with("time", utc::rfc3339(SystemTime::now()))
                .with("task", task)
                .with("backend", backend)
                .with("workers", workers)
                .with("chunk", chunk)
                .with("total", total);
            self.out.line(event.to_string())?;
            // A reader of events wants to know at once.
            self.out.flush()?;
        }
        let inputs = total.map_or("inputs as they come".to_owned(), |total| words::count(total, "input"));
        let chunk = match chunk {
            Chunk::Fixed(size) if *size > 1 => format!(", chunk {size}"),
            _ => String::new(),
        };
        let place = self.place();
        self.terminal.line(&format!("Starting {task}: {inputs}, {place}{chunk}"));
        Ok(())
    }

    /// An input has its outcome.
    pub(crate) fn done(&mut self, done: &Done, interrupted: bool) -> Result<(), Stop> {
        let status = done.status();
        if interrupted && matches!(done.result, Err(TaskError::Cancelled)) && done.wall().is_none() {
            // Never started: it is counted with those that were never sent.
            return Ok(());
        }
        *self.counts.entry(status).or_default() += 1;
        if let Some(wall) = done.wall() {
            self.walls.push((wall.as_secs_f32(), done.number));
        }
        let line = match (&done.result, self.plan.json) {
            (_, true) => Some(self.event(done).to_string()),
            (Ok(value), false) => Some(value.to_string()),
            (Err(_), false) => None,
        };
        line.map_or(Ok(()), |line| self.out.line(line))?;
        if let Err(error) = &done.result
            && status != Status::Cancelled
        {
            self.failure(done, status, error);
        }
        self.progress();
        Ok(())
    }

    fn event(&self, done: &Done) -> Event {
        let finished = done.finished.as_ref();
        let metrics = finished.map(|finished| finished.metrics).unwrap_or_default();
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e6);
        let start = metrics.queued.map(|queued| done.submitted + queued);
        let result = done.result.as_ref().ok();
        Event::new("task-finished")
            .with("index", done.number)
            .with("source", (self.plan.labels)(done.origin))
            .with("status", done.status().word())
            .with("attempt", finished.map_or(1, |finished| finished.attempt))
            .with("worker", finished.and_then(|finished| finished.worker))
            .with("start_s", seconds(start))
            .with("wall_s", seconds(metrics.wall))
            .with("cpu_s", seconds(metrics.cpu))
            .with("in_bytes", done.in_bytes)
            .with("out_bytes", result.map_or(0, |value| value.to_string().len()))
            .with_some("result", result)
            .with_some("error", done.result.as_ref().err().map(record))
    }

    /// A failure for people: what, where, and what is known.
    fn failure(&mut self, done: &Done, status: Status, error: &TaskError) {
        let word = status.word().to_uppercase();
        let task = self.plan.task;
        let label = (self.plan.labels)(done.origin);
        let input = words::shown(&done.shown, INPUT_WIDTH);
        if self.failures.len() < SHOWN_AGAIN {
            let text = format!("{word:>8}  #{} {task} {input}  {label}", done.number);
            self.failures.push(text.trim_end().to_owned());
        }
        // Crashes differ in worker and process; what they have in common is how the worker died.
        let key = match error {
            TaskError::Crashed(death) | TaskError::OutOfMemory(death) => death.how(),
            other => other.to_string(),
        };
        let seen = self.alike.entry(format!("{word} x {{}} more: {}", words::shown(&key, 120))).or_default();
        *seen += 1;
        if *seen > SHOWN_ALIKE {
            return;
        }
        let wall = done.wall().or(match error {
            TaskError::Crashed(death) | TaskError::OutOfMemory(death) => Some(death.wall),
            _ => None,
        });
        let wall = wall.map_or(String::new(), |wall| format!("[{:>7.3}s] ", wall.as_secs_f64()));
        self.terminal.status(&word, Tone::Bad, format!("{wall}#{} {task} {input}", done.number).trim_end());
        for line in details(error) {
            self.terminal.detail(&line);
        }
    }

    /// An input was left out.
    pub(crate) fn skipped(&mut self, bad: &BadInput) -> Result<(), Stop> {
        self.skipped.push(bad.in_short());
        if self.plan.json { self.out.line(bad.event().to_string()) } else { Ok(()) }
    }

    /// An input ends the run.
    pub(crate) fn bad_input(&mut self, bad: &BadInput) -> Result<(), Stop> {
        if self.plan.json { self.out.line(bad.event().to_string()) } else { Ok(()) }
    }

    /// A word to whoever pressed Ctrl-C.
    pub(crate) fn stopping(&mut self, running: usize, grace: Duration) {
        let grace = grace.as_secs();
        let running = match running {
            0 => "what runs has".to_owned(),
            1 => "1 running task has".to_owned(),
            more => format!("{more} running tasks have"),
        };
        self.terminal.line(&format!("Stopping: {running} {grace}s to finish (Ctrl-C again kills)"));
    }

    /// Nothing to write for now.
    pub(crate) fn idle(&mut self) -> Result<(), Stop> {
        self.progress();
        self.out.flush()
    }

    fn progress(&mut self) {
        let (ok, failed) = (self.count(Status::Ok), self.failed());
        if self.terminal.bar(ok + failed, ok, failed) {
            return;
        }
        if self.last_progress.elapsed() >= PROGRESS_EVERY {
            self.last_progress = Instant::now();
            let done = ok + failed;
            let elapsed = self.start.elapsed();
            let of = self.plan.total.map_or(String::new(), |total| format!("/{total}"));
            let left = self.plan.total.filter(|_| done > 0).map(|total| {
                let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64);
                format!(", about {} left", words::time(left))
            });
            self.terminal.line(&format!(
                "progress {done}{of}, {failed} failed, {} elapsed{}",
                words::time(elapsed),
                left.unwrap_or_default()
            ));
        }
    }

    fn count(&self, status: Status) -> usize {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn failed(&self) -> usize {
        Status::FAILURES.iter().map(|status| self.count(*status)).sum()
    }

    fn place(&self) -> String {
        match self.plan.backend {
            "inline" => "inline".to_owned(),
            backend => format!("{backend} x {}", self.plan.workers),
        }
    }

    /// The last words of the run, and its exit code. `read` is how many inputs were seen.
    pub(crate) fn ended(mut self, end: End, read: usize) -> Result<u8, Stop> {
        self.terminal.clear();
        let elapsed = self.start.elapsed();
        let failed = self.failed();
        let done = self.count(Status::Ok) + failed;
        let total = self.plan.total.unwrap_or(read);
        let flushed = self.out.flush();
        let (end, exit) = match (flushed, end) {
            (_, End::Stop(stop)) | (Err(stop), _) => {
                let exit = stop.exit();
                (End::Stop(stop), exit)
            }
            (Ok(()), End::Signal(exit)) => (End::Signal(exit), exit),
            (Ok(()), End::Input(stop)) => {
                let exit = stop.exit();
                (End::Input(stop), exit)
            }
            (Ok(()), End::Complete) if failed > 0 => (End::Complete, exit::TASKS_FAILED),
            (Ok(()), End::Complete) => (End::Complete, exit::OK),
        };
        if let End::Stop(stop) = end {
            if stop.is_quiet() {
                return Err(stop);
            }
            return Err(stop.note(format!("{done} of {} were done", words::count(total, "input"))));
        }
        if total > 0 {
            self.summary(&end, elapsed, total, done);
        }
        if self.plan.json {
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

    fn summary(&mut self, end: &End, elapsed: Duration, total: usize, done: usize) {
        for (text, seen) in std::mem::take(&mut self.alike) {
            if seen > SHOWN_ALIKE {
                self.terminal.line(&text.replace("{}", &(seen - SHOWN_ALIKE).to_string()));
            }
        }
        self.terminal.rule();
        let mut parts: Vec<_> = std::iter::once(Status::Ok)
            .chain(Status::FAILURES)
            .filter(|status| self.count(*status) > 0)
            .map(|status| format!("{} {}", self.count(status), status.past()))
            .collect();
        if !self.skipped.is_empty() {
            parts.push(format!("{} skipped", self.skipped.len()));
        }
        let took = format!("[{:>7.1}s]", elapsed.as_secs_f64());
        if let End::Signal(_) = end {
            let cancelled = self.count(Status::Cancelled);
            let not_started = total.saturating_sub(done + cancelled + self.skipped.len());
            let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
            self.terminal.status(
                "Summary",
                Tone::Bad,
                &format!("{took} interrupted: {done} of {total} done{parts}, {cancelled} cancelled, {not_started} not started"),
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
    }

    /// "threads x 4, 92% busy, 5.97 tasks/s; median 612ms, p99 2.91s, longest #212 61.3s".
    fn speed(&mut self, elapsed: Duration, done: usize) -> String {
        let mut text = self.place();
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let all_measured = self.walls.len() == done && done > 0;
        if all_measured {
            let busy: f64 = self.walls.iter().map(|(wall, _)| f64::from(*wall)).sum();
            text += &format!(", {:.0}% busy", (100.0 * busy / (seconds * self.plan.workers as f64)).min(100.0));
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
        let cancelled = self.count(Status::Cancelled);
        let (status, signal) = match end {
            End::Complete if exit == exit::OK => ("ok", None),
            End::Complete => ("failed", None),
            End::Signal(exit::TERMINATED) => ("interrupted", Some("SIGTERM")),
            End::Signal(_) => ("interrupted", Some("SIGINT")),
            End::Input(stop) | End::Stop(stop) => (stop.word(), None),
        };
        let message = if let End::Input(stop) | End::Stop(stop) = end { Some(stop.message()) } else { None };
        let event = Event::new("run-finished")
            .with("status", status)
            .with_some("signal", signal)
            .with_some("message", message)
            .with("total", total)
            .with("ok", self.count(Status::Ok))
            .with("failed", self.failed())
            .with("skipped", self.skipped.len())
            .with("cancelled", cancelled)
            .with("not_started", total.saturating_sub(done + cancelled + self.skipped.len()))
            .with("wall_s", (elapsed.as_secs_f64() * 1e3).round() / 1e3)
            .with("exit_code", exit);
        self.out.line(event.to_string())?;
        self.out.flush()
    }
}

/// The events of a run that one bad input kept from starting.
pub(crate) fn refused(bad: &BadInput, total: usize) -> Result<(), Stop> {
    let mut out = Output::stdout();
    out.line(bad.event().to_string())?;
    let event = Event::new("run-finished")
        .with("status", "bad-input")
        .with("total", total)
        .with("ok", 0)
        .with("failed", 0)
        .with("skipped", 0)
        .with("cancelled", 0)
        .with("not_started", total)
        .with("wall_s", 0.0)
        .with("exit_code", exit::BAD_INPUT);
    out.line(event.to_string())?;
    out.flush()
}
