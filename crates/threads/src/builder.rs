//! How a pool of threads is set up.

use taskloom_core::{Pool, Settings, StartError, TaskError, backend_api::Hub};

use crate::{
    backend::{self, Threads},
    crew::{Crew, Plan},
};

/// Starts to build a pool of threads.
///
/// ```
/// # use taskloom_threads as threads;
/// let pool = threads::pool().workers(4).build()?;
/// let handles: Vec<_> = (0..8_u64).map(|n| pool.submit(move || n * n)).collect::<Result<_, _>>()?;
/// let squares = handles.into_iter().map(|handle| handle.join()).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49]);
/// # Ok::<(), taskloom_core::TaskError>(())
/// ```
pub fn pool() -> Builder {
    Builder {
        settings: Settings::default(),
        name: "taskloom".to_owned(),
        stack_size: None,
        max_extra: 256,
        max_abandoned: 64,
    }
}

/// Builds a pool of threads. Made by [`pool`].
#[derive(Debug)]
#[must_use = "no thread is started before `build`"]
pub struct Builder {
    settings: Settings,
    name: String,
    stack_size: Option<usize>,
    max_extra: usize,
    max_abandoned: usize,
}

impl Builder {
    taskloom_core::pool_options!(in_process);

    /// Threads are called `<name>-<slot>`; the system shows the first 15 bytes. `taskloom` by default.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Bytes of each thread's stack. By default as `std::thread` has it: 2 MiB, or `RUST_MIN_STACK`.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Most threads beyond the workers, to take the place of workers whose tasks wait for other
    /// tasks. 256 by default. When they are used up, such a wait fails as `Exhausted`.
    pub fn max_extra(mut self, threads: usize) -> Self {
        self.max_extra = threads;
        self
    }

    /// Most threads that may be abandoned at a time: left behind in a task whose time is over. 64 by
    /// default. When they are used up, a worker in such a task is not replaced; when no worker is
    /// left, tasks fail as `Exhausted`, until one of those comes back.
    pub fn max_abandoned(mut self, threads: usize) -> Self {
        self.max_abandoned = threads;
        self
    }

    /// Starts the workers, and runs the initialiser on each of them. Without an initialiser no more than 64 start now; of more, the
    /// others start when there is work for them.
    ///
    /// # Errors
    /// [`TaskError::Start`] if zero workers were asked for, the name is none, or a thread cannot be
    /// started; [`TaskError::Unsupported`] for what threads cannot do; the initialiser's own error if it fails. No thread is left behind then.
    pub fn build(self) -> Result<Pool<Threads>, TaskError> {
        let workers = self.settings.worker_count()?;
        self.settings.check(&backend::capabilities(workers))?;
        if self.name.contains('\0') {
            return Err(StartError::new("a thread's name cannot hold a zero byte").into());
        }
        let plan = Plan {
            name: self.name,
            stack_size: self.stack_size,
            workers,
            max_extra: self.max_extra,
            max_abandoned: self.max_abandoned,
            idle_timeout: self.settings.idle_timeout,
            init: self.settings.initialiser()?,
        };
        let crew = Crew::new(Hub::new(self.settings), plan);
        crew.start()?;
        Ok(Pool::new(crew.hub.clone(), Threads { crew }))
    }
}

impl Default for Builder {
    fn default() -> Self {
        pool()
    }
}
