//! `run`: one thread reads inputs, this one submits them and writes what comes back.
//!
//! ```text
//!  reader ──Input──▶ ┌──────────┐ ──submit──▶ pool
//!   ▲                │ this     │               │
//!   │                │ thread   │ ◀──Finished───┘   woken by each handle
//!   └──── credit ─── └──────────┘ ──▶ results, report
//! ```
//!
//! A reader of its own, so that `tail -f | … run -i -` delivers what is finished while it waits for
//! the next line. It spends a credit an input, and gets it back when the result has been written:
//! however long the input, no more than a window of it is in memory.
//!
//! Tasks go one by one, each with its handle, so that everything is known of each: input, worker,
//! times. Short ones go in chunks instead (`chunks.rs`). Limits and attempts of each task are the pool's; this thread keeps
//! those of the run, and says what it hears.

mod dry_run;
mod ending;
mod intake;
mod message;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ffi::OsString,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use taskloom::{Handle, NamedTask, Pool, View, Waitable};

pub(crate) use self::{dry_run::dry_run, message::Message};
use self::{intake::Intake, message::Bell};
use crate::{
    Stop,
    args::{OnBadInput, RunArgs},
    bad_input::BadInput,
    chunks::{Batch, Chunks, Entry, Part, Rest},
    input::Input,
    memory::Gate,
    outcome::{Brief, Done, Status},
    plan::Plan,
    program,
    progress::Running,
    reader::{self, Credits, no_thread},
    record::{self, Work},
    report::{End, Report},
    signals::{self, Seen},
    stopping::Why,
};

/// Inputs between reading and writing, at least, and for each worker.
const WINDOW: (usize, usize) = (256, 64);
/// How long they have when nobody will see their results.
const UNSEEN_GRACE: Duration = Duration::from_secs(1);
/// How long results of a file's inputs wait for others to be written with.
const MOMENT: Duration = Duration::from_millis(10);

/// Runs it; the exit code, or why it could not be finished.
pub(crate) fn run(plan: Plan, args: &RunArgs, typed: &[OsString]) -> Result<u8, Stop> {
    let (pool, saying) = plan.pool()?;
    let work = Work {
        command: "run",
        name: plan.fit.def.name(),
        version: plan.fit.def.version().to_string(),
        typed,
        output: plan.show.output.as_deref(),
    };
    let journal = record::begin(&args.record, &plan.feed, &work)?;
    let plan = Arc::new(plan);
    let mut report = Report::new(plan.facts(), plan.feed.clone(), plan.show.clone(), journal)?;
    let mut engine = Engine::new(plan, pool, report.running(), mpsc::channel())?;
    engine.plan.sayings.iter().chain(&saying).for_each(|line| report.remark(line));
    report.started()?;
    let end = engine.drive(&mut report);
    match &end {
        End::Stop(_) => engine.pool.cancel_all(UNSEEN_GRACE),
        // All have their outcomes; threads that were left behind are not waited for.
        _ if engine.plan.limits.timeout.is_some() => engine.pool.cancel_all(Duration::ZERO),
        _ => engine.pool.join(),
    }
    report.ended(end, engine.read + engine.skipped + engine.before)
}

/// An input that has been sent on its way by itself.
struct Open {
    handle: Handle<Value>,
    brief: Brief,
    submitted: Duration,
    /// It ran when it was told to stop.
    told: bool,
    /// Since when its present attempt has been seen to run, and whether that was said to be long.
    since: Option<Instant>,
    slow: bool,
    /// How its last attempt ended, if there is to be another.
    last: Option<Box<Done>>,
}

impl Open {
    fn new(handle: Handle<Value>, brief: Brief, submitted: Duration) -> Self {
        Self { handle, brief, submitted, told: false, since: None, slow: false, last: None }
    }
}

/// Something to be written when its turn comes.
enum Ready {
    Done(Done),
    Part(Part),
}

