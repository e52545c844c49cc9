//! Short tasks in chunks, and the threads that wait for them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use taskloom::{Finished, NamedTask, Policy, Pool, TaskError, View};

use crate::{
    Stop,
    plan::{Chunk, Plan},
    reader::no_thread,
    run::Message,
};

/// Under automatic chunks: how long a chunk should take, and when one is worth its trouble.
const CHUNK_TIME: Duration = Duration::from_millis(2);
const SHORT: Duration = Duration::from_micros(200);
const SAMPLE: usize = 64;
const MAX_CHUNK: usize = 1024;

pub(crate) type Batch = Vec<(u64, NamedTask)>;

/// Tasks that go together, and the threads that wait for them.
pub(crate) struct Chunks {
    pub(crate) size: usize,
    /// Whether the size follows from what tasks take.
    automatic: bool,
    sample: (usize, Duration),
    pub(crate) waiting: Batch,
    batches: Option<Sender<Batch>>,
    pub(crate) busy: usize,
    threads: usize,
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
        // Events say what each task took, and a chunk does not know; a pipe is to be answered line by line.
        let automatic =
            plan.chunk == Chunk::Auto && !runs_at_submission && !plan.show.json && plan.feed.total.is_some();
        let (batches, queue) = mpsc::channel();
        Self {
            size,
            automatic,
            sample: (0, Duration::ZERO),
            waiting: Vec::new(),
            batches: Some(batches),
            busy: 0,
            threads: 0,
            queue: Arc::new(Mutex::new(queue)),
            aborted: Arc::default(),
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
        self.size > 1
    }

    pub(crate) fn send(&mut self, pool: &Pool, sender: &Sender<Message>, workers: usize) -> Result<(), Stop> {
        let batch = std::mem::take(&mut self.waiting);
        // Two per worker: one runs, one waits for it.
        if self.threads < 2 * workers && self.busy >= self.threads {
            let waiter = Waiter {
                view: pool.with(Policy::new().chunk(self.size).window(self.size)),
                queue: self.queue.clone(),
                sender: sender.clone(),
                aborted: self.aborted.clone(),
            };
            let started = thread::Builder::new().name("taskloom-chunk".to_owned()).spawn(|| waiter.run());
            match started {
                Ok(_) => self.threads += 1,
                // Those there are take longer.
                Err(_) if self.threads > 0 => {}
                Err(error) => return Err(no_thread(&error)),
            }
        }
        self.busy += 1;
        if let Some(batches) = &self.batches {
            // Read by a thread that ends after this sender.
            let _ = batches.send(batch);
        }
        Ok(())
    }

    /// What has not started never will.
    pub(crate) fn abort(&mut self) {
        self.aborted.store(true, Ordering::Relaxed);
        self.batches = None;
    }
}

/// A thread that submits a chunk, waits for its results, and takes the next.
struct Waiter {
    view: View,
    queue: Arc<Mutex<Receiver<Batch>>>,
    sender: Sender<Message>,
    aborted: Arc<AtomicBool>,
}

impl Waiter {
    fn run(self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = next else { return };
            let (numbers, tasks): (Vec<u64>, Vec<NamedTask>) = batch.into_iter().unzip();
            let mut results = self.view.map(tasks);
            for number in numbers {
                let cancelled = self.aborted.load(Ordering::Relaxed);
                let result = if cancelled { None } else { results.next() };
                // A map that is dropped cancels what has not started.
                let result = result.unwrap_or(Err(TaskError::Cancelled));
                if self.sender.send(Message::Outcome(number, result)).is_err() {
                    return;
                }
            }
            let _ = self.sender.send(Message::ChunkDone);
        }
    }
}
