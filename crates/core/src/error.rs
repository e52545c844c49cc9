//! How a task can end other than well: plain records, the same on every backend.
//!
//! [`TaskError`] is sorted by what the caller can do about it. Each variant holds one boxed record,
//! so that `Result<u64, TaskError>` stays two words. Its `{}` is one line; [`Error::source`] starts
//! below that line, so that `{e:#}` through anyhow says nothing twice.

use std::{error::Error, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{codec::CodecFault, failure::Failure};

/// Why a task has no value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The task's own code returned an error. Yours to handle.
    Failed(Box<Failure>),
    /// The task panicked; its worker is unharmed.
    Panicked(Box<Panic>),
    /// The worker died while it ran this task: a signal, or an exit in the middle. Backends with isolation only.
    Crashed(Box<Death>),
    /// The worker was killed because it used more memory than its limit, or by the kernel for want of memory.
    OutOfMemory(Box<Death>),
    /// A limit on time was reached: which, and how long it was.
    TimedOut(Box<TimedOut>),
    /// The task got no outcome for a reason outside itself: its backend let go of it.
    Lost(Box<Lost>),
    /// An argument or a result could not be carried between processes.
    Codec(Box<CodecError>),
    /// A worker could not be started, or its initialiser failed.
    Start(Box<StartError>),
    /// No such task in this program, or several.
    UnknownTask(Box<UnknownTask>),
    /// Something countable has run out: threads, descriptors, depth.
    Exhausted(Box<Exhausted>),
    /// The backend cannot do this, and never will.
    Unsupported(Box<Unsupported>),
    /// The task was cancelled.
    Cancelled,
    /// The pool takes no more work.
    Closed,
}

/// A panic: what was said, where, and how it came there.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Panic {
    /// The panic's message, or a description of a payload that is no text.
    pub message: String,
    /// `file:line:column`, if the panic hook saw it.
    pub place: Option<String>,
    /// The backtrace as text; empty if it was not captured.
    pub backtrace: String,
}

/// The end of a worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Death {
    /// Number of the worker in its pool.
    pub worker: u32,
    /// Its process id.
    pub pid: u32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The code it exited with.
    pub exit_code: Option<i32>,
    /// What the supervisor knows beyond the status: "stopped by SIGTTIN, then killed", "sent garbage".
    pub verdict: String,
    /// Which attempt at the task this was, from 1.
    pub attempt: u32,
    /// How long the attempt had run, wall clock.
    pub wall: Duration,
    /// CPU time the worker used in its life, if it was seen.
    pub cpu: Option<Duration>,
    /// Highest resident memory seen, in bytes.
    pub peak_memory: Option<u64>,
    /// Up to 16 last lines of its standard error, oldest first.
    pub stderr: Vec<String>,
}

/// Which of the three limits on time was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Clock {
    /// `timeout`: the running time of one attempt.
    Running,
    /// `queue_timeout`: the time before it started.
    Queued,
    /// `deadline`: everything from submission on, retries included.
    Deadline,
}

/// A limit on time that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimedOut {
    /// Which limit.
    pub clock: Clock,
    /// How long it was.
    pub limit: Duration,
    /// The attempt that was running or waiting, from 1.
    pub attempt: u32,
}

/// A task whose backend let go of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lost {
    /// What is known about it.
    pub reason: String,
}

/// Where on its way a value could not be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CodecStage {
    /// Writing the arguments, in the caller.
    EncodeArgument,
    /// Reading the arguments, in the worker.
    DecodeArgument,
    /// Writing the result, in the worker.
    EncodeResult,
    /// Reading the result, in the caller's process.
    DecodeResult,
}

/// A value that could not be carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CodecError {
    /// Where on its way.
    pub stage: CodecStage,
    /// The task's name.
    pub task: String,
    /// Why.
    pub message: String,
}

/// A worker that could not be started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StartError {
    /// What went wrong and what to do about it.
    pub message: String,
    /// How the process ended, if it did.
    pub status: Option<String>,
    /// Its last lines on standard error.
    pub stderr: Vec<String>,
}