struct Engine {
    plan: Arc<Plan>,
    pool: Pool,
    /// The pool, with the limits on each task.
    limited: View,
    start: Instant,
    sender: Sender<Message>,
    messages: Receiver<Message>,
    credits: Arc<Credits>,
    /// By turn.
    open: HashMap<u64, Open>,
    /// What cannot be written yet, by turn, and whether a turn's is all there.
    held: BTreeMap<u64, (Vec<Ready>, bool)>,
    /// The last turn that was given away, and the next that is to be written.
    turns: u64,
    next_out: u64,
    read: usize,
    skipped: usize,
    /// Inputs that were done before.
    before: usize,
    input_ended: bool,
    bad: Option<Stop>,
    signals: Arc<Seen>,
    /// Why nothing more is started.
    stopping: Option<Why>,
    /// A signal has come.
    signalled: bool,
    /// When the run is to end, and when what runs is killed.
    run_ends: Option<Instant>,
    kill_at: Option<Instant>,
    done: usize,
    failed: usize,
    gate: Gate,
    /// Inputs that wait for room on a worker.
    held_back: VecDeque<(u64, Input, NamedTask)>,
    chunks: Chunks,
    running: Running,
    /// How often it is looked what runs, and when that was.
    tick: Duration,
    last_look: Instant,
}

impl Engine {
    fn new(
        plan: Arc<Plan>,
        pool: Pool,
        running: Running,
        (sender, messages): (Sender<Message>, Receiver<Message>),
    ) -> Result<Self, Stop> {
        let credits = Arc::new(Credits::new(WINDOW.0.max(WINDOW.1 * plan.workers)));
        let signals = Arc::new(Seen::new());
        let wake = sender.clone();
        // A run that has ended hears nothing any more.
        let watching = signals::watch(signals.clone(), move || _ = wake.send(Message::Signal));
        watching.map_err(|error| no_thread(&error))?;
        let limits = &plan.limits;
        let limited = pool.with(limits.policy(pool.capabilities().kills));
        if limits.retries > 0 {
            message::hear_of_retries(&pool, sender.clone());
        }
        let start = Instant::now();
        let (run_ends, tick) = (limits.run_timeout.map(|limit| start + limit), watch::tick(limits.slow));
        let gate = Gate::new(limits.min_free_memory);
        let chunks = Chunks::new(&plan, pool.capabilities().runs_at_submission);
        credits.give(chunks.window(plan.workers));
        let taker = Intake {
            feed: plan.feed.clone(),
            fit: plan.fit,
            size: chunks.read_size.clone(),
            credits: credits.clone(),
            together: Vec::new(),
            sender: sender.clone(),
        };
        reader::start(plan.feed.clone(), taker)?;
        Ok(Self {
            plan,
            limited,
            pool,
            start,
            sender,
            messages,
            credits,
            open: HashMap::new(),
            held: BTreeMap::new(),
            turns: 0,
            next_out: 1,
            read: 0,
            skipped: 0,
            before: 0,
            input_ended: false,
            bad: None,
            signals,
            stopping: None,
            signalled: false,
            run_ends,
            kill_at: None,
            done: 0,
            failed: 0,
            gate,
            held_back: VecDeque::new(),
            chunks,
            running,
            tick,
            last_look: start,
        })
    }

    fn drive(&mut self, report: &mut Report) -> End {
        match self.until_done(report) {
            Err(stop) => {
                self.credits.close();
                self.chunks.abort();
                self.open.values().for_each(|open| _ = open.handle.cancel());
                End::Stop(stop)
            }
            Ok(()) => self.end(),
        }
    }

    fn until_done(&mut self, report: &mut Report) -> Result<(), Stop> {
        while self.is_busy() {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => self.wait(report)?,
                Err(TryRecvError::Disconnected) => None,
            };
            if let Some(message) = message {
                let acted = self.act(message, report);
                self.written(acted)?;
            }
            while let Some(code) = self.signals.pop() {
                self.interrupt(code, report);
            }
            self.keep_clocks();
            let started = self.start_held_back(report);
            self.written(started)?;
            if self.last_look.elapsed() >= self.tick {
                self.last_look = Instant::now();
                self.look_at_running(report);
                for (turn, part) in self.chunks.gather() {
                    let delivered = self.deliver(turn, Ready::Part(part), false, report);
                    self.written(delivered)?;
                }
            }
        }
        // After an interruption there are gaps that nothing will fill.
        for ready in std::mem::take(&mut self.held).into_values().flat_map(|(ready, _)| ready) {
            let written = self.write(ready, report);
            self.written(written)?;
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.input_ended
            || !self.open.is_empty()
            || !self.held_back.is_empty()
            || !self.chunks.waiting.is_empty()
            || self.chunks.open > 0
    }

