//! The inline backend: tasks run at submission, on the caller's own thread.
//!
//! For tests, for debugging, and for work too small to share out. Everything else is as on other
//! backends: the same handles, policies, events, and with `checked(true)` the same encoding. A
//! submission returns when its task has its outcome, after the last attempt.
//!
//! Several threads may submit at once, and each runs its own tasks. A pool that ends tells those
//! that run on other threads, and waits for them no longer than its grace: nobody can take a
//! thread away from its owner.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    backend::{Backend, Capabilities, InProcess, Shutdown, Stop},
    error::TaskError,
    hub::Hub,
    job::{Job, Ticket},
    pool::Pool,
    settings::Settings,
    worker::{Init, Worker},
};

/// Starts to build an inline pool.
pub fn pool() -> Builder {
    Builder::default()
}

/// Builds an inline pool. One task runs at a time on each thread that submits.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    crate::pool_options!(in_process);

    /// Makes the pool, and runs the initialiser for this thread.
    ///
    /// # Errors
    /// If the initialiser fails, zero workers were asked for, or something that needs workers of their own.
    pub fn build(self) -> Result<Pool<Inline>, TaskError> {
        self.settings.worker_count()?;
        self.settings.check(&CAPABILITIES)?;
        let init = self.settings.initialiser()?;
        let backend = Inline { hub: Hub::new(self.settings), init, running: Mutex::default(), ended: Condvar::new() };
        backend.on_worker(|_| ())?;
        Ok(Pool::new(backend.hub.clone(), backend))
    }
}

const CAPABILITIES: Capabilities =
    Capabilities { nests: true, runs_at_submission: true, ..Capabilities::new("inline", 1) };

/// The inline backend.
#[derive(Debug)]
pub struct Inline {
    hub: Hub,
    init: Option<Init>,
    running: Mutex<Running>,
    ended: Condvar,
}

/// What runs, on whichever thread.
#[derive(Debug, Default)]
struct Running {
    tickets: Vec<Ticket>,
    /// The pool is being cancelled: nothing begins any more.
    cancelling: bool,
}

thread_local! {
    /// This thread as a worker of each inline pool that it has submitted to. The state that an
    /// initialiser makes may not leave its thread, so each thread has its own.
    static WORKERS: RefCell<HashMap<u64, Worker>> = RefCell::default();
}

impl Inline {
    fn on_worker<R>(&self, f: impl FnOnce(&Worker) -> R) -> Result<R, TaskError> {
        let known = WORKERS.with_borrow(|workers| workers.get(&self.hub.id()).cloned());
        let worker = match known {
            Some(worker) => worker,
            None => {
                let worker = Worker::new(self.hub.id(), 0, 0).cpu_clock(thread_cpu_time);
                worker.init(self.init.as_ref())?;
                WORKERS.with_borrow_mut(|workers| workers.insert(self.hub.id(), worker.clone()));
                worker
            }
        };
        Ok(f(&worker))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Nothing panics while it holds this lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, id: u64) {
        let mut running = self.running();
        let at = running.tickets.iter().rposition(|ticket| ticket.id() == id);
        let ticket = at.map(|at| running.tickets.swap_remove(at));
        let last = running.cancelling && running.tickets.is_empty();
        drop(running);
        if last {
            self.ended.notify_all();
        }
        // Perhaps the last owner of somebody's values: not under the lock.
        drop(ticket);
    }
}

impl Backend for Inline {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn submit(&self, job: Job) {
        let ticket = job.ticket();
        let id = ticket.id();
        let mut running = self.running();
        if running.cancelling {
            drop(running);
            return job.cancel();
        }
        running.tickets.push(ticket);
        drop(running);
        let mut job = Some(job);
        let ran = self.on_worker(|worker| job.take().map(|job| job.run(worker)));
        if let (Err(error), Some(job)) = (ran, job) {
            job.fail(&error);
        }
        self.leave(id);
    }

    fn stop(&self, _: u64, _: Stop) {
        // What runs has this thread; it has been told to stop, and ends when it returns.
    }

    fn shutdown(&self, how: Shutdown) {
        if let Shutdown::Cancel { grace } = how {
            let mut running = self.running();
            running.cancelling = true;
            let told = running.tickets.clone();
            drop(running);
            told.iter().for_each(Ticket::cancel);
            drop(told);
            // A task that ends its own pool cannot wait for its own end.
            if !self.hub.is_inside() {
                let busy = |running: &mut Running| !running.tickets.is_empty();
                let _gone = self.ended.wait_timeout_while(self.running(), grace, busy);
            }
        }
        // Other threads' workers end with their threads. What a state does when it is dropped may need this map.
        let _worker = WORKERS.with_borrow_mut(|workers| workers.remove(&self.hub.id()));
    }
}

impl InProcess for Inline {}

/// This thread's CPU time as the scheduler counts it: safe code only, and exact to a scheduler tick.
fn thread_cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