/// A name that is no task, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnknownTask {
    /// What was looked up.
    pub name: String,
    /// What it may have meant; all that fit, if the name is ambiguous.
    pub candidates: Vec<String>,
    /// The whole message.
    pub message: String,
}

/// Something countable that has run out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exhausted {
    /// What has run out.
    pub what: String,
    /// How many there were.
    pub limit: u64,
}

/// An operation that a backend cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unsupported {
    /// The operation.
    pub operation: String,
    /// The backend's name.
    pub backend: String,
    /// What to do instead; may be empty.
    pub help: String,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "task failed: {failure}"),
            Self::Panicked(panic) => match &panic.place {
                Some(place) => write!(f, "task panicked at {place}: {}", panic.message),
                None => write!(f, "task panicked: {}", panic.message),
            },
            Self::Crashed(death) => {
                write!(f, "worker {} (pid {}) {} while it ran the task", death.worker, death.pid, death.how())
            }
            Self::OutOfMemory(death) => {
                write!(f, "worker {} (pid {}) ran out of memory: {}", death.worker, death.pid, death.how())
            }
            Self::TimedOut(timed_out) => match timed_out.clock {
                Clock::Running => write!(f, "task ran longer than its time-out of {:?}", timed_out.limit),
                Clock::Queued => write!(f, "task waited longer than {:?} to start", timed_out.limit),
                Clock::Deadline => write!(f, "task was not done within its deadline of {:?}", timed_out.limit),
            },
            Self::Lost(lost) => write!(f, "task lost: {}", lost.reason),
            Self::Codec(codec) => {
                let what = match codec.stage {
                    CodecStage::EncodeArgument => "its arguments cannot be written",
                    CodecStage::DecodeArgument => "its arguments cannot be read in the worker",
                    CodecStage::EncodeResult => "its result cannot be written",
                    CodecStage::DecodeResult => "its result cannot be read",
                };
                write!(f, "task `{}`: {what}: {}", codec.task, codec.message)
            }
            Self::Start(start) => {
                f.write_str(&start.message)?;
                start.status.iter().try_for_each(|status| write!(f, " ({status})"))?;
                start.stderr.last().map_or(Ok(()), |line| write!(f, "; its last line on standard error: {line}"))
            }
            Self::UnknownTask(unknown) => f.write_str(&unknown.message),
            Self::Exhausted(exhausted) => write!(f, "no more {}: the limit is {}", exhausted.what, exhausted.limit),
            Self::Unsupported(unsupported) => {
                write!(f, "{} is not supported by the `{}` backend", unsupported.operation, unsupported.backend)?;
                if unsupported.help.is_empty() { Ok(()) } else { write!(f, "; {}", unsupported.help) }
            }
            Self::Cancelled => f.write_str("task was cancelled"),
            Self::Closed => f.write_str("the pool takes no more work"),
        }
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.source(),
            _ => None,
        }
    }
}

impl TaskError {
    /// What kind of end this is, in one word, for counting and matching.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed(_) => Kind::Failed,
            Self::Panicked(_) => Kind::Panicked,
            Self::Crashed(_) => Kind::Crashed,
            Self::OutOfMemory(_) => Kind::OutOfMemory,
            Self::TimedOut(_) => Kind::TimedOut,
            Self::Lost(_) => Kind::Lost,
            Self::Codec(_) => Kind::Codec,
            Self::Start(_) => Kind::Start,
            Self::UnknownTask(_) => Kind::UnknownTask,
            Self::Exhausted(_) => Kind::Exhausted,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Cancelled => Kind::Cancelled,
            Self::Closed => Kind::Closed,
        }
    }
}

/// How a task ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the variant of `TaskError` of that name")]
pub enum Kind {
    /// It has a value.
    Succeeded,
    Failed,
    Panicked,
    Crashed,
    OutOfMemory,
    TimedOut,
    Lost,
    Codec,
    Start,
    UnknownTask,
    Exhausted,
    Unsupported,
    Cancelled,
    Closed,
}

