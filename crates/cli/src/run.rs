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
//! times. Short ones go in chunks instead, from threads that do nothing but wait for a map.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use serde_json::Value;
use taskloom::{Cancel, Finished, Handle, NamedTask, Policy, Pool, State, TaskError, View, Waitable};

use crate::{
    Stop,
    args::{OnBadInput, RunArgs},
    bad_input::BadInput,
    chunks::Chunks,
    exit,
    input::{Input, Origin, Source},
    outcome::{Done, Status, Trouble},
    plan::Plan,
    program,
    reader::{self, Credits, no_thread},
    record::{self, Key, Work},
    report::{End, Facts, Report},
    signals::{self, Seen},
    words,
};

/// Inputs between reading and writing, at least, and for each worker.
const WINDOW: (usize, usize) = (256, 64);
/// How long running tasks have after the first Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);
/// How long they have when nobody will see their results.
const UNSEEN_GRACE: Duration = Duration::from_secs(1);
/// How often a waiting run looks at its clocks.
const TICK: Duration = Duration::from_millis(250);
/// How much of an input is kept while it runs, to be shown if it fails.
const KEPT: usize = 200;

/// Runs it; the exit code, or why it could not be finished.
pub(crate) fn run(plan: Plan, args: &RunArgs, typed: &[OsString]) -> Result<u8, Stop> {
    let pool = build(&plan)?;
    let work = Work {
        command: "run",
        name: plan.fit.def.name(),
        version: plan.fit.def.version().to_string(),
        typed,
        output: plan.show.output.as_deref(),
    };
    let journal = record::begin(&args.record, &plan.feed, &work)?;
    let plan = Arc::new(plan);
    let facts = Facts {
        name: plan.fit.def.short_name().to_owned(),
        command: None,
        backend: plan.backend,
        workers: plan.workers,
        chunk: plan.chunk,
        tag: false,
    };
    let mut report = Report::new(facts, plan.feed.clone(), plan.show.clone(), journal)?;
    let (sender, messages) = mpsc::channel();
    let mut engine = Engine::new(plan, pool, sender, messages)?;
    report.started()?;
    let end = engine.drive(&mut report);
    match &end {
        End::Stop(_) => engine.pool.cancel_all(UNSEEN_GRACE),
        _ => engine.pool.join(),
    }
    report.ended(end, engine.read + engine.skipped + engine.before)
}

fn build(plan: &Plan) -> Result<Pool, Stop> {
    let pool = taskloom::pool(plan.backend).and_then(|pool| pool.workers(plan.workers).metrics(true).build());
    pool.map_err(|error| {
        let backend = plan.backend;
        Stop::new(exit::UNAVAILABLE, "backend-unavailable", format!("backend `{backend}` cannot start"))
            .reason(words::shown(&error.to_string(), 400))
    })
}

pub(crate) enum Message {
    /// An input, with its number.
    Input(u64, Input, Result<NamedTask, taskloom::JsonFault>),
    /// One that was done before.
    Before(u64, Origin),
    InputEnd,
    /// The source itself failed.
    InputFailed(Stop),
    /// A handle has its outcome.
    Finished(u64),
    /// A chunk's task has its outcome.
    Outcome(u64, Result<Value, TaskError>),
    /// One more chunk thread is at rest.
    ChunkDone,
    /// Look at the signals.
    Signal,
}

/// An input that has been sent on its way.
struct Open {
    /// None for one in a chunk.
    handle: Option<Handle<Value>>,
    number: u64,
    origin: Origin,
    shown: String,
    in_bytes: usize,
    key: Option<Key>,
    submitted: Duration,
    /// It ran when it was told to stop.
    told: bool,
}

struct Engine {
    plan: Arc<Plan>,
    pool: Pool,
    /// The pool, with the grace period of this command for tasks that are told to stop.
    patient: View,
    start: Instant,
    sender: Sender<Message>,
    messages: Receiver<Message>,
    credits: Arc<Credits>,
    open: HashMap<u64, Open>,
    /// Results whose turn has not come.
    held: BTreeMap<u64, Done>,
    next_out: u64,
    read: usize,
    skipped: usize,
    /// Inputs that were done before.
    before: usize,
    input_ended: bool,
    bad: Option<Stop>,
    /// Why results are not written any more.
    broken: Option<Stop>,
    signals: Arc<Seen>,
    interrupted: Option<Interrupted>,
    chunks: Chunks,
}

struct Interrupted {
    code: u8,
    until: Instant,
    killed: bool,
}

