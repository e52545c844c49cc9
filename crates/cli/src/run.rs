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
    panic,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, TryRecvError},
    },
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use taskloom::{Cancel, Finished, Handle, NamedTask, Policy, Pool, TaskError, View, Waitable};

use crate::{
    Stop,
    args::OnBadInput,
    exit,
    input::{BadInput, Input, Origin},
    plan::{Chunk, Plan},
    program,
    report::{Done, End, Report},
    signals, words,
};

/// Inputs between reading and writing, at least, and for each worker.
const WINDOW: (usize, usize) = (256, 64);
/// How long running tasks have after the first Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);
/// How long they have when nobody will see their results.
const UNSEEN_GRACE: Duration = Duration::from_secs(1);
/// How often a waiting run looks at its clocks.
const TICK: Duration = Duration::from_millis(250);
/// Under automatic chunks: how long a chunk should take, and when one is worth its trouble.
const CHUNK_TIME: Duration = Duration::from_millis(2);
const SHORT: Duration = Duration::from_micros(200);
const SAMPLE: usize = 64;
const MAX_CHUNK: usize = 1024;
/// How much of an input is kept while it runs, to be shown if it fails.
const KEPT: usize = 200;

/// Runs it; the exit code, or why it could not be finished.
pub(crate) fn run(plan: Plan) -> Result<u8, Stop> {
    let pool = build(&plan)?;
    let plan = Arc::new(plan);
    let labels = plan.clone();
    let mut report = Report::new(&plan, move |origin: Origin| labels.sources[origin.source].label(origin.at));
    let (sender, messages) = mpsc::channel();
    let mut engine = Engine::new(plan, pool, sender, messages)?;
    report.started()?;
    let end = engine.drive(&mut report);
    match &end {
        End::Stop(_) => engine.pool.cancel_all(UNSEEN_GRACE),
        _ => engine.pool.join(),
    }
    if engine.read == 0 && engine.skipped == 0 && matches!(end, End::Complete) && !engine.plan.allow_empty {
        return Err(
            Stop::new(exit::NO_INPUT, "no-input", "there is no input").help("`--allow-empty` makes that no error")
        );
    }
    report.ended(end, engine.read + engine.skipped)
}

fn build(plan: &Plan) -> Result<Pool, Stop> {
    let pool = taskloom::pool(plan.backend).and_then(|pool| pool.workers(plan.workers).metrics(true).build());
    pool.map_err(|error| {
        let backend = plan.backend;
        Stop::new(exit::UNAVAILABLE, "backend-unavailable", format!("backend `{backend}` cannot start"))
            .reason(words::shown(&error.to_string(), 400))
    })
}

enum Message {
    Input(Input, Result<NamedTask, taskloom::JsonFault>),
    InputEnd,
    /// The source itself failed.
    InputFailed(Stop),
    /// A handle has its outcome.
    Finished(u64),
    /// A chunk's task has its outcome.
    Outcome(u64, Result<Value, TaskError>),
    /// One more chunk thread is at rest.
    ChunkDone,
    Signal(u8),
}

