//! The parent's end of one worker: its channels, its jobs, and what is known of its life.

use std::{
    collections::VecDeque,
    io,
    os::{fd::RawFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use taskloom_core::{Blob, Job};

use crate::{
    capture::Capture,
    entry,
    fast::{self, Fate},
    lane::{self, Capacity},
    message::Message,
    os::{
        self,
        memory::OomKills,
        process::{Child, Doing},
    },
    share::{self, Probe},
    stderr::Tail,
    transport::{Gone, Sender},
    wire::{self, Control, data},
};

/// A worker process, from its start on. Shared by the supervisor, who watches it, and its reader.
#[derive(Debug)]
pub(crate) struct Vital {
    pub(crate) worker: u32,
    pub(crate) slot: u32,
    /// What the environment of everybody that it starts has in it.
    mark: String,
    pub(crate) child: Child,
    pub(crate) output: Output,
    /// It has said hello, and is ours.
    greeted: AtomicBool,
    /// Bytes; 0 for not known.
    peak_memory: AtomicU64,
    state: Mutex<VitalState>,
    /// It has said hello, or has ended.
    changed: Condvar,
}

/// Where what a worker prints goes to.
#[derive(Debug)]
pub(crate) enum Output {
    /// To where ours goes; standard error through a pipe, for the record of a death.
    PassedOn(Arc<Tail>),
    /// Into the outcomes of its tasks.
    Captured(Capture),
}

#[derive(Debug, Default)]
struct VitalState {
    exit: Option<Exit>,
    /// The descriptors of the channels, while they are open.
    channels: Vec<RawFd>,
    /// The rings, if it has any.
    fate: Option<Fate>,
    verdict: Verdict,
}

/// Why a worker was killed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) text: String,
    /// For taking more memory than it may, or than there was.
    pub(crate) out_of_memory: bool,
}

impl<T: Into<String>> From<T> for Verdict {
    fn from(text: T) -> Self {
        Self { text: text.into(), out_of_memory: false }
    }
}

/// How a worker ended.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    /// `None` if somebody else took it.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) cpu: Option<Duration>,
    pub(crate) verdict: Verdict,
}

impl Vital {
    pub(crate) fn new(worker: u32, slot: u32, mark: String, child: Child, output: Output) -> Self {
        Self {
            worker,
            slot,
            mark,
            child,
            output,
            greeted: AtomicBool::new(false),
            peak_memory: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Looks at the memory in use; what was seen last counts, for there is none after death.
    pub(crate) fn sample(&self) {
        if let Some(peak) = os::memory::peak(&self.pid().to_string()) {
            self.peak_memory.store(peak, Ordering::Relaxed);
        }
    }

    /// What is kept of what its tasks print, if it is.
    pub(crate) fn capture(&self) -> Option<&Capture> {
        match &self.output {
            Output::Captured(capture) => Some(capture),
            Output::PassedOn(_) => None,
        }
    }

    /// The last lines on its standard error, when it is dead.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        match &self.output {
            Output::Captured(capture) => capture.last_lines(),
            Output::PassedOn(tail) => tail.finish(),
        }
    }

    pub(crate) fn peak_memory(&self) -> Option<u64> {
        Some(self.peak_memory.load(Ordering::Relaxed)).filter(|&peak| peak > 0)
    }

    /// From now on the worker's death ends these streams, and no others; at once if it is dead.
    pub(crate) fn listen(&self, channels: &[RawFd], fate: Option<Fate>) {
        let mut state = self.lock();
        state.channels = channels.to_vec();
        state.fate = fate;
        if state.exit.is_some() {
            state.end_streams();
        }
    }

    /// The descriptors are about to be closed.
    pub(crate) fn listen_no_more(&self) {
        self.lock().channels.clear();
    }

    /// What the worker itself has noted as begun last: what is known where its rings cannot be read any more.
    pub(crate) fn begun(&self) -> Option<(u64, u32)> {
        self.lock().fate.as_ref()?.begun()
    }

    /// Sends a signal to the worker's process group, if the worker lives.
    pub(crate) fn signal(&self, signal: i32) {
        let state = self.lock();
        if state.exit.is_none() {
            self.child.signal_group(signal);
        }
    }

    /// Kills the worker, its group, and who left the group. The first verdict counts.
    pub(crate) fn kill(&self, verdict: impl Into<Verdict>) {
        self.sample();
        let mut state = self.lock();
        // If somebody else has taken its status its number may mean another process.
        if state.exit.is_none() && self.child.doing() != Doing::Ended(None) {
            if state.verdict.text.is_empty() {
                state.verdict = verdict.into();
            }
            let strays = os::family::descendants(self.pid());
            self.child.signal_group(libc::SIGKILL);
            strays.iter().for_each(Child::kill);
        }
    }

    /// Ends a worker whom nobody looks after, and waits for that.
    pub(crate) fn end(&self) {
        self.child.kill();
        self.child.wait_and_reap();
    }