impl Death {
    /// "was killed by signal 11 (SIGSEGV)", "exited with code 3", and the verdict if there is one.
    pub fn how(&self) -> String {
        let status = match (self.signal, self.exit_code) {
            (Some(signal), _) => format!("was killed by signal {signal} ({})", signal_name(signal)),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "ended".to_owned(),
        };
        if self.verdict.is_empty() { status } else { format!("{status}: {}", self.verdict) }
    }
}

/// Names of Linux's signals on most architectures, as `signal(7)` lists them.
fn signal_name(signal: i32) -> &'static str {
    const NAMES: [&str; 32] = [
        "no signal",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(signal).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("real-time signal")
}

impl Panic {
    /// A panic with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, backtrace: String::new() }
    }
}

// By hand and without the backtrace: with it, one line of `{:?}` becomes sixty.
impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic").field("message", &self.message).field("place", &self.place).finish_non_exhaustive()
    }
}

impl TimedOut {
    pub(crate) fn new(clock: Clock, limit: Duration, attempt: u32) -> Self {
        Self { clock, limit, attempt }
    }
}

impl Lost {
    /// A loss for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl CodecError {
    pub(crate) fn new(stage: CodecStage, task: &str, fault: CodecFault) -> Self {
        Self { stage, task: task.to_owned(), message: fault.0 }
    }
}

impl StartError {
    /// A start that failed for this reason. Say what to do about it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: None, stderr: Vec::new() }
    }
    /// Adds how the process ended.
    #[must_use]
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.status = Some(status.into());
        self
    }
    /// Adds the last lines of its standard error.
    #[must_use]
    pub fn stderr(mut self, lines: Vec<String>) -> Self {
        self.stderr = lines;
        self
    }
}

impl UnknownTask {
    pub(crate) fn unregistered(name: &str) -> Self {
        let message = format!(
            "task `{name}` is not registered: write `register!({})` for each instance of a generic task",
            name.rsplit("::").next().unwrap_or(name)
        );
        Self { name: name.to_owned(), candidates: Vec::new(), message }
    }
    pub(crate) fn slot(slot: u32, known: usize) -> Self {
        Self {
            name: format!("#{slot}"),
            candidates: Vec::new(),
            message: format!("no task number {slot}: this program has {known}"),
        }
    }
    pub(crate) fn none(name: &str, candidates: Vec<String>, known: usize) -> Self {
        let message = match (&candidates[..], known) {
            (_, 0) => format!(
                "no task named `{name}`: this program has no tasks; a library of tasks is linked only if something mentions it (`use my_tasks as _;`)"
            ),
            ([], _) => format!("no task named `{name}` among the {known} of this program"),
            (near, _) => format!("no task named `{name}`; did you mean `{}`?", near.join("`, `")),
        };
        Self { name: name.to_owned(), candidates, message }
    }
    pub(crate) fn several(name: &str, candidates: Vec<String>) -> Self {
        let message = format!("`{name}` is ambiguous: {}", candidates.join(", "));
        Self { name: name.to_owned(), candidates, message }
    }
}

impl Exhausted {
    /// There are no more than `limit` of `what`.
    pub fn new(what: impl Into<String>, limit: u64) -> Self {
        Self { what: what.into(), limit }
    }
}

impl Unsupported {
    /// `operation` cannot be done by `backend`.
    pub fn new(operation: impl Into<String>, backend: impl Into<String>) -> Self {
        Self { operation: operation.into(), backend: backend.into(), help: String::new() }
    }
    /// Adds what to do instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// Each record becomes the variant that holds it.
macro_rules! into_variant {
    ($($record:ident => $variant:ident),* $(,)?) => {$(
        impl From<$record> for TaskError {
            fn from(record: $record) -> Self {
                Box::new(record).into()
            }
        }

        impl From<Box<$record>> for TaskError {
            fn from(record: Box<$record>) -> Self {
                Self::$variant(record)
            }
        }
    )*};
}
into_variant! {
    Failure => Failed, Panic => Panicked, TimedOut => TimedOut, Lost => Lost, CodecError => Codec,
    StartError => Start, UnknownTask => UnknownTask, Exhausted => Exhausted, Unsupported => Unsupported,
}

/// Why `try_submit` did not take a task; gives it back.
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// The queue is full.
    Full(T),
    /// The pool takes no more work.
    Closed(T),
    /// This pool can never take this task.
    Refused(T, TaskError),
}

