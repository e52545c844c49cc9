//! The backend that core sees: jobs in, stops, and the end.

use std::fmt;

use taskloom_core::{Backend, Capabilities, InProcess, Job, Shutdown, Stop, TaskError, Ticket};

use crate::{crew::Crew, sync::Arc};

/// The threads backend. Made by [`pool`](crate::pool); as `pool.backend()` it tells what only it knows.
pub struct Threads {
    pub(crate) crew: Arc<Crew>,
}

impl Threads {
    /// Threads that the pool has now: its workers, those that took the place of waiting ones, and
    /// spare ones. The abandoned are not counted.
    pub fn threads(&self) -> usize {
        self.crew.lock().seats.count()
    }

    /// Threads that were left behind in a task whose time was over, and have not come back from it.
    pub fn abandoned(&self) -> usize {
        self.crew.lock().abandoned
    }
}

pub(crate) fn capabilities(workers: usize) -> Capabilities {
    let mut capabilities = Capabilities::new("threads", workers);
    capabilities.abandons = true;
    capabilities.nests = true;
    capabilities.resizes = true;
    capabilities
}

impl Backend for Threads {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.crew.places())
    }

    fn submit(&self, job: Job) {
        self.crew.submit(job);
    }

    fn stop(&self, id: u64, how: Stop) {
        // What was recalled is over already: it is dropped when it comes to the head of the queue.
        if let Stop::Kill { grace } = how {
            self.crew.expect_end(id, grace);
        }
    }

    fn resize(&self, workers: usize) -> Result<(), TaskError> {
        self.crew.resize(workers)
    }

    fn shutdown(&self, how: Shutdown) {
        let crew = &self.crew;
        let mut state = crew.lock();
        state.closing = true;
        // Their grace is over, and nobody need replace them now.
        let overdue: Vec<_> = state.seats.iter().filter(|seat| seat.overdue).map(|seat| seat.badge).collect();
        let left: Vec<_> = overdue.into_iter().map(|badge| crew.abandon(&mut state, badge)).collect();
        let (queued, running) = match how {
            Shutdown::Cancel { .. } => {
                let errands = state.seats.iter().filter_map(|seat| seat.errand.as_ref()).map(|errand| &errand.ticket);
                let running: Vec<Ticket> = errands.chain(&state.in_place).cloned().collect();
                (state.queue.take_all(), running)
            }
            _ => Default::default(),
        };
        drop(state);
        crew.ring_for_all();
        left.into_iter().for_each(|left| left.settle(&crew.hub));
        for job in queued {
            job.cancel();
            let ticket = job.ticket();
            drop(job);
            if ticket.is_open() {
                // It runs inside the task that waits for it.
                crew.remember(ticket);
            }
        }
        running.iter().for_each(Ticket::cancel);
        drop(running);
        if let Shutdown::Cancel { grace } = how {
            crew.expect_all(grace);
        }
        // A thread cannot wait for its own end. What is left to do the others do: the watcher, and whoever goes last.
        if !crew.is_aboard() && !crew.hub.is_inside() {
            crew.wait_gone();
        }
    }
}

impl InProcess for Threads {}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("workers", &self.crew.places())
            .field("threads", &self.threads())
            .field("abandoned", &self.abandoned())
            .finish()
    }
}
