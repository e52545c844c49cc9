//! Starts workers, watches them, kills and buries them: one thread for the life of the pool.
//!
//! It is the thread that starts workers because their parent-death signal follows the thread, not
//! the process. It never waits for anybody's code: it sends nothing, calls no task's code, and its locks are short.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    backend::Shared,
    dispatch::{Phase, Stage},
    launch::{self, Launched},
    line::Vital,
    os::{poll::Set, process::Doing},
    reader::POOL_ENDS,
    stderr::Tee,
    transport,
};

/// How often a worker that is busy is looked at: whether it is stopped, and how much memory it has.
const TICK: Duration = Duration::from_millis(200);

/// A worker process that has not been buried.
struct Charge {
    vital: Arc<Vital>,
    server: String,
    /// Until when it has to say hello.
    hello_by: Option<Instant>,
    /// It was found stopped at the last look.
    stopped: bool,
}

pub(crate) fn run(shared: &Arc<Shared>, tee: Tee) {
    shared.enter();
    let mut supervisor =
        Supervisor { shared, tee, charges: Vec::new(), readers: Vec::new(), next_worker: 0, looked: Instant::now() };
    while !supervisor.is_done() {
        supervisor.start_workers();
        supervisor.carry_out_kills();
        supervisor.wait();
        supervisor.bury();
        supervisor.readers.retain(|reader| !reader.is_finished());
    }
    supervisor.leave();
}

struct Supervisor<'a> {
    shared: &'a Arc<Shared>,
    tee: Tee,
    charges: Vec<Charge>,
    readers: Vec<JoinHandle<()>>,
    next_worker: u32,
    looked: Instant,
}

impl Supervisor<'_> {
    /// Whether the pool has ended and nobody is left.
    fn is_done(&self) -> bool {
        self.charges.is_empty() && matches!(self.shared.books().phase, Phase::Closing { .. })
    }

    fn start_workers(&mut self) {
        let now = Instant::now();
        let mut books = self.shared.books();
        if !books.is_open() {
            return;
        }
        let mut due = Vec::new();
        for (slot, lane) in books.lanes.iter_mut().enumerate() {
            let starts = match lane.stage {
                Stage::Vacant => true,
                Stage::VacantUntil(at) => at <= now,
                _ => false,
            };
            if starts {
                lane.stage = Stage::Starting { worker: self.next_worker };
                due.push((self.next_worker, slot as u32));
                self.next_worker += 1;
            }
        }
        drop(books);
        for (worker, slot) in due {
            match launch::start(self.shared, worker, slot, &self.tee) {
                Ok(Launched { vital, server, reader }) => {
                    let hello_by = Instant::now().checked_add(self.shared.config.start_timeout);
                    self.charges.push(Charge { vital, server, hello_by, stopped: false });
                    self.readers.push(reader);
                }
                Err(error) => self.shared.start_failed(slot, error),
            }
        }
    }

    fn carry_out_kills(&mut self) {
        let now = Instant::now();
        let mut books = self.shared.books();
        let (due, later) = std::mem::take(&mut books.kills).into_iter().partition(|kill| kill.at <= now);
        books.kills = later;
        let mut due: Vec<_> = due;
        due.retain(|kill| kill.only_if.is_none_or(|item| books.still_runs(kill.worker, item)));
        let everybody = matches!(books.phase, Phase::Closing { kill_at: Some(at) } if at <= now);
        // Nobody waits for a worker that is only being started.
        let unwanted: Vec<u32> = if books.is_open() { Vec::new() } else { books.starting().collect() };
        drop(books);
        for charge in &mut self.charges {
            let vital = &charge.vital;
            if let Some(kill) = due.iter().find(|kill| kill.worker == vital.worker) {
                vital.kill(&kill.verdict);
            }
            let greeted = vital.greeted.load(Ordering::Relaxed);
            if everybody || unwanted.contains(&vital.worker) {
                vital.kill(POOL_ENDS);
            }
            if greeted {
                charge.hello_by = None;
            } else if charge.hello_by.is_some_and(|at| at <= now) {
                let limit = self.shared.config.start_timeout;
                vital.kill(&format!("it said no hello within {limit:?}"));
                charge.hello_by = None;
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) {
        let mut books = self.shared.books();
        let busy = books.lanes.iter().any(|lane| lane.is_busy());
        books.asleep = !busy;
        let kills = books.kills.iter().map(|kill| kill.at);
        let starts = books.lanes.iter().filter_map(|lane| match lane.stage {
            Stage::VacantUntil(at) => Some(at),
            _ => None,
        });
        let end = match books.phase {
            Phase::Closing { kill_at } => kill_at,
            _ => None,
        };
        let hellos = self.charges.iter().filter_map(|charge| charge.hello_by);
        let next = kills.chain(starts).chain(end).chain(hellos).min();
        drop(books);

        let mut set = Set::default();
        set.add(self.shared.bell.fd());
        for charge in &self.charges {
            set.add(charge.vital.child.fd());
        }
        let limit = next.map(|at| at.saturating_duration_since(Instant::now()));
        let limit = if busy { Some(limit.unwrap_or(TICK).min(TICK)) } else { limit };
        set.wait(limit);
        if set.is_ready(0) {
            self.shared.bell.answer();
        }
        if busy && self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            self.look_around();
        }
    }

    /// Looks at all workers: those that were stopped, twice in a row, will not go on by themselves.
    fn look_around(&mut self) {
        for charge in &mut self.charges {
            charge.vital.sample();
            let Doing::Stopped(signal) = charge.vital.child.doing() else {
                charge.stopped = false;
                continue;
            };
            if std::mem::replace(&mut charge.stopped, true) {
                charge.vital.kill(&format!("stopped by signal {signal}, then killed"));
            }
        }
    }

    fn bury(&mut self) {
        self.charges.retain(|charge| {
            let dead = charge.vital.bury();
            if dead && !charge.vital.greeted.load(Ordering::Relaxed) {
                transport::give_up(&charge.server);
            }
            if dead {
                self.tee.look();
            }
            !dead
        });
    }

    /// Everything of the pool ends here.
    fn leave(self) {
        let Self { shared, tee, readers, .. } = self;
        for reader in readers {
            // Panics of tasks' code are caught where it runs.
            let _ = reader.join();
        }
        drop(tee);
        let mut books = shared.books();
        books.phase = Phase::Closed;
        let left = std::mem::take(&mut books.queue);
        drop(books);
        left.into_iter().for_each(|job| job.cancel());
        shared.announce();
    }
}
