//! What a run says: results or events on standard output, everything else for people on standard error.

mod ledger;
mod meanwhile;
mod summary;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use self::ledger::Ledger;
use crate::{
    Stop,
    bad_input::BadInput,
    event::Event,
    exit,
    feed::Feed,
    input::Origin,
    outcome::{Done, Status, Trouble},
    output::{Existing, Output},
    plan::Chunk,
    printed::Printed,
    progress::{Progress, Running},
    record::Journal,
    successes::Successes,
    terminal::{self, Terminal, Tone},
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
    /// By a signal, with the exit code that stands for it.
    Signal(u8),
    /// By the limit on the whole run.
    RunTimeout(Duration),
    /// By failures: more than were allowed.
    TooManyFailures,
    /// By its input: one that does not fit, or none at all.
    Input(Stop),
    /// By anything else, or without a word.
    Stop(Stop),
}

/// How a run is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Show {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Every outcome gets a line.
    pub(crate) verbose: bool,
    pub(crate) progress: Progress,
    /// Where results go, if not to standard output.
    pub(crate) output: Option<PathBuf>,
    pub(crate) force: bool,
}

/// What a run is called, and where it runs.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The task, or the command's first word.
    pub(crate) name: String,
    /// The words of a command, as they were typed.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) backend: &'static str,
    pub(crate) workers: usize,
    pub(crate) chunk: Chunk,
    /// Whether lines of a command's output begin with its input.
    pub(crate) tag: bool,
}

/// Says what happens in one run.
pub(crate) struct Report {
    facts: Facts,
    feed: Arc<Feed>,
    show: Show,
    /// None under `--json`, unless results go to a file.
    results: Option<Output>,
    events: Option<Output>,
    /// Why results are not written any more.
    broken: Option<Stop>,
    /// Results that were not even tried to be written.
    lost: usize,
    ledger: Ledger,
    journal: Option<Journal>,
    terminal: Terminal,
    start: Instant,
    last_progress: Instant,
    counts: HashMap<Status, usize>,
    alike: HashMap<String, usize>,
    failures: Vec<String>,
    skipped: Vec<String>,
    /// Inputs that were marked as slow and have no outcome yet, and how many of them succeeded.
    slow: HashSet<u64>,
    slow_ok: usize,
    walls: Vec<(f32, u64)>,
}

impl Report {
    pub(crate) fn new(facts: Facts, feed: Arc<Feed>, show: Show, journal: Option<Journal>) -> Result<Self, Stop> {
        let now = Instant::now();
        let existing = match &journal {
            _ if show.force => Existing::Overwritten,
            Some(Journal { goes_on: true, cut, .. }) => Existing::GoesOn(*cut),
            _ => Existing::Refused,
        };
        let results = match &show.output {
            Some(path) => Some(Output::file(path, existing)?),
            None => (!show.json).then(Output::stdout),
        };
        Ok(Self {
            terminal: Terminal::stderr(feed.total, show.progress, show.quiet),
            results,
            events: show.json.then(Output::stdout),
            broken: None,
            lost: 0,
            ledger: Ledger::default(),
            journal,
            facts,
            feed,
            show,
            start: now,
            last_progress: now,
            counts: HashMap::new(),
            alike: HashMap::new(),
            failures: Vec::new(),
            skipped: Vec::new(),
            slow: HashSet::new(),
            slow_ok: 0,
            walls: Vec::new(),
        })
    }

    /// The run begins.
    pub(crate) fn started(&mut self) -> Result<(), Stop> {
        let Facts { name, command, backend, workers, chunk, .. } = &self.facts;
        let total = self.feed.total;
        if let Some(events) = &mut self.events {
            let size = match chunk {
                Chunk::Auto => 1,
                Chunk::Fixed(size) => *size,
            };
            let event = Event::new("run-started")
                .with_some("run", self.journal.as_ref().map(Journal::id))
                .with("time", utc::rfc3339(SystemTime::now()))
                .with_some("task", command.is_none().then_some(name))
                .with_some("command", command.as_ref())
                .with("backend", backend)
                .with("workers", workers)
                .with("chunk", size)
                .with("total", total);
            events.line(event.to_string())?;
            // A reader of events wants to know at once.
            events.flush()?;
        }
        for line in self.journal.as_mut().map(Journal::sayings).unwrap_or_default() {
            self.remark(&line);
        }
        let inputs = total.map_or("inputs as they come".to_owned(), |total| words::count(total, "input"));
        let chunk = match chunk {
            Chunk::Fixed(size) if *size > 1 => format!(", chunk {size}"),
            _ => String::new(),
        };
        let place = place(&self.facts);
        match &self.journal {
            Some(journal) => self.remark(&format!("Starting run {}: {name}, {inputs}, {place}{chunk}", journal.id())),
            None => self.remark(&format!("Starting {name}: {inputs}, {place}{chunk}")),
        }
        Ok(())
    }

    /// To be told how many tasks run.
    pub(crate) fn running(&self) -> Running {
        self.terminal.running()
    }

    /// A line that `--quiet` leaves out.
    pub(crate) fn remark(&self, line: &str) {
        if !self.show.quiet {
            self.terminal.line(line);
        }
    }

