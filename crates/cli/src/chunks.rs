//! Short tasks in chunks.
//!
//! ```text
//!  reader ──Inputs──▶ engine ──Batch──▶ queue ──▶ waiter: parses, has the pool run, writes results as text
//!                       ▲                           │
//!                       └────────── Part ───────────┘   what came of a batch, or of the start of one
//! ```
//!
//! What is done for each input is done by the waiters, of which there is one for each worker; the engine has something
//! to do only once for a chunk.

mod part;
mod waiter;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use taskloom::{Finished, NamedTask, Policy, Pool};

pub(crate) use self::part::{Part, Rest};
use self::waiter::{Desk, Waiter};
use crate::{
    Stop,
    input::Input,
    plan::{Chunk, Plan},
    reader::no_thread,
    run::Message,
};

/// Under automatic chunks: how long a chunk should take, and when one is worth its trouble.
const CHUNK_TIME: Duration = Duration::from_millis(2);
const SHORT: Duration = Duration::from_micros(200);
const SAMPLE: usize = 64;
const MAX_CHUNK: usize = 1024;

/// An input on its way, with its number.
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) input: Input,
    /// What it is to a task, if it has been looked at.
    pub(crate) task: Option<Box<NamedTask>>,
}

/// Inputs that go together, with their place in the order of results.
pub(crate) struct Batch {
    pub(crate) turn: u64,
    pub(crate) entries: Vec<Entry>,
}

/// Inputs that go together, and the threads that wait for what comes of them.
pub(crate) struct Chunks {
    pub(crate) size: usize,
    /// The size for the thread that reads: 0 as long as it is to send its inputs one by one.
    pub(crate) read_size: Arc<AtomicUsize>,
    /// Whether the size follows from what tasks take.
    automatic: bool,
    /// Whether the number of inputs is known: then none is long in coming.
    all_known: bool,
    sample: (usize, Duration),
    pub(crate) waiting: Vec<Entry>,
    batches: Option<Sender<Batch>>,
    /// Batches of which more is to come.
    pub(crate) open: usize,
    desks: Vec<Arc<Desk>>,
    queue: Arc<Mutex<Receiver<Batch>>>,
    aborted: Arc<AtomicBool>,
}

impl Chunks {
    pub(crate) fn new(plan: &Plan, runs_at_submission: bool) -> Self {
        let size = match plan.chunk {
            // What runs at submission gains nothing from company.
            Chunk::Fixed(size) if !runs_at_submission => size,
            Chunk::Fixed(_) | Chunk::Auto => 1,
        };
        let all_known = plan.feed.total.is_some();
        // Events say what each task took, and a chunk does not know; a pipe is to be answered line by line.
        let automatic = plan.chunk == Chunk::Auto && !runs_at_submission && !plan.show.json && all_known;
        let (batches, queue) = mpsc::channel();
        let chunks = Self {
            size,
            read_size: Arc::default(),
            automatic,
            all_known,
            sample: (0, Duration::ZERO),
            waiting: Vec::new(),
            batches: Some(batches),
            open: 0,
            desks: Vec::new(),
            queue: Arc::new(Mutex::new(queue)),
            aborted: Arc::default(),
        };
        chunks.tell_reader();
        chunks
    }

    /// A pipe's inputs come one by one: there may be hours between two.
    fn tell_reader(&self) {
        if self.size > 1 && self.all_known {
            self.read_size.store(self.size, Ordering::Relaxed);
        }
    }

    /// Inputs that chunks need beyond those that go one by one: enough to fill some while others run.
    pub(crate) fn window(&self, workers: usize) -> usize {
        if self.size > 1 { 4 * workers * self.size } else { 0 }
    }

    /// After a sample of short tasks the rest goes in chunks. Whether that begins now.
    pub(crate) fn learn(&mut self, finished: Option<&Finished>) -> bool {
        let wall = finished.filter(|_| self.automatic).and_then(|finished| finished.metrics.wall);
        let Some(wall) = wall else { return false };
        self.sample.0 += 1;
        self.sample.1 += wall;
        if self.sample.0 < SAMPLE {
            return false;
        }
        self.automatic = false;
        let mean = (self.sample.1 / SAMPLE as u32).max(Duration::from_nanos(1));
        if mean < SHORT {
            self.size = ((CHUNK_TIME.as_nanos() / mean.as_nanos()) as usize).clamp(1, MAX_CHUNK);
        }
        self.tell_reader();
        self.size > 1
    }

    pub(crate) fn send(
        &mut self,
        batch: Batch,
        plan: &Plan,
        pool: &Pool,
        sender: &Sender<Message>,
    ) -> Result<(), Stop> {
        if self.desks.len() < plan.workers && self.open >= self.desks.len() {
            let desk = Arc::<Desk>::default();
            let waiter = Waiter {
                // One runs while the results of another are read and a third is made ready.
                view: pool.with(Policy::new().chunk(self.size).window(2 * self.size)),
                feed: plan.feed.clone(),
                fit: plan.fit,
                is_brief: !plan.show.json && !plan.show.verbose,
                queue: self.queue.clone(),
                sender: sender.clone(),
                aborted: self.aborted.clone(),
                desk: desk.clone(),
            };
            let started = thread::Builder::new().name("taskloom-chunk".to_owned()).spawn(|| waiter.run());
            match started {
                Ok(_) => self.desks.push(desk),
                // Those there are take longer.
                Err(_) if !self.desks.is_empty() => {}
                Err(error) => return Err(no_thread(&error)),
            }
        }
        self.open += 1;
        if let Some(batches) = &self.batches {
            // Read by a thread that ends after this sender.
            let _ = batches.send(batch);
        }
        Ok(())
    }

    /// What has come meanwhile of batches that wait for one of their tasks, each with its turn.
    pub(crate) fn gather(&self) -> Vec<(u64, Part)> {
        let taken = self.desks.iter().map(|desk| desk.take());
        taken.filter(|(_, part)| !part.is_empty()).collect()
    }

    /// What has not started never will.
    pub(crate) fn abort(&mut self) {
        self.aborted.store(true, Ordering::Relaxed);
        self.batches = None;
    }
}

impl Desk {
    fn take(&self) -> (u64, Part) {
        let mut desk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (desk.0, std::mem::take(&mut desk.1))
    }
}
