//! How a program becomes a worker: the first line of `main`, or a helper test in a test binary.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use taskloom_core::{Exhausted, Registry, StartError, TaskDef, TaskError};

use crate::{os, worker};

/// Carries a worker's ticket.
pub(crate) const TICKET: &str = "TASKLOOM_WORKER";
/// The marks of a worker and of those above it, outermost first: all that the worker starts inherits
/// them, and can be found by them. Their number is how deep pools are nested.
pub(crate) const FAMILY: &str = "TASKLOOM_FAMILY";
/// Pools inside workers inside pools: deeper than this is a mistake, and would soon be a storm.
const MAX_DEPTH: usize = 8;
/// The hidden first argument of a worker.
const ARGUMENT: &str = "--taskloom-worker";
/// The name of the helper test.
const TEST: &str = "taskloom_worker";

static INITIALISED: AtomicBool = AtomicBool::new(false);
static BECOME_ONCE: AtomicBool = AtomicBool::new(false);

/// The first line of `main`. In a worker process it never returns: the process runs tasks and ends
/// with its pool. Elsewhere it returns at once, and pools of processes can be built from then on.
///
/// Nothing may run before it that should not run once per worker, and no thread.
///
/// ```no_run
/// fn main() -> Result<(), taskloom_core::TaskError> {
///     taskloom_procs::init();
///     let pool = taskloom_procs::pool().workers(4).build()?;
///     // …
///     # drop(pool);
///     Ok(())
/// }
/// ```
pub fn init() {
    let called_as_worker = std::env::args_os().nth(1).is_some_and(|first| first == ARGUMENT);
    let ticket = std::env::var(TICKET).ok();
    // In a worker, pools of its own may be built.
    INITIALISED.store(true, Ordering::Relaxed);
    match ticket.as_deref().and_then(Ticket::read) {
        Some(ticket) if called_as_worker => {
            os::files::remove_variable(TICKET);
            enter(&ticket, io::stdin(), || if ticket.server.is_none() { os::files::empty_stdin() } else { Ok(()) })
        }
        _ if called_as_worker => {
            eprintln!("{ARGUMENT} is for worker processes, which a pool starts");
            std::process::exit(2)
        }
        _ => {}
    }
}

/// [`init`], with tasks that the linker has not collected: see [`Registry::init_with`].
///
/// # Errors
/// If tasks contradict each other, or are already fixed.
pub fn init_with(extra: impl IntoIterator<Item = &'static TaskDef>) -> Result<(), TaskError> {
    Registry::init_with(extra)?;
    init();
    Ok(())
}

/// Lets workers enter a binary of tests, which has no `main` of its own: a helper test, once in the
/// binary, at the top level of a file under `tests/` or of a `#[cfg(test)]` module.
///
/// ```
/// taskloom_procs::test_support!();
/// ```
#[macro_export]
macro_rules! test_support {
    () => {
        #[cfg(test)]
        $crate::__private::inventory::submit! { $crate::__private::TestSupport { module: module_path!() } }

        /// Worker processes of this binary's tests enter here; in an ordinary run it does nothing.
        #[test]
        fn taskloom_worker() {
            $crate::__private::worker_test();
        }
    };
}

/// Where a binary has its helper test.
#[derive(Debug)]
pub struct TestSupport {
    /// `module_path!()` there.
    pub module: &'static str,
}

inventory::collect!(TestSupport);

/// The body of the helper test.
pub fn worker_test() {
    let started_for_it = std::env::args().any(|argument| argument.ends_with(TEST));
    if let Some(ticket) = std::env::var(TICKET).ok().as_deref().and_then(Ticket::read)
        && started_for_it
        && !BECOME_ONCE.swap(true, Ordering::Relaxed)
    {
        // What the test harness printed so far went to nowhere; from here on tasks print.
        enter(&ticket, io::stdout(), os::files::restore_stdout)
    }
}