    /// An input has its outcome.
    pub(crate) fn done(&mut self, mut done: Done) -> Result<(), Stop> {
        let status = done.status;
        *self.counts.entry(status).or_default() += 1;
        self.slow_ok += usize::from(self.slow.remove(&done.number) && status == Status::Ok);
        if let Some(wall) = done.wall {
            self.walls.push((wall.as_secs_f32(), done.number));
        }
        let written = self.write(&mut done);
        if let Some(trouble) = &done.trouble
            && status != Status::Cancelled
        {
            self.failure(&done, status, trouble);
        } else if self.show.verbose && status == Status::Ok {
            let wall = done.wall.map_or(String::new(), |wall| format!("[{:>7.3}s] ", wall.as_secs_f64()));
            self.terminal.status(status.word(), Tone::Good, &format!("{wall}{}", self.what(&done)));
        }
        self.progress();
        written
    }

    /// Writes what came of an input; where that has failed before, only counts it.
    fn write(&mut self, done: &mut Done) -> Result<(), Stop> {
        if self.broken.is_some() {
            self.lost += usize::from(done.status == Status::Ok);
            return Ok(());
        }
        let written = self.write_result(done);
        let (written_to, end) = self.extent();
        let line = self.journal.is_some().then(|| self.entry(done, end).to_string());
        self.ledger.add(end, done.status == Status::Ok, line);
        self.wrote(written, written_to)
    }

    /// Successes of which nothing is known but their results.
    pub(crate) fn successes(&mut self, mut successes: Successes) -> Result<(), Stop> {
        let count = successes.len();
        if count == 0 {
            return Ok(());
        }
        *self.counts.entry(Status::Ok).or_default() += count;
        if self.broken.is_some() {
            self.lost += count;
            return Ok(());
        }
        let start = self.extent().1;
        let text = successes.take_text();
        let results = self.results.as_mut();
        let written = results.map_or(Ok(()), |results| results.bytes(&text).and_then(|()| results.be_seen()));
        self.ledger.add_many(start, successes);
        let written = self.wrote(written, self.extent().0);
        self.progress();
        written
    }

    /// Something was written, or could not be; and the output is written up to there.
    fn wrote(&mut self, written: Result<(), Stop>, written_to: u64) -> Result<(), Stop> {
        // Part of what could not be written whole is safe too.
        let settled = if self.ledger.has_news(written_to) { self.settle() } else { Ok(()) };
        let written = written.and(settled);
        if let Err(stop) = &written {
            self.broken = Some(stop.clone());
        }
        written
    }

    /// How far results, or events in their place, are written, and how far they will be.
    fn extent(&self) -> (u64, u64) {
        self.results.as_ref().or(self.events.as_ref()).map_or((0, 0), Output::extent)
    }

    /// Enters what is safe into the journal.
    fn settle(&mut self) -> Result<(), Stop> {
        let (written, _) = self.extent();
        let to_file = self.show.output.is_some();
        let journal = &mut self.journal;
        self.ledger.settle(written, to_file, |lines| journal.as_mut().map_or(Ok(()), |journal| journal.append(lines)))
    }

    /// An outcome for the journal: the event, without the result.
    fn entry(&self, done: &Done, end: u64) -> Event {
        let of_trouble = done.trouble.as_ref();
        Event::new("task-finished")
            .with("index", done.number)
            .with_some("source", of_trouble.map(|_| self.feed.label(done.origin)))
            .with_some("input", of_trouble.map(|_| &done.shown))
            .with("status", done.status.word())
            .with_some("key", done.key)
            .with_some("attempt", (done.attempt > 1).then_some(done.attempt))
            .with_some("worker", done.worker)
            .with_some("start_s", seconds(done.start))
            .with_some("wall_s", seconds(done.wall))
            .with_some("cpu_s", seconds(done.cpu))
            .with("in_bytes", done.in_bytes)
            .with_some("out_end", self.show.output.is_some().then_some(end))
            .with_some("error", of_trouble.map(|trouble| &trouble.record))
    }

    /// An input was done before, in the run that is gone on with.
    pub(crate) fn before(&mut self, number: u64, origin: Origin) -> Result<(), Stop> {
        *self.counts.entry(Status::Skip).or_default() += 1;
        let Some(events) = &mut self.events else { return Ok(()) };
        let event = Event::new("task-finished").with("index", number).with("source", self.feed.label(origin));
        events.line(event.with("status", Status::Skip.word()).to_string())
    }