    /// Nothing to do for now.
    fn wait(&mut self, report: &mut Report) -> Result<Option<Message>, Stop> {
        if self.plan.feed.total.is_some() {
            // A file's next inputs are on their way: to write each result by itself would take longer than most tasks.
            if let Ok(message) = self.messages.recv_timeout(MOMENT) {
                return Ok(Some(message));
            }
        } else {
            // A pipe may not fill a chunk for hours: what there is, goes.
            self.send_chunk()?;
        }
        self.written(report.idle())?;
        Ok(self.messages.recv_timeout(self.patience()).ok())
    }

    fn act(&mut self, message: Message, report: &mut Report) -> Result<(), Stop> {
        match message {
            // What was read before a stop was noticed is not started any more.
            Message::Input(..) | Message::Inputs(_) if self.is_stopping() => Ok(()),
            Message::Input(number, input, Ok(task)) => self.submit(number, input, task, report),
            Message::Inputs(entries) => {
                self.read += entries.len();
                // What came one by one came before.
                self.send_chunk()?;
                self.send(entries)
            }
            Message::Input(_, input, Err(fault)) => {
                self.credits.give(1);
                self.bad_input(&self.plan.feed.bad(&input, fault), report)
            }
            Message::Before(number, origin) => {
                self.before += 1;
                self.credits.give(1);
                report.before(number, origin)
            }
            Message::InputEnd => {
                self.input_ended = true;
                self.send_chunk()
            }
            Message::InputFailed(stop) => {
                self.input_ended = true;
                self.bad.get_or_insert(stop);
                Ok(())
            }
            Message::Finished(turn) => self.take(turn, report),
            Message::Retrying(event) => self.retrying(event, report),
            Message::Part(turn, part, last) => {
                self.chunks.open -= usize::from(last);
                self.deliver(turn, Ready::Part(part), last, report)
            }
            // It only ended a wait: it may have come behind many inputs, each of which takes its time inline.
            Message::Signal => Ok(()),
        }
    }

    fn submit(&mut self, number: u64, input: Input, task: NamedTask, report: &mut Report) -> Result<(), Stop> {
        self.read += 1;
        if self.chunks.size == 1 && self.plan.limits.hold_back() {
            self.held_back.push_back((number, input, task));
            return Ok(());
        }
        if self.chunks.size > 1 {
            self.chunks.waiting.push(Entry { number, input, task: Some(Box::new(task)) });
            return if self.chunks.waiting.len() < self.chunks.size { Ok(()) } else { self.send_chunk() };
        }
        self.start(number, input, task, report)
    }