/// `place` is the stream in whose place there may be a socket, until the streams are made what they ought to be.
fn enter(ticket: &Ticket, place: impl AsFd, make_streams: impl FnOnce() -> io::Result<()>) -> ! {
    let socket = ticket.server.is_none().then(|| place.as_fd().try_clone_to_owned());
    if let Err(error) = make_streams() {
        eprintln!("a worker has not the standard streams that it ought to have: {error}");
    }
    worker::run(ticket, socket)
}

/// What a worker must know to find its pool; travels in the environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Process id of the parent.
    pub(crate) parent: u32,
    /// Proves that the worker is the one that was started.
    pub(crate) token: String,
    /// Where the parent waits; `None` if the worker has been given a socket that leads there.
    pub(crate) server: Option<String>,
}

impl Ticket {
    pub(crate) fn write(&self) -> String {
        format!("{}:{}:{}", self.parent, self.token, self.server.as_deref().unwrap_or_default())
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let parent = parts.next()?.parse().ok()?;
        let (token, server) = (parts.next()?.to_owned(), parts.next()?);
        Some(Self { parent, token, server: (!server.is_empty()).then(|| server.to_owned()) })
    }
}

/// How this program's workers are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Calling {
    /// `main` calls [`init`].
    Main,
    /// A binary of tests has this helper test.
    Test(String),
}

impl Calling {
    /// # Errors
    /// If a worker of this program would run the program once more instead: it says what to write.
    pub(crate) fn of_this_program() -> Result<Self, TaskError> {
        let Some(support) = inventory::iter::<TestSupport>.into_iter().next() else {
            if INITIALISED.load(Ordering::Relaxed) {
                return Ok(Self::Main);
            }
            return Err(StartError::new(
                "worker processes run this program from its first line, so it has to say where they enter: make \
                 `taskloom::init();` the first line of `main` (with single crates `taskloom_procs::init();`); in a \
                 binary of tests write `taskloom_procs::test_support!();`",
            )
            .into());
        };
        // First of all, whoever called `init` before: a binary of tests has no `main` of ours to enter by.
        // The harness leaves the crate's name out.
        let path = support.module.split_once("::").map_or(String::new(), |(_, inner)| format!("{inner}::"));
        Ok(Self::Test(format!("{path}{TEST}")))
    }

    /// The arguments, the hidden one first.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Main => vec![ARGUMENT.into()],
            Self::Test(name) => [name, "--exact", "--nocapture", "-q", "--test-threads=1"]
                .into_iter()
                .map(OsStr::new)
                .map(Into::into)
                .collect(),
        }
    }
}

/// The family that a pool built now belongs to; empty outside of workers.
///
/// # Errors
/// If pools would be nested too deeply.
pub(crate) fn family() -> Result<String, TaskError> {
    let family = std::env::var(FAMILY).unwrap_or_default();
    let depth = family.split('/').filter(|mark| !mark.is_empty()).count();
    if depth >= MAX_DEPTH {
        Err(Exhausted::new("levels of pools inside workers", MAX_DEPTH as u64).into())
    } else {
        Ok(family)
    }
}

/// Which executable this process runs: also true when the file has been replaced or deleted since.
pub(crate) fn build_id() -> &'static str {
    // A process runs one for all its life.
    static ID: LazyLock<String> = LazyLock::new(|| {
        let file = fs::metadata("/proc/self/exe").map_or_else(
            |error| error.to_string(),
            |file| format!("{}:{}, {} bytes, changed at {}", file.dev(), file.ino(), file.size(), file.mtime()),
        );
        format!("taskloom-procs {}, executable {file}", env!("CARGO_PKG_VERSION"))
    });
    &ID
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_comes_back_whatever_the_path() {
        for server in [None, Some("/tmp/a:b/socket".to_owned())] {
            let ticket = Ticket { parent: 7, token: "abc".to_owned(), server };
            assert_eq!(Ticket::read(&ticket.write()), Some(ticket));
        }
    }
}
