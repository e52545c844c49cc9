//! What every backend's builder can set. [`pool_options!`](crate::pool_options) stamps the methods
//! on a builder, so that they read the same everywhere.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    backend::Capabilities,
    error::{StartError, TaskError, Unsupported},
    event::Event,
    hub::DROP_GRACE,
    notifier::Reader,
    worker::Init,
};

/// The common part of a builder.
#[derive(Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How many tasks run at once; `None` for as many as there are cores to use.
    pub workers: Option<usize>,
    /// Base of every task's seed.
    pub seed: u64,
    /// Runs once on each worker before its first task.
    pub init: Option<Result<Init, TaskError>>,
    /// Most tasks that may wait to start.
    pub queue_items: usize,
    /// Most bytes of encoded arguments that may wait to start.
    pub queue_bytes: usize,
    /// Everything is encoded and decoded, also where that is not needed.
    pub checked: bool,
    /// How long running tasks have when the pool is dropped.
    pub drop_grace: Duration,
    /// Whether tasks are measured even if nobody reads events.
    pub metrics: bool,
    /// Most memory, in bytes, that a task may take beyond what its worker held when it began.
    pub memory_limit: Option<u64>,
    /// A worker that holds so many bytes more between two tasks than at its start is replaced.
    pub recycle_above: Option<u64>,
    /// A worker is replaced when it has begun so many tasks.
    pub max_tasks_per_worker: Option<u64>,
    /// A worker without work for so long leaves until there is some.
    pub idle_timeout: Option<Duration>,
    /// Whether what tasks print is kept for their outcome instead of being passed on.
    pub capture_output: bool,
    /// Readers of events, until the pool takes them.
    pub readers: Readers,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: None,
            seed: 0,
            init: None,
            queue_items: 1 << 20,
            queue_bytes: 256 << 20,
            checked: false,
            drop_grace: DROP_GRACE,
            metrics: false,
            memory_limit: None,
            recycle_above: None,
            max_tasks_per_worker: None,
            idle_timeout: None,
            capture_output: false,
            readers: Readers::default(),
        }
    }
}