    fn write_result(&mut self, done: &mut Done) -> Result<(), Stop> {
        if self.events.is_some() {
            let event = self.event(done).to_string();
            self.events.as_mut().map_or(Ok(()), |events| events.line(event))?;
        }
        let Some(results) = &mut self.results else { return Ok(()) };
        if let Some(value) = &done.result {
            results.line(value.to_string())?;
        }
        if let Some(Printed { stdout, stderr }) = &mut done.printed {
            let tag = self.facts.tag.then(|| format!("{}\t", done.shown).into_bytes());
            stdout.copy(tag.as_deref(), |piece| results.bytes(piece))?;
            if stdout.len() > 0 {
                results.be_seen()?;
            }
            if stderr.len() > 0 && !self.show.json {
                // In the order in which a terminal would show them.
                results.flush()?;
                stderr.copy(tag.as_deref(), |piece| {
                    terminal::write_bytes_above(piece);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn event(&self, done: &Done) -> Event {
        let result = done.result.as_ref();
        let printed = done.printed.as_ref();
        let bytes = printed.map(|printed| printed.stdout.len()).or(result.map(|value| value.to_string().len() as u64));
        let text = printed.filter(|_| self.results.is_none()).and_then(|printed| printed.stdout.text().ok());
        let (text, whole) = text.unzip();
        let mut record = done.trouble.as_ref().map(|trouble| trouble.record.clone());
        if let (Some(record), Some(line)) = (&mut record, printed.and_then(|printed| printed.stderr.last_line())) {
            record["stderr_tail"] = line.into();
        }
        Event::new("task-finished")
            .with("index", done.number)
            .with("source", self.feed.label(done.origin))
            .with("status", done.status.word())
            .with("attempt", done.attempt)
            .with("worker", done.worker)
            .with("start_s", seconds(done.start))
            .with("wall_s", seconds(done.wall.or(done.trouble.as_ref().and_then(|trouble| trouble.wall))))
            .with("cpu_s", seconds(done.cpu))
            .with("in_bytes", done.in_bytes)
            .with("out_bytes", bytes.unwrap_or(0))
            .with_some("result", result)
            .with_some("stdout", text)
            .with_some("stdout_cut", whole.filter(|whole| !whole).map(|_| true))
            .with_some("error", record)
    }

    /// `#3 decode c.bin`
    fn what(&self, done: &Done) -> String {
        let input = words::shown(&done.shown, INPUT_WIDTH);
        format!("#{} {} {input}", done.number, self.facts.name).trim_end().to_owned()
    }

    /// A failure for people: what, where, and what is known.
    fn failure(&mut self, done: &Done, status: Status, trouble: &Trouble) {
        let word = status.word().to_uppercase();
        let what = self.what(done);
        if self.failures.len() < SHOWN_AGAIN {
            let text = format!("{word:>8}  {what}  {}", self.feed.label(done.origin));
            self.failures.push(text.trim_end().to_owned());
        }
        let key = format!("{word} x {{}} more: {}", words::shown(&trouble.key, 120));
        let seen = self.alike.entry(key).or_default();
        *seen += 1;
        if *seen > SHOWN_ALIKE {
            return;
        }
        let wall = done.wall.or(trouble.wall);
        let wall = wall.map_or(String::new(), |wall| format!("[{:>7.3}s] ", wall.as_secs_f64()));
        self.terminal.status(&word, Tone::Bad, &format!("{wall}{what}"));
        for line in &trouble.details {
            self.terminal.detail(line);
        }
    }

    /// An input was left out.
    pub(crate) fn skipped(&mut self, bad: &BadInput) -> Result<(), Stop> {
        self.skipped.push(bad.in_short());
        self.events.as_mut().map_or(Ok(()), |events| events.line(bad.event().to_string()))
    }

    /// An input ends the run.
    pub(crate) fn bad_input(&mut self, bad: &BadInput) -> Result<(), Stop> {
        self.events.as_mut().map_or(Ok(()), |events| events.line(bad.event().to_string()))
    }

    /// Nothing to write for now.
    pub(crate) fn idle(&mut self) -> Result<(), Stop> {
        self.progress();
        if self.broken.is_some() {
            return Ok(());
        }
        let flushed = self.flush();
        if let Err(stop) = &flushed {
            self.broken = Some(stop.clone());
        }
        flushed
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let results = self.results.as_mut().map_or(Ok(()), Output::flush);
        let written = results.and_then(|()| self.events.as_mut().map_or(Ok(()), Output::flush));
        written.and(self.settle())
    }

    /// How long it may stay silent.
    pub(crate) fn patience(&self) -> Duration {
        PROGRESS_EVERY.saturating_sub(self.last_progress.elapsed())
    }

    fn progress(&mut self) {
        self.terminal.far(self.count(Status::Ok), self.failed(), self.count(Status::Skip));
        if self.terminal.lines && self.last_progress.elapsed() >= PROGRESS_EVERY {
            self.last_progress = Instant::now();
            self.terminal.progress_line();
        }
    }

    fn count(&self, status: Status) -> usize {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn failed(&self) -> usize {
        Status::FAILURES.iter().map(|status| self.count(*status)).sum()
    }
}

/// `threads x 4`
pub(crate) fn place(facts: &Facts) -> String {
    match facts.backend {
        "inline" => "inline".to_owned(),
        backend => format!("{backend} x {}", facts.workers),
    }
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e6)
}

/// Says that one bad input keeps a run from starting; in events, if the number of inputs is for their reader.
pub(crate) fn refuse(bad: &BadInput, stop: Stop, total: Option<usize>) -> Result<u8, Stop> {
    let Some(total) = total else { return Err(stop) };
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
    out.flush()?;
    Ok(stop.exit())
}