    fn start(&mut self, number: u64, input: Input, task: NamedTask, report: &mut Report) -> Result<(), Stop> {
        let turn = self.next_turn();
        let brief = self.plan.feed.brief(number, &input);
        let submitted = self.start.elapsed();
        match self.limited.submit(task) {
            Ok(handle) if self.plan.limits.retries > 0 => {
                // By the way on which its attempts are told, so that it is told after them.
                let sender = self.sender.clone();
                handle.on_done(move |_| _ = sender.send(Message::Finished(turn)));
                self.open.insert(turn, Open::new(handle, brief, submitted));
                Ok(())
            }
            Ok(handle) => {
                let bell = Bell::new(turn, self.sender.clone());
                // On the inline backend it is finished already, and its result is not to wait behind unread inputs.
                let finished = handle.poll_finished(&Arc::new(bell).into());
                self.open.insert(turn, Open::new(handle, brief, submitted));
                if finished { self.take(turn, report) } else { Ok(()) }
            }
            Err(error) => self.deliver(turn, Ready::Done(Done::of(brief, Err(error))), true, report),
        }
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Takes a finished task's outcome.
    fn take(&mut self, turn: u64, report: &mut Report) -> Result<(), Stop> {
        let Some(open) = self.open.remove(&turn) else { return Ok(()) };
        let Open { handle, brief, submitted, told, slow, last, .. } = open;
        let finished = handle.summary();
        let result = handle.join();
        if self.chunks.learn(finished.as_ref()) {
            self.credits.give(self.chunks.window(self.plan.workers));
        }
        let metrics = finished.as_ref().map(|finished| finished.metrics).unwrap_or_default();
        let done = Done {
            attempt: finished.as_ref().map_or(1, |finished| finished.attempt),
            worker: finished.and_then(|finished| finished.worker),
            start: metrics.queued.map(|queued| submitted + queued),
            wall: metrics.wall,
            cpu: metrics.cpu,
            ..Done::of(brief, result)
        };
        // One that was on its way to a worker when it was told may have started all the same: the pool knows.
        let never_ran = done.wall.is_none() && (!told || done.attempt == 0);
        if self.is_stopping() && done.status == Status::Cancelled && never_ran {
            // Never started: it is counted with those that were never sent. Or not again: then its last attempt counts.
            return last.map_or(Ok(()), |last| self.deliver(turn, Ready::Done(*last), true, report));
        }
        if !slow && done.wall.is_some_and(|wall| wall > self.plan.limits.slow) {
            report.slow(done.number, &done.shown, self.plan.limits.slow);
        }
        self.deliver(turn, Ready::Done(done), true, report)
    }

    /// Writes what has come, and all whose turn it is then.
    fn deliver(&mut self, turn: u64, ready: Ready, last: bool, report: &mut Report) -> Result<(), Stop> {
        self.count(&ready);
        if !self.plan.keep_order {
            return self.write(ready, report);
        }
        let held = self.held.entry(turn).or_default();
        held.0.push(ready);
        held.1 = last;
        while let Some((ready, last)) = self.held.remove(&self.next_out) {
            for ready in ready {
                self.write(ready, report)?;
            }
            if !last {
                break;
            }
            self.next_out += 1;
        }
        Ok(())
    }

    fn write(&mut self, ready: Ready, report: &mut Report) -> Result<(), Stop> {
        let part = match ready {
            Ready::Done(done) => {
                self.credits.give(1);
                return self.report_done(done, report);
            }
            Ready::Part(part) => part,
        };
        self.credits.give(part.len());
        report.successes(part.successes)?;
        for rest in part.rest {
            match rest {
                Rest::Done(done) => self.report_done(*done, report)?,
                Rest::Before(number, origin) => {
                    (self.read, self.before) = (self.read - 1, self.before + 1);
                    report.before(number, origin)?;
                }
                Rest::Bad(bad) => {
                    self.read -= 1;
                    self.bad_input(&bad, report)?;
                }
            }
        }
        Ok(())
    }

    fn report_done(&self, mut done: Done, report: &mut Report) -> Result<(), Stop> {
        if let (Some(trouble), Some(again)) = (&mut done.trouble, &self.plan.again) {
            trouble.details.extend(again.line(done.number, done.status));
        }
        report.done(done)
    }

    fn bad_input(&mut self, bad: &BadInput, report: &mut Report) -> Result<(), Stop> {
        if self.plan.feed.on_bad_input == OnBadInput::Skip {
            self.skipped += 1;
            return report.skipped(bad);
        }
        let task = self.plan.fit.def.short_name();
        let mut stop = bad.stop(task);
        if let Some(help) = bad.help(&program(), task) {
            stop = stop.help(help);
        }
        self.bad = Some(stop);
        // What has started is finished; nothing more is read.
        self.input_ended = true;
        self.credits.close();
        report.bad_input(bad)
    }

    fn send_chunk(&mut self) -> Result<(), Stop> {
        if self.chunks.waiting.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.chunks.waiting);
        self.send(entries)
    }

    fn send(&mut self, entries: Vec<Entry>) -> Result<(), Stop> {
        let turn = self.next_turn();
        self.chunks.send(Batch { turn, entries }, &self.plan, &self.pool, &self.sender)
    }
}