impl Engine {
    fn new(plan: Arc<Plan>, pool: Pool, sender: Sender<Message>, messages: Receiver<Message>) -> Result<Self, Stop> {
        let credits = Arc::new(Credits::new(WINDOW.0.max(WINDOW.1 * plan.workers)));
        let signals = Arc::new(Seen::default());
        let (seen, wake) = (signals.clone(), sender.clone());
        let watching = signals::watch(move |code| {
            seen.push(code);
            // A run that has ended hears nothing any more.
            let _ = wake.send(Message::Signal);
        });
        watching.map_err(|error| no_thread(&error))?;
        let (fit, feed, inputs, ended) = (plan.fit, plan.feed.clone(), sender.clone(), sender.clone());
        let take = move |number, input: Input| {
            if feed.was_done(&input) {
                return inputs.send(Message::Before(number, input.origin)).is_ok();
            }
            let task = fit.task(&input.text);
            inputs.send(Message::Input(number, input, task)).is_ok()
        };
        let end = move |end: Result<(), Stop>| {
            let _ = ended.send(end.map_or_else(Message::InputFailed, |()| Message::InputEnd));
        };
        reader::start(plan.feed.clone(), credits.clone(), take, end)?;
        let chunks = Chunks::new(&plan, pool.capabilities().runs_at_submission);
        credits.give(chunks.window(plan.workers));
        Ok(Self {
            plan,
            patient: pool.with(Policy::new().grace(GRACE)),
            pool,
            start: Instant::now(),
            sender,
            messages,
            credits,
            open: HashMap::new(),
            held: BTreeMap::new(),
            next_out: 1,
            read: 0,
            skipped: 0,
            before: 0,
            input_ended: false,
            bad: None,
            broken: None,
            signals,
            interrupted: None,
            chunks,
        })
    }

    fn drive(&mut self, report: &mut Report) -> End {
        match self.until_done(report) {
            Err(stop) => {
                self.credits.close();
                self.chunks.abort();
                for open in self.open.values() {
                    open.handle.iter().for_each(|handle| _ = handle.cancel());
                }
                End::Stop(stop)
            }
            Ok(()) if self.broken.is_some() => End::Stop(self.broken.take().unwrap_or_else(no_input)),
            Ok(()) => match (&self.interrupted, self.bad.take()) {
                (Some(interrupted), _) => End::Signal(interrupted.code),
                (None, Some(bad)) => End::Input(bad),
                (None, None) if self.read + self.skipped + self.before == 0 && !self.plan.feed.allow_empty => {
                    End::Input(no_input())
                }
                (None, None) => End::Complete,
            },
        }
    }

