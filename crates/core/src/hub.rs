//! What a pool's parts share: room in the queue, the count of open tasks, the notifier thread, the
//! readers of events. Backends hold it too: it knows no backend, so that nothing owns itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    ambient,
    error::TaskError,
    event::Event,
    gauge::{Bound, Full, Gauge},
    notifier::{Message, Notifier},
    settings::Settings,
};

/// The shared part of a pool.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    id: u64,
    settings: Settings,
    gauge: Gauge,
    notifier: Notifier,
    measuring: AtomicBool,
    batches: AtomicU64,
    owner: u32,
}

impl Hub {
    /// The shared part of a new pool.
    pub fn new(settings: Settings) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let hub = Self(Arc::new(Shared {
            id,
            gauge: Gauge::default(),
            notifier: Notifier::new(id),
            measuring: AtomicBool::new(settings.metrics),
            batches: AtomicU64::new(0),
            owner: std::process::id(),
            settings,
        }));
        for reader in hub.settings().readers.take() {
            hub.read_events(reader);
        }
        hub
    }

    /// A number that no other pool of this process has.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// How the pool was set up.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Whether this is a forked copy of the pool's process. The pool's threads are not in it, and its locks may be held
    /// for ever: there the pool does nothing, not even end.
    pub fn is_foreign(&self) -> bool {
        std::process::id() != self.0.owner
    }

    /// Whether this thread runs a task or a callback of the pool: then it must not wait for the pool's end.
    pub fn is_inside(&self) -> bool {
        ambient::belongs_to(self.id())
    }

    /// Whether anybody wants to know what tasks cost.
    pub fn measuring(&self) -> bool {
        self.0.measuring.load(Ordering::Relaxed)
    }

    /// Whether anybody wants to know what the items of a map cost: no handle tells it, so only readers of events do.
    pub(crate) fn measuring_maps(&self) -> bool {
        self.0.notifier.has_readers()
    }

    /// Passes an event on to its readers, if there are any.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if self.0.notifier.has_readers() {
            // Nobody hears the last events of a pool that has ended.
            let _ = self.0.notifier.post(Message::Event(event()));
        }
    }

    /// Delivers a worker's log record on the notifier thread, then calls `delivered`: the worker
    /// may be waiting for it.
    pub fn log(&self, record: LogRecord, delivered: impl FnOnce() + Send + 'static) {
        self.notify(move || {
            record.deliver();
            delivered();
        });
    }

    /// Runs `f` on the notifier thread; here, if that thread has ended. A panic in it is logged.
    pub fn notify(&self, f: impl FnOnce() + Send + 'static) {
        if let Err(f) = self.post(f) {
            crate::notifier::call(f);
        }
    }

    /// Queues `f` for the notifier thread; gives it back if that thread has ended.
    pub(crate) fn post(&self, f: impl FnOnce() + Send + 'static) -> Result<(), Box<dyn FnOnce() + Send>> {
        match self.0.notifier.post(Message::Call(Box::new(f))) {
            Err(Message::Call(f)) => Err(f),
            _ => Ok(()),
        }
    }

    pub(crate) fn read_events(&self, reader: Box<dyn FnMut(&Event) + Send>) {
        self.0.measuring.store(true, Ordering::Relaxed);
        self.0.notifier.add_reader(reader);
    }

    pub(crate) fn next_batch(&self) -> u64 {
        self.0.batches.fetch_add(1, Ordering::Relaxed)
    }

    fn bound(&self) -> Bound {
        let settings = self.settings();
        Bound { items: settings.queue_items, bytes: settings.queue_bytes }
    }

    /// Takes room for `items` tasks of `bytes` in all. Waits for it, unless this thread must not wait.
    pub(crate) fn admit(&self, items: usize, bytes: usize) -> Result<(), TaskError> {
        let gauge = &self.0.gauge;
        let admitted = if ambient::must_not_wait() {
            gauge.try_admit(items, bytes, None)
        } else {
            gauge.admit(items, bytes, self.bound())
        };
        admitted.map_err(|_| TaskError::Closed)
    }

    pub(crate) fn try_admit(&self, items: usize, bytes: usize) -> Result<(), Full> {
        self.0.gauge.try_admit(items, bytes, Some(self.bound()))
    }

    /// A task has started, or will never start.
    pub(crate) fn leave_queue(&self, items: usize, bytes: usize) {
        self.0.gauge.leave_queue(items, bytes);
    }

    /// Tasks have their outcomes.
    pub(crate) fn done(&self, tasks: usize) {
        self.0.gauge.done(tasks);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.gauge.is_closed()
    }

    /// From now on nothing is accepted. Submits that wait for room wake up with `Closed`.
    pub(crate) fn close(&self) {
        self.0.gauge.close();
    }

    /// Returns when every accepted task has its outcome.
    pub(crate) fn wait_all_done(&self) {
        self.0.gauge.wait_all_done();
    }

    /// Tasks accepted and without an outcome.
    pub(crate) fn open(&self) -> usize {
        self.0.gauge.open()
    }

    /// Ends the notifier thread when it has delivered everything.
    pub(crate) fn end_notifier(&self) {
        self.0.notifier.end();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("id", &self.0.id).finish_non_exhaustive()
    }
}

/// A log record that was made in another process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the fields of `log::Record`")]
pub struct LogRecord {
    /// The task that made it, if one did.
    pub task: Option<u64>,
    /// As `log::Level as usize`.
    pub level: usize,
    pub target: String,
    pub message: String,
    pub module: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

impl LogRecord {
    /// Copies a record made in this process, with its current task.
    pub fn copy(record: &log::Record<'_>) -> Self {
        Self {
            task: ambient::current_task(),
            level: record.level() as usize,
            target: record.target().to_owned(),
            message: record.args().to_string(),
            module: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
        }
    }

    fn deliver(&self) {
        let level = log::Level::iter().find(|level| *level as usize == self.level).unwrap_or(log::Level::Error);
        if level > log::max_level() {
            return;
        }
        ambient::on_behalf(self.task, || {
            log::logger().log(
                &log::Record::builder()
                    .level(level)
                    .target(&self.target)
                    .module_path(self.module.as_deref())
                    .file(self.file.as_deref())
                    .line(self.line)
                    .args(format_args!("{}", self.message))
                    .build(),
            );
        });
    }
}

/// How long a pool that is dropped lets running tasks finish, by default.
pub(crate) const DROP_GRACE: Duration = Duration::from_secs(10);
