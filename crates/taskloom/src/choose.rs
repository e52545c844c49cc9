//! Backends chosen by name while the program runs.

use std::time::Duration;

use taskloom_core::{Event, IntoInit, Pool, StartError, TaskError, Unsupported, inline};

/// Every backend there is, and whether it was compiled into this program.
const BACKENDS: &[(&str, bool)] =
    &[("inline", true), ("threads", cfg!(feature = "threads")), ("procs", cfg!(feature = "procs"))];

/// The names that [`pool()`] knows, and whether this program has them: `(name, available)`.
///
/// ```
/// assert_eq!(taskloom::backends()[0], ("inline", true));
/// ```
pub fn backends() -> &'static [(&'static str, bool)] {
    BACKENDS
}

/// Starts to build a pool of the backend called `name`: for programs that choose while they run.
///
/// The pool takes closures too; where the backend cannot run one, its submission fails with
/// [`TaskError::Unsupported`]. A program that knows its backend finds that out at compile time with
/// `threads::pool()` or `procs::pool()`, whose builders also have what only they can do.
///
/// ```
/// # use taskloom::task;
/// #[task]
/// fn double(n: u64) -> u64 {
///     2 * n
/// }
///
/// let chosen = std::env::var("BACKEND").unwrap_or("inline".into());
/// let pool = taskloom::pool(&chosen)?.workers(2).build()?;
/// assert_eq!(pool.submit(double::task(21))?.join()?, 42);
/// # Ok::<(), taskloom::TaskError>(())
/// ```
///
/// # Errors
/// [`TaskError::Start`] for a name that is no backend; it lists those that are.
/// [`TaskError::Unsupported`] for one that was not compiled in; it says how to get it.
pub fn pool(name: &str) -> Result<AnyBuilder, TaskError> {
    let which = match name {
        "inline" => Which::Inline(inline::pool()),
        #[cfg(feature = "threads")]
        "threads" => Which::Threads(taskloom_threads::pool()),
        #[cfg(feature = "procs")]
        "procs" => Which::Procs(taskloom_procs::pool()),
        _ if BACKENDS.iter().any(|(known, _)| *known == name) => return Err(not_compiled_in(name)),
        _ => return Err(unknown(name)),
    };
    Ok(AnyBuilder(which))
}

fn not_compiled_in(name: &str) -> TaskError {
    let help = format!("it is not in this program: build with `--features {name}`");
    Unsupported::new("making a pool", name).help(help).into()
}

fn unknown(name: &str) -> TaskError {
    let known: Vec<_> = BACKENDS.iter().map(|(known, _)| format!("`{known}`")).collect();
    StartError::new(format!("no backend is called `{name}`: there are {}", known.join(", "))).into()
}

/// Builds a pool whose backend was chosen by name. It has the options that every backend has.
#[derive(Debug)]
#[must_use = "nothing starts before `build`"]
pub struct AnyBuilder(Which);

#[derive(Debug)]
enum Which {
    Inline(inline::Builder),
    #[cfg(feature = "threads")]
    Threads(taskloom_threads::Builder),
    #[cfg(feature = "procs")]
    Procs(taskloom_procs::Builder),
}

/// The same call for whichever builder it is. A table of methods and not one function: each
/// backend's builder is a type of its own, with nothing in common but the names.
macro_rules! each {
    ($which:expr, $builder:ident => $call:expr) => {
        AnyBuilder(match $which {
            Which::Inline($builder) => Which::Inline($call),
            #[cfg(feature = "threads")]
            Which::Threads($builder) => Which::Threads($call),
            #[cfg(feature = "procs")]
            Which::Procs($builder) => Which::Procs($call),
        })
    };
}

impl AnyBuilder {
    /// How many tasks run at once; inline it is always one. By default as many as there are cores to
    /// use (`available_parallelism`, which honours affinity and cgroup quotas). 0 is an error of `build`.
    pub fn workers(self, workers: usize) -> Self {
        each!(self.0, builder => builder.workers(workers))
    }

