//! Builds pools of worker processes.

use std::{sync::Arc, thread, time::Duration};

use taskloom_core::{
    Pool, Shutdown, StartError, TaskError, Unsupported,
    backend_api::{Hub, Settings, prepare_copies},
};

use crate::{
    backend::{self, Config, Procs, Shared, Supervision},
    entry::{self, Calling},
    launch, os, spare,
    stderr::Tee,
    supervisor,
};

/// Starts to build a pool of worker processes.
pub fn pool() -> Builder {
    Builder::default()
}

/// Builds a pool of worker processes: started by [`build`](Self::build), replaced when they die, ended with the pool.
#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    start_timeout: Duration,
    grace: Option<Duration>,
    shared_memory: bool,
    one_shot: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            start_timeout: Duration::from_secs(10),
            grace: None,
            shared_memory: true,
            one_shot: false,
        }
    }
}

impl Builder {
    /// One worker that ends with its first task.
    pub(crate) fn one_shot() -> Self {
        // Rings are not worth their making for one task.
        Self { one_shot: true, shared_memory: false, ..Self::default() }.workers(1)
    }

    taskloom_core::pool_options!();

    /// How long running tasks have between being told to stop and being killed when the pool is
    /// dropped; another word for [`drop_grace`](Self::drop_grace). For one task's limits see `Policy::grace`.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// How long a worker process has from its start until it says hello: everything before the
    /// first line of `main`. 10 s by default. The initialiser does not count.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Whether tasks and results go through memory that is shared with the workers, which is many times quicker than
    /// through sockets. True by default; where a worker cannot have such memory it gets a socket all the same.
    #[must_use]
    pub fn shared_memory(mut self, shared: bool) -> Self {
        self.shared_memory = shared;
        self
    }

    /// Starts the workers, and waits until each has run the initialiser.
    ///
    /// Workers run this program with the environment, the directory and the umask that it has now;
    /// so do those that replace them later.
    ///
    /// # Errors
    /// [`TaskError::Start`] if the program has no place where workers enter ([`init`](crate::init) was
    /// not called), or a worker cannot be started; [`TaskError::Exhausted`] if pools are nested too
    /// deeply; whatever the initialiser fails with.
    pub fn build(self) -> Result<Pool<Procs>, TaskError> {
        let Self { mut settings, start_timeout, grace, shared_memory, one_shot } = self;
        if let Some(grace) = grace {
            settings.drop_grace = grace;
        }
        let workers = settings.worker_count()?;
        settings.check(&backend::capabilities(workers))?;
        let init = settings.initialiser()?;
        if init.as_ref().is_some_and(|init| init.to_bytes().is_none()) {
            let refusal = Unsupported::new("initialising workers with a closure", "procs");
            return Err(refusal.help("make it a `#[task(state)]` function").into());
        }
        let calling = Calling::of_this_program()?;
        let family = entry::family()?;
        // For one process, to look takes longer than to find out.
        if !one_shot {
            launch::check_descriptors(workers)?;
        }
        let config = Config {
            workers,
            start_timeout,
            init,
            calling,
            family,
            program: std::env::args_os().next().unwrap_or_else(|| "taskloom-worker".into()),
            environment: std::env::vars_os().filter(|(name, _)| name != entry::TICKET).collect(),
            directory: std::env::current_dir().ok(),
            // The only worker that it will have begins now, and inherits it.
            umask: if one_shot { None } else { os::process::umask() },
            shared_memory,
            one_shot,
        };
        let failed = |error: std::io::Error| {
            TaskError::from(StartError::new(format!("the threads that look after workers cannot be started: {error}")))
        };
        prepare_copies(os::memory::prefer_large_pages);
        let shared = Arc::new(Shared::new(Hub::new(settings), config).map_err(failed)?);
        let tee = Tee::new().map_err(failed)?;
        let supervised = shared.clone();
        if one_shot {
            let first = launch::start_alone(&shared)?;
            let vital = first.vital.clone();
            let done = spare::run(move || supervisor::run(&supervised, tee, Some(first)));
            shared.supervised_by(Supervision::Alone(done.inspect_err(|_| vital.end()).map_err(failed)?));
        } else {
            let run = move || supervisor::run(&supervised, tee, None);
            let thread = thread::Builder::new().name("taskloom-procs".to_owned()).spawn(run).map_err(failed)?;
            shared.supervised_by(Supervision::Thread(thread));
        }
        if let Err(error) = shared.wait_until_built() {
            shared.shutdown(Shutdown::Cancel { grace: Duration::ZERO });
            return Err(error);
        }
        Ok(Pool::new(shared.hub.clone(), Procs::new(shared)))
    }
}
