//! One thread's life: set up, initialise, work until there is no more to do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use taskloom_core::{
    Event, TaskError,
    backend_api::{OnBlock, Worker},
};

use crate::{crew::Crew, queue::Work, seats::Badge, sync::Arc};

/// The body of a thread.
pub(crate) fn run(crew: &Arc<Crew>, badge: Badge) {
    let hook = Hook { crew: crew.clone(), badge };
    let worker =
        Worker::new(crew.hub.id(), badge.worker, badge.slot).cpu_clock(taskloom_cpu::thread_time).on_block(hook);
    let ready = worker.init(crew.plan.init.as_ref());
    if ready.is_ok() {
        // Before anybody can learn of the worker in another way.
        crew.hub.emit(|| Event::worker_started(badge.worker, std::process::id()));
        crew.ready(badge);
        work(crew, badge, &worker);
    }
    // The initialiser's value is the user's: its drop may panic, and belongs to the thread's life.
    guarded("the value of an initialiser panicked when it was dropped", || drop(worker));
    if ready.is_ok() && crew.lock().seats.get(badge).is_some() {
        crew.hub.emit(|| Event::worker_ended(badge.worker, std::process::id(), ""));
    }
    crew.leave(badge, ready.err());
}

fn work(crew: &Arc<Crew>, badge: Badge, worker: &Worker) {
    let mut over = true;
    while let Some(work) = crew.next(badge, over) {
        over = true;
        // Panics of tasks are outcomes and never arrive here; those of a waiting program's own wakers might.
        guarded("a task's end panicked", || match work {
            Work::Job(job) if job.len() == 1 => over = job.run(worker),
            // Nobody waits for an item of a chunk alone: none runs inside the task that waits for it.
            Work::Job(job) => {
                job.run(worker);
            }
            Work::Help(ticket) => ticket.help(worker),
        });
    }
}

/// Runs what may panic in somebody else's code.
pub(crate) fn guarded(what: &str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        log::error!(target: "taskloom", "{what}");
        // Its own drop may panic again.
        std::mem::forget(payload);
    }
}

/// Told when a task on this thread waits for others.
struct Hook {
    crew: Arc<Crew>,
    badge: Badge,
}

impl OnBlock for Hook {
    fn block(&self) -> Result<(), TaskError> {
        self.crew.block(self.badge)
    }
    fn resume(&self) {
        self.crew.resume(self.badge);
    }
}