    /// Base of the numbers that tasks see as `cx.seed()`. 0 by default: runs repeat.
    pub fn seed(self, seed: u64) -> Self {
        each!(self.0, builder => builder.seed(seed))
    }

    /// Runs `task` once on each worker before its first task; tasks there read its value with
    /// `cx.state()`. If it fails, so does `build`. Usually a `#[task(state)]` function.
    pub fn init<M>(self, task: impl IntoInit<M>) -> Self {
        each!(self.0, builder => builder.init(task))
    }

    /// Most tasks that may wait to start. 2^20 by default. `submit` waits for room, `try_submit` gives the task back.
    pub fn queue_items(self, items: usize) -> Self {
        each!(self.0, builder => builder.queue_items(items))
    }

    /// Most bytes of encoded arguments that may wait to start, where they are encoded. 256 MiB by default.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        each!(self.0, builder => builder.queue_bytes(bytes))
    }

    /// How long running tasks have when the pool is dropped, before they are killed or abandoned. 10 s by default.
    pub fn drop_grace(self, grace: Duration) -> Self {
        each!(self.0, builder => builder.drop_grace(grace))
    }

    /// Measures every task, also while nobody reads events. Off by default: reading clocks costs about as much as a small task.
    pub fn metrics(self, on: bool) -> Self {
        each!(self.0, builder => builder.metrics(on))
    }

    /// Most memory, in bytes, that a task may take beyond what its worker held when it began; then it ends as `OutOfMemory`.
    pub fn memory_limit(self, bytes: u64) -> Self {
        each!(self.0, builder => builder.memory_limit(bytes))
    }

    /// Replaces a worker that holds more than so many bytes between two tasks. By default half of the memory limit.
    pub fn recycle_above(self, bytes: u64) -> Self {
        each!(self.0, builder => builder.recycle_above(bytes))
    }

    /// Replaces a worker when it has begun so many tasks. Never by default.
    pub fn max_tasks_per_worker(self, tasks: u64) -> Self {
        each!(self.0, builder => builder.max_tasks_per_worker(tasks))
    }

    /// Lets workers leave that have had no work for so long; they come back when there is some. Never by default.
    pub fn idle_timeout(self, idle: Duration) -> Self {
        each!(self.0, builder => builder.idle_timeout(idle))
    }

    /// Keeps what a task prints for its outcome's summary, instead of passing it on. Off by default.
    pub fn capture_output(self, on: bool) -> Self {
        each!(self.0, builder => builder.capture_output(on))
    }

    /// Calls `reader` with everything that happens in the pool, in order, on the pool's notifier thread.
    pub fn on_event(self, reader: impl FnMut(&Event) + Send + 'static) -> Self {
        each!(self.0, builder => builder.on_event(reader))
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// If zero workers were asked for, or something the backend cannot do; if workers cannot be started, or the initialiser fails.
    pub fn build(self) -> Result<Pool, TaskError> {
        Ok(match self.0 {
            Which::Inline(builder) => builder.build()?.into_any(),
            #[cfg(feature = "threads")]
            Which::Threads(builder) => builder.build()?.into_any(),
            #[cfg(feature = "procs")]
            Which::Procs(builder) => builder.build()?.into_any(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_which_there_are() {
        let error = pool("thread").unwrap_err();
        assert!(matches!(error, TaskError::Start(_)));
        assert_eq!(error.to_string(), "no backend is called `thread`: there are `inline`, `threads`, `procs`");
    }

    #[test]
    fn a_backend_that_was_left_out_says_how_to_get_it() {
        let error = not_compiled_in("procs");
        assert!(matches!(error, TaskError::Unsupported(_)));
        assert!(error.to_string().ends_with("build with `--features procs`"), "{error}");
    }

    #[test]
    fn the_table_says_what_can_be_built() {
        for (name, available) in backends() {
            assert_eq!(pool(name).is_ok(), *available, "{name}");
        }
    }

    #[test]
    fn no_workers_are_refused() {
        assert!(matches!(pool("inline").unwrap().workers(0).build(), Err(TaskError::Start(_))));
    }
}