impl<T> TrySubmitError<T> {
    /// The task.
    pub fn into_task(self) -> T {
        match self {
            Self::Full(task) | Self::Closed(task) | Self::Refused(task, _) => task,
        }
    }
}

// No bound on the task: `?` and `unwrap` work for every one.
impl<T> fmt::Debug for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Refused(_, error) => write!(f, "Refused(.., {error:?})"),
        }
    }
}

impl<T> fmt::Display for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the pool's queue is full"),
            Self::Closed(_) => TaskError::Closed.fmt(f),
            Self::Refused(_, error) => error.fmt(f),
        }
    }
}

impl<T> Error for TrySubmitError<T> {}

// `?` into anyhow needs `Sync`, which a task may lack; a `TaskError` always has it.
impl<T> From<TrySubmitError<T>> for TaskError {
    fn from(error: TrySubmitError<T>) -> Self {
        match error {
            TrySubmitError::Full(_) => Exhausted::new("room in the pool's queue", 0).into(),
            TrySubmitError::Closed(_) => Self::Closed,
            TrySubmitError::Refused(_, error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(error: &dyn Error) -> Vec<String> {
        std::iter::successors(Some(error), |&e| e.source()).map(ToString::to_string).collect()
    }

    #[test]
    fn errors_are_small_enough_to_be_results_of_small_tasks() {
        assert_eq!(size_of::<Result<u64, TaskError>>(), 16);
    }

    #[test]
    fn a_failure_says_nothing_twice() {
        let failure = Failure::from(vec!["reading x".to_owned(), "no such file".to_owned()]);
        assert_eq!(chain(&TaskError::from(failure)), ["task failed: reading x", "no such file"]);
    }

    #[test]
    fn a_hostile_chain_is_cut() {
        let failure = Failure::from(vec!["again".to_owned(); 1_000_000]);
        assert_eq!(failure.causes().count(), 63);
    }

    #[test]
    fn a_death_names_its_signal_or_its_code() {
        let killed = Death { worker: 2, pid: 77, signal: Some(11), ..Death::default() };
        assert_eq!(
            TaskError::Crashed(Box::new(killed)).to_string(),
            "worker 2 (pid 77) was killed by signal 11 (SIGSEGV) while it ran the task"
        );
        let left = Death { exit_code: Some(0), verdict: "in the middle of a task".to_owned(), ..Death::default() };
        assert_eq!(left.how(), "exited with code 0: in the middle of a task");
    }

    #[test]
    fn records_travel() {
        let panic = Panic { message: "m".to_owned(), place: Some("a.rs:1:2".to_owned()), backtrace: "0: x".to_owned() };
        let errors = [
            TaskError::from(panic),
            Unsupported::new("o", "b").help("h").into(),
            TaskError::Cancelled,
            Failure::new("f").into(),
        ];
        for error in errors {
            let text = serde_json::to_string(&error).expect("records are plain data");
            let back: TaskError = serde_json::from_str(&text).expect("and come back");
            assert_eq!(format!("{error:?}"), format!("{back:?}"));
        }
    }

    #[test]
    fn debug_of_a_panic_leaves_the_backtrace_out() {
        let panic = Panic { backtrace: "sixty lines".to_owned(), ..Panic::new("m") };
        assert!(!format!("{panic:?}").contains("sixty"));
    }

    #[test]
    fn a_task_that_was_not_taken_comes_back() {
        assert_eq!(TrySubmitError::Full(7).into_task(), 7);
        assert!(matches!(TaskError::from(TrySubmitError::Closed(7)), TaskError::Closed));
    }
}