    /// Finds and kills whom the worker has left behind, as far as they can be found.
    pub(crate) fn hunt(&self) {
        let found = os::family::kill_marked(entry::FAMILY, &self.mark);
        if found > 0 {
            log::debug!(target: "taskloom", "{found} processes that worker {} had left behind were killed", self.worker);
        }
    }

    /// Reaps the worker if it has ended, and kills what is left of its group. What it sent before is
    /// still read; then its streams end, also if a grandchild holds the channels open.
    pub(crate) fn bury(&self, oom_kills: &mut OomKills) -> bool {
        let Doing::Ended(status) = self.child.doing() else { return false };
        let mut state = self.lock();
        // Before reaping: until then the number of the group cannot mean another one.
        self.child.signal_group(libc::SIGKILL);
        let cpu = self.child.reap();
        let verdict = match status {
            None => "its status was taken by somebody else".into(),
            // A verdict is about our kill, not about an end that came before it.
            Some(status) if status.signal() == Some(libc::SIGKILL) && !state.verdict.text.is_empty() => {
                std::mem::take(&mut state.verdict)
            }
            Some(status) if status.signal() == Some(libc::SIGKILL) && oom_kills.claim() => {
                Verdict { text: "the kernel killed it for want of memory".to_owned(), out_of_memory: true }
            }
            Some(_) => Verdict::default(),
        };
        state.exit = Some(Exit { status, cpu, verdict });
        state.end_streams();
        drop(state);
        self.changed.notify_all();
        true
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.lock().exit.clone()
    }

    /// Waits for the end; the supervisor sees to it that it comes.
    pub(crate) fn wait(&self) -> Exit {
        let mut state = self.lock();
        loop {
            match &state.exit {
                Some(exit) => return exit.clone(),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// It has said hello.
    pub(crate) fn greet(&self) {
        if !self.has_greeted() {
            let _state = self.lock();
            self.greeted.store(true, Ordering::Relaxed);
            self.changed.notify_all();
        }
    }

    pub(crate) fn has_greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed)
    }

    /// Waits for the hello, or the end; the supervisor sees to it that one of them comes.
    fn wait_for_hello(&self) {
        let mut state = self.lock();
        while state.exit.is_none() && !self.has_greeted() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VitalState> {
        // Nothing panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VitalState {
    fn end_streams(&self) {
        self.channels.iter().copied().for_each(os::socket::end_of_stream);
        self.fate.iter().for_each(Fate::end);
    }
}

/// How jobs go to a worker.
pub(crate) enum Down {
    Plain(Sender),
    Fast(fast::Sender),
    /// To a worker that gets one job, and ends by itself then. As long as it is not known whether workers can look at our
    /// memory, there is what it finds that out by.
    Once(Sender, Option<Probe>),
}

/// A worker that is ready: where its messages go, and the jobs it has.
pub(crate) struct Line {
    pub(crate) vital: Arc<Vital>,
    data: Down,
    control: Sender,
    jobs: Mutex<Jobs>,
    writer: Mutex<Option<Writer>>,
    /// Log records delivered and not yet credited.
    delivered: AtomicU32,
    /// Behind the last token whose results are read when they come, which may run anybody's code.
    involved: AtomicU64,
    /// Behind the last token that has ended.
    ended: AtomicU64,
}

#[derive(Default)]
struct Jobs {
    jobs: VecDeque<(u64, Job)>,
    /// The worker is dead, and its jobs have been settled.
    closed: bool,
    /// There has been one.
    had_one: bool,
}

/// Sends messages that have to wait for their reader.
struct Writer {
    queue: mpsc::Sender<Send>,
    thread: JoinHandle<()>,
}

type Send = Box<dyn FnOnce() + std::marker::Send>;

impl Writer {
    fn start() -> io::Result<Self> {
        let (queue, sends) = mpsc::channel::<Send>();
        let run = move || {
            os::signals::block_all();
            sends.into_iter().for_each(|send| send());
        };
        Ok(Self { queue, thread: thread::Builder::new().name("taskloom-writer".to_owned()).spawn(run)? })
    }
}

/// Log records are credited in batches of this size.
const LOG_BATCH: u32 = 64;

impl Line {
    pub(crate) fn new(vital: Arc<Vital>, data: Down, control: Sender) -> Self {
        Self {
            vital,
            data,
            control,
            jobs: Mutex::default(),
            writer: Mutex::default(),
            delivered: AtomicU32::new(0),
            involved: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    pub(crate) fn worker(&self) -> u32 {
        self.vital.worker
    }

    /// Sends on the data channel. That it fails is no news: the worker's end comes by another way.
    pub(crate) fn send(&self, message: impl Into<Message>) {
        let message = message.into();
        match &self.data {
            Down::Plain(plain) | Down::Once(plain, _) => drop(plain.send(message)),
            // Not because it is dead, perhaps: what is between us cannot be used any more.
            Down::Fast(fast) => drop(fast.send(&message.bytes, &message.bodies, true).map_err(|Gone| {
                self.vital.kill("it has overwritten the memory that it shares with its pool");
            })),
        }
    }

    /// Whether the worker is its pool's only one, and has one job.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.data, Down::Once(..))
    }

    /// Tells a worker that has nothing to do to end, unless it does so by itself.
    pub(crate) fn dismiss(&self) {
        if !(self.is_alone() && self.jobs().had_one) {
            self.send(vec![data::EXIT]);
        }
    }

    /// Whether the worker is to find out if it can look at our memory.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.data, Down::Once(_, Some(_)))
    }

    /// To be called before a job with this body is sent: if it is to be shared, it has to be known whether it can be.
    pub(crate) fn settle_sharing(&self, body: &Blob) {
        if self.asks() && share::is_passed(body) {
            self.vital.wait_for_hello();
        }
    }

    /// How much may wait for it in there.
    pub(crate) fn capacity(&self) -> &'static Capacity {
        match self.data {
            Down::Plain(_) | Down::Once(..) => &lane::PLAIN,
            Down::Fast(_) => &lane::FAST,
        }
    }

    /// Tells the worker that a blob that it keeps, by its stand-in, is gone here. Waits for nobody: this is some drop of the program's.
    pub(crate) fn forget(self: Arc<Self>, stand_in: Vec<u8>) {
        if !self.is_closed() {
            let line = self.clone();
            self.send_patiently(move || line.order(&Control::Forget(stand_in.into())));
        }
    }

    /// Itself, if the worker keeps blobs for the tasks that come next.
    pub(crate) fn that_keeps(self: &Arc<Self>) -> Option<&Arc<Self>> {
        (!self.is_alone()).then_some(self)
    }

    /// Sends an order; small, and always read soon.
    pub(crate) fn order(&self, order: &Control) {
        let _ = self.control.send(wire::encode(order));
    }

    /// Does `send` on the thread that may wait; right here if there can be no such thread.
    pub(crate) fn send_patiently(&self, send: impl FnOnce() + std::marker::Send + 'static) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Writer::start().ok();
        }
        let send: Send = Box::new(send);
        let unsent = match &*writer {
            Some(writer) => writer.queue.send(send).err().map(|unsent| unsent.0),
            None => Some(send),
        };
        drop(writer);
        if let Some(send) = unsent {
            send();
        }
    }

    /// Lets the writer end. Its thread is to be joined when the worker is dead.
    pub(crate) fn end_writer(&self) -> Option<JoinHandle<()>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take().map(|writer| writer.thread)
    }

