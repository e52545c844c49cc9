//! What every backend's builder can set. [`pool_options!`](crate::pool_options) stamps the methods
//! on a builder, so that they read the same everywhere.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    error::{StartError, TaskError},
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
            Some(0) => {
                Err(StartError::new("a pool needs at least one worker: leave `workers` out for one per core").into())
            }
            Some(n) => Ok(n),
            None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        }
    }

    /// The initialiser.
    ///
    /// # Errors
    /// If its arguments could not be written.
    pub fn initialiser(&self) -> Result<Option<Init>, TaskError> {
        self.init.clone().transpose()
    }
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
