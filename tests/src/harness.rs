//! What the suite needs to know of a backend: how to build a pool of it.

use std::{path::PathBuf, time::Duration};

use taskloom::{Backend, Event, Handle, Pool, Portable, PortableTask, Task, TaskError, View, inline, procs, threads};

use crate::{
    journal::Events,
    tasks::{exits_making_state, fails_to_make_state, makes_state, makes_state_until, panics_making_state},
};

/// A backend under test.
pub trait Harness: 'static {
    /// The backend.
    type Backend: Backend;
    /// Whether its pools are checked ones: everything goes through bytes although it need not.
    const CHECKED: bool;
    /// Builds a pool.
    ///
    /// # Errors
    /// The build's own.
    fn build(setup: Setup) -> Result<Pool<Self::Backend>, TaskError>;
}

/// How a pool shall be set up: what all builders have in common.
pub struct Setup {
    workers: usize,
    seed: u64,
    queue_items: Option<usize>,
    queue_bytes: Option<usize>,
    drop_grace: Duration,
    metrics: bool,
    memory_limit: Option<u64>,
    recycle_above: Option<u64>,
    max_tasks_per_worker: Option<u64>,
    idle_timeout: Option<Duration>,
    capture_output: bool,
    init: Option<Init>,
    readers: Vec<Reader>,
}

type Reader = Box<dyn FnMut(&Event) + Send>;

/// The initialisers that the suite knows.
#[derive(Debug, Clone)]
pub enum Init {
    /// Makes a state with this number, and notes that in the file.
    Makes(PathBuf, u64),
    /// Fails for this reason.
    Fails(String),
    /// Panics.
    Panics(String),
    /// Notes each try in the first file, and fails once there is the second.
    MakesUntil(PathBuf, PathBuf),
    /// Its process exits with this code.
    Exits(i32),
}

impl Setup {
    /// A pool of so many workers.
    pub fn workers(workers: usize) -> Self {
        Self {
            workers,
            seed: 0,
            queue_items: None,
            queue_bytes: None,
            drop_grace: Duration::from_secs(10),
            metrics: false,
            memory_limit: None,
            recycle_above: None,
            max_tasks_per_worker: None,
            idle_timeout: None,
            capture_output: false,
            init: None,
            readers: Vec::new(),
        }
    }

    /// With this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With room for so many queued tasks.
    pub fn queue_items(mut self, items: usize) -> Self {
        self.queue_items = Some(items);
        self
    }

    /// With room for so many queued bytes.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = Some(bytes);
        self
    }

    /// With so much time for running tasks when it is dropped.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    /// Measuring tasks.
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// With a limit on the memory of each task.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Replacing workers that hold more than this.
    pub fn recycle_above(mut self, bytes: u64) -> Self {
        self.recycle_above = Some(bytes);
        self
    }

    /// Replacing workers that have begun so many tasks.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.max_tasks_per_worker = Some(tasks);
        self
    }

    /// Letting workers leave that have had no work for so long.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle_timeout = Some(idle);
        self
    }

    /// Keeping what tasks print.
    pub fn capture_output(mut self) -> Self {
        self.capture_output = true;
        self
    }

    /// With an initialiser.
    pub fn init(mut self, init: Init) -> Self {
        self.init = Some(init);
        self
    }

    /// Collecting its events.
    pub fn events(mut self, events: &Events) -> Self {
        let events = events.clone();
        self.readers.push(Box::new(move |event| events.push(event)));
        self
    }

    /// Builds it. [`Harness::build`] is for those that may be refused.
    #[track_caller]
    pub fn build<H: Harness>(self) -> Pool<H::Backend> {
        H::build(self).expect("the pool can be built")
    }
}

/// Applies a setup to a builder. Builders have their options as inherent methods, stamped by the same macro in core.
macro_rules! set_up {
    ($builder:expr, $setup:expr) => {{
        let setup = $setup;
        let mut builder = $builder
            .workers(setup.workers)
            .seed(setup.seed)
            .drop_grace(setup.drop_grace)
            .metrics(setup.metrics)
            .capture_output(setup.capture_output);
        if let Some(items) = setup.queue_items {
            builder = builder.queue_items(items);
        }
        if let Some(bytes) = setup.queue_bytes {
            builder = builder.queue_bytes(bytes);
        }
        if let Some(bytes) = setup.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if let Some(bytes) = setup.recycle_above {
            builder = builder.recycle_above(bytes);
        }
        if let Some(tasks) = setup.max_tasks_per_worker {
            builder = builder.max_tasks_per_worker(tasks);
        }
        if let Some(idle) = setup.idle_timeout {
            builder = builder.idle_timeout(idle);
        }
        for reader in setup.readers {
            builder = builder.on_event(reader);
        }
        match setup.init {
            None => builder,
            Some(Init::Makes(file, number)) => builder.init(makes_state::task(file, number)),
            Some(Init::Fails(reason)) => builder.init(fails_to_make_state::task(reason)),
            Some(Init::Panics(reason)) => builder.init(panics_making_state::task(reason)),
            Some(Init::MakesUntil(tries, stop)) => builder.init(makes_state_until::task(tries, stop)),
            Some(Init::Exits(code)) => builder.init(exits_making_state::task(code)),
        }
    }};
}

/// Stamps a harness.
macro_rules! harness {
    ($name:ident, $backend:ty, $checked:literal, $builder:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub enum $name {}

        impl Harness for $name {
            type Backend = $backend;
            const CHECKED: bool = $checked;
            fn build(setup: Setup) -> Result<Pool<$backend>, TaskError> {
                set_up!($builder, setup).build()
            }
        }
    };
}

harness!(Inline, inline::Inline, false, inline::pool(), "Tasks run at submission.");
harness!(CheckedInline, inline::Inline, true, inline::pool().checked(true), "Tasks run at submission, through bytes.");
harness!(Threads, threads::Threads, false, threads::pool(), "Tasks run on threads.");
harness!(Procs, procs::Procs, false, procs::pool(), "Tasks run in worker processes.");
harness!(
    PlainProcs,
    procs::Procs,
    false,
    procs::pool().shared_memory(false),
    "Tasks run in worker processes, which are reached through sockets alone."
);
harness!(CheckedThreads, threads::Threads, true, threads::pool().checked(true), "Tasks run on threads, through bytes.");

/// Whether what a task takes and gives goes through bytes.
pub fn through_bytes<H: Harness>(view: &View<H::Backend>) -> bool {
    H::CHECKED || view.capabilities().encodes
}

/// Whether a task has its outcome when its submission returns: then nothing can be found waiting.
pub fn at_once<B: Backend + ?Sized>(view: &View<B>) -> bool {
    view.capabilities().runs_at_submission
}

/// A submission that may take as long as its task.
#[derive(Debug)]
pub struct Aside<T>(std::thread::JoinHandle<Result<Handle<T>, TaskError>>);

impl<T> Aside<T> {
    /// The handle. Waits for the task, where it runs while it is submitted.
    #[track_caller]
    pub fn handle(self) -> Handle<T> {
        self.0.join().expect("does not panic").expect("accepted")
    }
}

/// Submits on a thread of its own, so that the test goes on where a task runs while it is submitted.
pub fn aside<B, T>(view: &View<B>, task: T) -> Aside<T::Output>
where
    B: Backend + ?Sized,
    T: PortableTask + Task<Reach = Portable>,
{
    let view = view.clone();
    Aside(std::thread::spawn(move || view.submit(task)))
}