impl Settings {
    /// How many workers the pool shall have.
    ///
    /// # Errors
    /// If none were asked for.
    pub fn worker_count(&self) -> Result<usize, TaskError> {
        match self.workers {
            Some(0) => Err(no_workers().into()),
            Some(n) => Ok(n),
            None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// Looks whether a backend that can do this much can do all that was asked for.
    ///
    /// # Errors
    /// [`TaskError::Unsupported`] for the first thing that it cannot do; [`TaskError::Start`] for a limit that nothing can keep.
    pub fn check(&self, capabilities: &Capabilities) -> Result<(), TaskError> {
        if self.memory_limit == Some(0) || self.max_tasks_per_worker == Some(0) {
            return Err(StartError::new("a worker that may have no memory, or run no task, is of no use").into());
        }
        const PROCESSES: &str = "worker processes can: use the `procs` backend";
        let wishes = [
            (self.memory_limit.is_some() && !capabilities.limits_memory, "limiting tasks' memory", PROCESSES),
            (
                (self.recycle_above.is_some() || self.max_tasks_per_worker.is_some()) && !capabilities.recycles,
                "replacing workers by age or size",
                PROCESSES,
            ),
            (self.capture_output && !capabilities.captures_output, "capturing what tasks print", PROCESSES),
            (self.idle_timeout.is_some() && !capabilities.resizes, "letting idle workers leave", "leave it out"),
        ];
        wishes.into_iter().find(|(refused, ..)| *refused).map_or(Ok(()), |(_, operation, help)| {
            Err(Unsupported::new(operation, capabilities.name).help(help).into())
        })
    }

    /// The initialiser.
    ///
    /// # Errors
    /// If its arguments could not be written.
    pub fn initialiser(&self) -> Result<Option<Init>, TaskError> {
        self.init.clone().transpose()
    }
}

pub(crate) fn no_workers() -> StartError {
    StartError::new("a pool needs at least one worker: leave `workers` out for one per core")
}

/// Readers of events that wait for their pool.
#[derive(Default)]
pub struct Readers(Mutex<Vec<Reader>>);

impl Readers {
    /// One more.
    pub fn push(&self, reader: impl FnMut(&Event) + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(reader));
    }
    pub(crate) fn take(&self) -> Vec<Reader> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

/// Stamps the options that all pools have on a builder with a field `settings: Settings`.
#[macro_export]
macro_rules! pool_options {
    () => {
        /// How many tasks run at once. By default as many as there are cores to use
        /// (`available_parallelism`, which honours affinity and cgroup quotas). 0 is an error of `build`.
        #[must_use]
        pub fn workers(mut self, workers: usize) -> Self {
            self.settings.workers = Some(workers);
            self
        }

        /// Base of the numbers that tasks see as `cx.seed()`. 0 by default: runs repeat.
        #[must_use]
        pub fn seed(mut self, seed: u64) -> Self {
            self.settings.seed = seed;
            self
        }

        /// Runs `task` once on each worker before its first task; tasks there read its value with
        /// `cx.state()`. If it fails, so does `build`. Usually a `#[task(state)]` function.
        #[must_use]
        pub fn init<M>(mut self, task: impl $crate::IntoInit<M>) -> Self {
            self.settings.init = Some(task.into_init());
            self
        }

        /// Most tasks that may wait to start. 2^20 by default. `submit` waits for room, `try_submit` gives the task back.
        #[must_use]
        pub fn queue_items(mut self, items: usize) -> Self {
            self.settings.queue_items = items;
            self
        }

        /// Most bytes of encoded arguments that may wait to start, where they are encoded. 256 MiB by default.
        #[must_use]
        pub fn queue_bytes(mut self, bytes: usize) -> Self {
            self.settings.queue_bytes = bytes;
            self
        }

        /// How long running tasks have when the pool is dropped, before they are killed or abandoned. 10 s by default.
        #[must_use]
        pub fn drop_grace(mut self, grace: ::std::time::Duration) -> Self {
            self.settings.drop_grace = grace;
            self
        }

        /// Measures every task, also while nobody reads events. Off by default: reading clocks costs about as much as a small task.
        #[must_use]
        pub fn metrics(mut self, on: bool) -> Self {
            self.settings.metrics = on;
            self
        }

        /// Most memory, in bytes, that a task may take: anonymous and swapped memory of its worker and of the
        /// processes that it started, beyond what they held when the task began. A task that takes more
        /// is killed with its worker, and ends as `OutOfMemory`. No limit by default.
        #[must_use]
        pub fn memory_limit(mut self, bytes: u64) -> Self {
            self.settings.memory_limit = Some(bytes);
            self
        }

        /// Replaces a worker that holds so many bytes of memory more between two tasks than at its start. By default
        /// half of the [`memory_limit`](Self::memory_limit), and without one never.
        #[must_use]
        pub fn recycle_above(mut self, bytes: u64) -> Self {
            self.settings.recycle_above = Some(bytes);
            self
        }

        /// Replaces a worker when it has begun so many tasks: for code that leaks. Never by default.
        #[must_use]
        pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
            self.settings.max_tasks_per_worker = Some(tasks);
            self
        }

        /// Lets workers leave that have had no work for so long; they come back when there is some. Never by default.
        #[must_use]
        pub fn idle_timeout(mut self, idle: ::std::time::Duration) -> Self {
            self.settings.idle_timeout = Some(idle);
            self
        }

        /// Keeps what a task prints, on standard output and standard error, for its outcome's summary (see
        /// `Finished::output`), instead of passing it on. Off by default.
        #[must_use]
        pub fn capture_output(mut self, on: bool) -> Self {
            self.settings.capture_output = on;
            self
        }

        /// Calls `reader` with everything that happens in the pool, in order, on the pool's notifier thread.
        #[must_use]
        pub fn on_event(self, reader: impl FnMut(&$crate::Event) + Send + 'static) -> Self {
            self.settings.readers.push(reader);
            self
        }
    };
    (in_process) => {
        $crate::pool_options!();

        /// Encodes and decodes every argument and result, so that code tested here cannot fail
        /// later in a worker process. Closures are refused then. Off by default.
        #[must_use]
        pub fn checked(mut self, on: bool) -> Self {
            self.settings.checked = on;
            self
        }

        /// Runs `make` once on each worker, as [`init`](Self::init) does with a task.
        #[must_use]
        pub fn init_with<T: 'static, E: $crate::IntoFailure>(
            mut self,
            make: impl Fn(&$crate::Context) -> ::std::result::Result<T, E> + Send + Sync + 'static,
        ) -> Self {
            self.settings.init = Some(Ok($crate::backend_api::Init::from_fn(make)));
            self
        }
    };
}