    /// Whether the worker is dead, and its jobs have been settled.
    fn is_closed(&self) -> bool {
        self.jobs().closed
    }

    /// Keeps jobs that are about to be sent. Gives them back if the worker has died.
    pub(crate) fn keep(&self, jobs: Vec<(u64, Job)>) -> Result<(), Vec<(u64, Job)>> {
        let mut kept = self.jobs();
        if kept.closed {
            return Err(jobs);
        }
        if let Some((token, _)) = jobs.iter().rfind(|(_, job)| !job.is_plain()) {
            self.involved.store(token + 1, Ordering::Relaxed);
        }
        kept.had_one = true;
        kept.jobs.extend(jobs);
        Ok(())
    }

    /// The job with this token, for its reader.
    pub(crate) fn take(&self, token: u64) -> Option<Job> {
        let mut jobs = self.jobs();
        let at = jobs.jobs.iter().position(|(known, _)| *known == token)?;
        jobs.jobs.remove(at).map(|(_, job)| job)
    }

    /// Puts a job back that was taken.
    pub(crate) fn put_back(&self, token: u64, job: Job) {
        self.jobs().jobs.push_front((token, job));
    }

    /// A job has ended; they do so in order.
    pub(crate) fn has_ended(&self, token: u64) {
        self.ended.store(token + 1, Ordering::Relaxed);
    }

    /// Whether whoever hears the worker now only keeps what it says. What is sent meanwhile is answered later.
    pub(crate) fn is_plain(&self) -> bool {
        self.involved.load(Ordering::Relaxed) <= self.ended.load(Ordering::Relaxed)
    }

    /// All jobs with their tokens; none can be added any more.
    pub(crate) fn close(&self) -> Vec<(u64, Job)> {
        let mut jobs = self.jobs();
        jobs.closed = true;
        let mut all: Vec<_> = std::mem::take(&mut jobs.jobs).into();
        drop(jobs);
        all.sort_by_key(|(token, _)| *token);
        all
    }

    /// A log record of this worker has been delivered.
    pub(crate) fn log_delivered(&self) {
        let count = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(LOG_BATCH) {
            self.order(&Control::LogCredit(LOG_BATCH));
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Nothing panics while it holds this lock.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