/// An input that has been sent on its way.
struct Open {
    /// None for one in a chunk.
    handle: Option<Handle<Value>>,
    origin: Origin,
    shown: String,
    in_bytes: usize,
    submitted: Duration,
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
    input_ended: bool,
    bad: Option<Stop>,
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
        let no_thread =
            |error: std::io::Error| Stop::new(exit::FAILED, "no-thread", format!("cannot start a thread: {error}"));
        let credits = Arc::new(Credits::new(WINDOW.0.max(WINDOW.1 * plan.workers)));
        let signal = sender.clone();
        // A run that has ended hears nothing any more.
        signals::watch(move |code| drop(signal.send(Message::Signal(code)))).map_err(no_thread)?;
        let reader = Reader { plan: plan.clone(), credits: credits.clone(), sender: sender.clone() };
        thread::Builder::new().name("taskloom-input".to_owned()).spawn(|| reader.run()).map_err(no_thread)?;
        let chunks = Chunks::new(&plan, pool.capabilities().runs_at_submission);
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
            input_ended: false,
            bad: None,
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
            Ok(()) => match (&self.interrupted, self.bad.take()) {
                (Some(interrupted), _) => End::Signal(interrupted.code),
                (None, Some(bad)) => End::BadInput(bad),
                (None, None) => End::Complete,
            },
        }
    }

    fn until_done(&mut self, report: &mut Report) -> Result<(), Stop> {
        while !self.input_ended || !self.open.is_empty() || !self.chunks.waiting.is_empty() {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => {
                    // Nothing more comes at once: what there is, goes.
                    self.send_chunk();
                    report.idle()?;
                    self.messages.recv_timeout(TICK).ok()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            if let Some(message) = message {
                self.act(message, report)?;
            }
            self.keep_grace();
        }
        Ok(())
    }

    fn act(&mut self, message: Message, report: &mut Report) -> Result<(), Stop> {
        match message {
            // What was read before a stop was noticed is not started any more.
            Message::Input(..) if self.interrupted.is_some() || self.bad.is_some() => Ok(()),
            Message::Input(input, Ok(task)) => self.submit(&input, task, report),
            Message::Input(input, Err(fault)) => {
                let label = self.plan.sources[input.origin.source].label(input.origin.at);
                self.bad_input(&BadInput::new(label, &input, fault), report)
            }
            Message::InputEnd => {
                self.input_ended = true;
                self.send_chunk();
                Ok(())
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
            Message::Signal(code) => {
                self.interrupt(code, report);
                Ok(())
            }
        }
    }

    fn submit(&mut self, input: &Input, task: NamedTask, report: &mut Report) -> Result<(), Stop> {
        self.read += 1;
        let number = self.read as u64;
        let mut open = Open {
            handle: None,
            origin: input.origin,
            shown: words::shown(&input.text.as_shown(), KEPT),
            in_bytes: input.text.len(),
            submitted: self.start.elapsed(),
        };
        if self.chunks.size > 1 {
            self.open.insert(number, open);
            self.chunks.waiting.push((number, task));
            if self.chunks.waiting.len() >= self.chunks.size {
                self.send_chunk();
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

    /// Takes a finished task's outcome.
    fn take(&mut self, number: u64, report: &mut Report) -> Result<(), Stop> {
        let Some(mut open) = self.open.remove(&number) else { return Ok(()) };
        let Some(handle) = open.handle.take() else { return Ok(()) };
        let summary = handle.summary();
        let result = handle.join();
        self.chunks.learn(summary.as_ref());
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
        let Open { origin, shown, in_bytes, submitted, .. } = open;
        let done = Done { number, origin, shown, in_bytes, result, finished, submitted };
        let interrupted = self.interrupted.is_some();
        if !self.plan.keep_order {
            self.credits.give(1);
            return report.done(&done, interrupted);
        }
        self.held.insert(number, done);
        while let Some(done) = self.held.remove(&self.next_out) {
            self.next_out += 1;
            self.credits.give(1);
            report.done(&done, interrupted)?;
        }
        Ok(())
    }

    fn bad_input(&mut self, bad: &BadInput, report: &mut Report) -> Result<(), Stop> {
        if self.plan.on_bad_input == OnBadInput::Skip {
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

    fn interrupt(&mut self, code: u8, report: &mut Report) {
        if let Some(interrupted) = &mut self.interrupted {
            interrupted.until = Instant::now();
            return;
        }
        self.credits.close();
        self.input_ended = true;
        self.chunks.abort();
        for (number, _) in std::mem::take(&mut self.chunks.waiting) {
            self.open.remove(&number);
        }
        let handles = self.open.values().filter_map(|open| open.handle.as_ref());
        let running = handles.filter(|handle| matches!(handle.cancel(), Cancel::Requested)).count();
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

    fn send_chunk(&mut self) {
        if !self.chunks.waiting.is_empty() {
            self.chunks.send(&self.pool, &self.sender, &self.credits, self.plan.workers);
        }
    }
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

/// Reads all sources, one after the other.
struct Reader {
    plan: Arc<Plan>,
    credits: Arc<Credits>,
    sender: Sender<Message>,
}

impl Reader {
    fn run(self) {
        // A bug in here must not leave the engine waiting for inputs.
        let read = panic::catch_unwind(panic::AssertUnwindSafe(|| self.read()));
        let last = match read {
            Ok(Ok(())) => Message::InputEnd,
            Ok(Err(stop)) => Message::InputFailed(stop),
            Err(_) => Message::InputFailed(Stop::new(exit::BUG, "bug", "the thread that reads inputs panicked")),
        };
        let _ = self.sender.send(last);
    }

    fn read(&self) -> Result<(), Stop> {
        for (number, source) in self.plan.sources.iter().enumerate() {
            for input in source.inputs(number)? {
                let input = input?;
                let task = self.plan.fit.task(&input.text);
                if !self.credits.take() || self.sender.send(Message::Input(input, task)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// How many more inputs may be read before results have been written.
struct Credits {
    /// How many are left; none when nothing more is to be read.
    left: Mutex<Option<usize>>,
    more: Condvar,
}

impl Credits {
    fn new(credits: usize) -> Self {
        Self { left: Mutex::new(Some(credits)), more: Condvar::new() }
    }

    fn take(&self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.more.wait_while(left, |left| *left == Some(0)).unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = &mut *left {
            *left -= 1;
        }
        left.is_some()
    }

    fn give(&self, credits: usize) {
        if let Some(left) = &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            *left += credits;
        }
        self.more.notify_one();
    }

    fn close(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.more.notify_one();
    }
}

type Batch = Vec<(u64, NamedTask)>;

/// Tasks that go together, and the threads that wait for them.
struct Chunks {
    size: usize,
    /// Whether the size follows from what tasks take.
    automatic: bool,
    sample: (usize, Duration),
    waiting: Batch,
    batches: Option<Sender<Batch>>,
    busy: usize,
    threads: usize,
    queue: Arc<Mutex<Option<Receiver<Batch>>>>,
    aborted: Arc<AtomicBool>,
}

impl Chunks {
    fn new(plan: &Plan, runs_at_submission: bool) -> Self {
        let size = match plan.chunk {
            // What runs at submission gains nothing from company.
            Chunk::Fixed(size) if !runs_at_submission => size,
            Chunk::Fixed(_) | Chunk::Auto => 1,
        };
        // Events say what each task took, and a chunk does not know; a pipe is to be answered line by line.
        let automatic = plan.chunk == Chunk::Auto && !runs_at_submission && !plan.json && plan.total.is_some();
        let (batches, queue) = mpsc::channel();
        Self {
            size,
            automatic,
            sample: (0, Duration::ZERO),
            waiting: Vec::new(),
            batches: Some(batches),
            busy: 0,
            threads: 0,
            queue: Arc::new(Mutex::new(Some(queue))),
            aborted: Arc::default(),
        }
    }

    /// After a sample of short tasks the rest goes in chunks.
    fn learn(&mut self, finished: Option<&Finished>) {
        let Some(wall) = finished.filter(|_| self.automatic).and_then(|finished| finished.metrics.wall) else { return };
        self.sample.0 += 1;
        self.sample.1 += wall;
        if self.sample.0 == SAMPLE {
            self.automatic = false;
            let mean = (self.sample.1 / SAMPLE as u32).max(Duration::from_nanos(1));
            if mean < SHORT {
                self.size = ((CHUNK_TIME.as_nanos() / mean.as_nanos()) as usize).clamp(1, MAX_CHUNK);
            }
        }
    }

    fn send(&mut self, pool: &Pool, sender: &Sender<Message>, credits: &Credits, workers: usize) {
        let batch = std::mem::take(&mut self.waiting);
        // Two per worker: one runs, one waits for it.
        if self.threads < 2 * workers && self.busy >= self.threads {
            let waiter = Waiter {
                view: pool.with(Policy::new().chunk(self.size).window(self.size)),
                queue: self.queue.clone(),
                sender: sender.clone(),
                aborted: self.aborted.clone(),
            };
            let started = thread::Builder::new().name("taskloom-chunk".to_owned()).spawn(|| waiter.run());
            match started {
                Ok(_) => {
                    self.threads += 1;
                    // So that the reader fills its chunk, and the one after it.
                    credits.give(2 * self.size);
                }
                Err(error) if self.threads == 0 => log::warn!("no thread for chunks of tasks: {error}"),
                Err(_) => {}
            }
        }
        self.busy += 1;
        if let Some(batches) = &self.batches {
            // Read by a thread that ends after this sender.
            let _ = batches.send(batch);
        }
    }

    /// What has not started never will.
    fn abort(&mut self) {
        self.aborted.store(true, Ordering::Relaxed);
        self.batches = None;
    }
}

/// A thread that submits a chunk, waits for its results, and takes the next.
struct Waiter {
    view: View,
    queue: Arc<Mutex<Option<Receiver<Batch>>>>,
    sender: Sender<Message>,
    aborted: Arc<AtomicBool>,
}

impl Waiter {
    fn run(self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Receiver::recv);
            let Some(Ok(batch)) = next else { return };
            let (numbers, tasks): (Vec<u64>, Vec<NamedTask>) = batch.into_iter().unzip();
            let mut results = self.view.map(tasks);
            for number in numbers {
                let cancelled = self.aborted.load(Ordering::Relaxed);
                let result = if cancelled { None } else { results.next() };
                // A map that is dropped cancels what has not started.
                let result = result.unwrap_or(Err(TaskError::Cancelled));
                if self.sender.send(Message::Outcome(number, result)).is_err() {
                    return;
                }
            }
            let _ = self.sender.send(Message::ChunkDone);
        }
    }
}