    fn until_done(&mut self, report: &mut Report) -> Result<(), Stop> {
        while !self.input_ended || !self.open.is_empty() || !self.chunks.waiting.is_empty() {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => {
                    // A pipe may not fill a chunk for hours: what there is, goes. A file's next inputs are on their way.
                    if self.plan.feed.total.is_none() {
                        self.send_chunk()?;
                    }
                    self.written(report.idle())?;
                    self.messages.recv_timeout(TICK).ok()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            if let Some(message) = message {
                let acted = self.act(message, report);
                self.written(acted)?;
            }
            while let Some(code) = self.signals.pop() {
                self.interrupt(code, report);
            }
            self.keep_grace();
        }
        // After an interruption there are gaps that nothing will fill.
        for done in std::mem::take(&mut self.held).into_values() {
            let done = report.done(done);
            self.written(done)?;
        }
        Ok(())
    }

    /// A full disk costs what has not started; what runs may end. A reader that went away wants none of it.
    fn written(&mut self, written: Result<(), Stop>) -> Result<(), Stop> {
        match written {
            Err(stop) if stop.is_quiet() || stop.exit() != exit::NOT_WRITTEN => return Err(stop),
            Err(stop) if self.broken.is_none() => {
                self.broken = Some(stop);
                self.start_no_more();
                let waits = |open: &&Open| open.handle.as_ref().is_some_and(|handle| handle.state() == State::Queued);
                self.open.values().filter(waits).for_each(|open| _ = open.handle.as_ref().map(Handle::cancel));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads nothing more, and sends nothing more.
    fn start_no_more(&mut self) {
        self.credits.close();
        self.input_ended = true;
        self.chunks.abort();
        for (number, _) in std::mem::take(&mut self.chunks.waiting) {
            self.open.remove(&number);
        }
    }

    fn act(&mut self, message: Message, report: &mut Report) -> Result<(), Stop> {
        match message {
            // What was read before a stop was noticed is not started any more.
            Message::Input(..) if self.is_stopping() => Ok(()),
            Message::Input(number, input, Ok(task)) => self.submit(number, &input, task, report),
            Message::Input(_, input, Err(fault)) => self.bad_input(&self.plan.feed.bad(&input, fault), report),
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
            Message::Finished(number) => self.take(number, report),
            Message::Outcome(number, result) => match self.open.remove(&number) {
                Some(open) => self.deliver(number, open, result, None, report),
                None => Ok(()),
            },
            Message::ChunkDone => {
                self.chunks.busy -= 1;
                Ok(())
            }
            // It only ended a wait: it may have come behind many inputs, each of which takes its time inline.
            Message::Signal => Ok(()),
        }
    }

    fn submit(&mut self, index: u64, input: &Input, task: NamedTask, report: &mut Report) -> Result<(), Stop> {
        self.read += 1;
        let number = self.read as u64;
        let mut open = Open {
            handle: None,
            number: index,
            origin: input.origin,
            shown: self.shown(input),
            in_bytes: input.text.len(),
            key: input.key,
            submitted: self.start.elapsed(),
            told: false,
        };
        if self.chunks.size > 1 {
            self.open.insert(number, open);
            self.chunks.waiting.push((number, task));
            if self.chunks.waiting.len() >= self.chunks.size {
                return self.send_chunk();
            }
            return Ok(());
        }
        match self.patient.submit(task) {
            Ok(handle) => {
                let waker: Waker = Arc::new(Bell { number, sender: Mutex::new(Some(self.sender.clone())) }).into();
                // On the inline backend it is finished already, and its result is not to wait behind unread inputs.
                let finished = handle.poll_finished(&waker);
                open.handle = Some(handle);
                self.open.insert(number, open);
                if finished { self.take(number, report) } else { Ok(()) }
            }
            Err(error) => self.deliver(number, open, Err(error), None, report),
        }
    }

    fn shown(&self, input: &Input) -> String {
        match self.plan.feed.sources[input.origin.source] {
            Source::Nothing => String::new(),
            _ => words::shown(&input.text.as_shown(), KEPT),
        }
    }

    /// Takes a finished task's outcome.
    fn take(&mut self, number: u64, report: &mut Report) -> Result<(), Stop> {
        let Some(mut open) = self.open.remove(&number) else { return Ok(()) };
        let Some(handle) = open.handle.take() else { return Ok(()) };
        let summary = handle.summary();
        let result = handle.join();
        if self.chunks.learn(summary.as_ref()) {
            self.credits.give(self.chunks.window(self.plan.workers));
        }
        self.deliver(number, open, result, summary, report)
    }

    fn deliver(
        &mut self,
        number: u64,
        open: Open,
        result: Result<Value, TaskError>,
        finished: Option<Finished>,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let Open { number: index, origin, shown, in_bytes, key, submitted, told, .. } = open;
        let metrics = finished.as_ref().map(|finished| finished.metrics).unwrap_or_default();
        let done = Done {
            number: index,
            origin,
            shown,
            in_bytes,
            key,
            status: Status::of(&result),
            trouble: result.as_ref().err().map(Trouble::of),
            result: result.ok(),
            printed: None,
            attempt: finished.as_ref().map_or(1, |finished| finished.attempt),
            worker: finished.and_then(|finished| finished.worker),
            start: metrics.queued.map(|queued| submitted + queued),
            wall: metrics.wall,
            cpu: metrics.cpu,
        };
        if self.is_stopping() && done.status == Status::Cancelled && !told && done.wall.is_none() {
            // Never started: it is counted with those that were never sent.
            return Ok(());
        }
        if !self.plan.keep_order {
            self.credits.give(1);
            return report.done(done);
        }
        self.held.insert(number, done);
        while let Some(done) = self.held.remove(&self.next_out) {
            self.next_out += 1;
            self.credits.give(1);
            report.done(done)?;
        }
        Ok(())
    }

    fn bad_input(&mut self, bad: &BadInput, report: &mut Report) -> Result<(), Stop> {
        if self.plan.feed.on_bad_input == OnBadInput::Skip {
            self.skipped += 1;
            self.credits.give(1);
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

    fn is_stopping(&self) -> bool {
        self.interrupted.is_some() || self.bad.is_some() || self.broken.is_some()
    }

    fn interrupt(&mut self, code: u8, report: &mut Report) {
        if let Some(interrupted) = &mut self.interrupted {
            interrupted.until = Instant::now();
            return;
        }
        self.start_no_more();
        let mut running = 0;
        for open in self.open.values_mut() {
            open.told = open.handle.as_ref().is_some_and(|handle| matches!(handle.cancel(), Cancel::Requested));
            running += usize::from(open.told);
        }
        report.stopping(running, GRACE);
        self.interrupted = Some(Interrupted { code, until: Instant::now() + GRACE, killed: false });
    }

    /// Kills what has used up its grace, or was told to go by a second signal.
    fn keep_grace(&mut self) {
        if let Some(interrupted) = &mut self.interrupted
            && !interrupted.killed
            && Instant::now() >= interrupted.until
        {
            interrupted.killed = true;
            self.pool.cancel_all(Duration::ZERO);
        }
    }

    fn send_chunk(&mut self) -> Result<(), Stop> {
        if self.chunks.waiting.is_empty() {
            return Ok(());
        }
        self.chunks.send(&self.pool, &self.sender, self.plan.workers)
    }
}

fn no_input() -> Stop {
    Stop::new(exit::NO_INPUT, "no-input", "there is no input").help("`--allow-empty` makes that no error")
}

/// Tells the engine that a task is finished. It drops its sender with that, so that nothing rings twice.
struct Bell {
    number: u64,
    sender: Mutex<Option<Sender<Message>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A run that has ended hears nothing any more.
            let _ = sender.send(Message::Finished(self.number));
        }
    }
}
