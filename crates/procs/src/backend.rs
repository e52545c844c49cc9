//! The pool: what all its threads share, and the [`Backend`] that core sees.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fmt,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use taskloom_core::{
    Backend, Capabilities, Job, Payload, Shutdown, Stop, TaskError,
    backend_api::{Hub, Init, Spin},
};

use crate::{
    chaos::{self, Point},
    dispatch::{Books, Kill, Load, Order, Phase},
    entry::Calling,
    lane::{Stage, pause},
    launch,
    line::{Line, Verdict, Vital},
    os::{forked::Original, poll::Bell},
    places::Places,
    reader::Hearing,
    share,
    spare::Done,
    wire::data,
};

/// How long a worker that was told to end has for it.
const EXIT_TIME: Duration = Duration::from_secs(1);
/// Failed starts in a row after which nobody is started in a worker's place any more.
const MOST_FAILURES: u32 = 5;

/// The backend of worker processes. Made by [`pool`](crate::pool).
pub struct Procs {
    pub(crate) shared: Arc<Shared>,
}

/// What worker processes can do.
pub(crate) fn capabilities(workers: usize) -> Capabilities {
    let mut capabilities = Capabilities::new("procs", workers);
    capabilities.encodes = true;
    capabilities.isolates = true;
    capabilities.kills = true;
    capabilities.limits_memory = true;
    capabilities.recycles = true;
    capabilities.captures_output = true;
    capabilities.resizes = true;
    capabilities
}

impl Procs {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Process ids of the workers that are ready, in order of their slots.
    pub fn pids(&self) -> Vec<u32> {
        if self.shared.is_foreign() {
            return Vec::new();
        }
        let books = self.shared.books();
        let ready = books.lanes.iter().filter_map(|lane| match &lane.stage {
            Stage::Ready(line) => Some(line.vital.pid()),
            _ => None,
        });
        ready.collect()
    }
}

impl Backend for Procs {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.shared.workers())
    }

    fn submit(&self, job: Job) {
        self.shared.submit(job);
    }

    fn stop(&self, id: u64, how: Stop) {
        self.shared.stop(id, how);
    }

    fn resize(&self, workers: usize) -> Result<(), TaskError> {
        self.shared.resize(workers)
    }

    fn attend(&self, is_done: &dyn Fn() -> bool) {
        if !self.shared.is_foreign() {
            self.shared.attend(is_done);
        }
    }

    fn shutdown(&self, how: Shutdown) {
        self.shared.shutdown(how);
    }
}

impl fmt::Debug for Procs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Procs").field("workers", &self.capabilities().workers).finish_non_exhaustive()
    }
}

/// What a pool was built with; constant for its life.
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) start_timeout: Duration,
    pub(crate) init: Option<Init>,
    pub(crate) calling: Calling,
    pub(crate) family: String,
    /// Program name, environment, directory and umask of the time of `build`: replacements get them too.
    pub(crate) program: OsString,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
    pub(crate) shared_memory: bool,
    pub(crate) one_shot: bool,
}

/// What the threads of a pool share.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) config: Config,
    original: Original,
    books: Mutex<Books>,
    changed: Condvar,
    /// Workers that can be heard by whoever waits for a task, by their slots.
    crowd: Mutex<BTreeMap<u32, Arc<Hearing>>>,
    /// Whether it pays that whoever waits hears the crowd.
    attention: Spin,
    /// Wakes the supervisor.
    pub(crate) bell: Bell,
    supervisor: Mutex<Option<Supervision>>,
    /// How the last worker of a one-shot pool ended.
    last: Mutex<Option<Arc<Vital>>>,
}

/// Who looks after the workers.
pub(crate) enum Supervision {
    Thread(JoinHandle<()>),
    /// Somebody who looked after others before.
    Alone(Done),
}

/// How long a caller that waits hears workers itself: one of them may have to wake up first.
const ATTENTION: Duration = Duration::from_micros(80);

thread_local! {
    /// The pool, by its id, that this thread works for: it must not wait for that pool's end.
    static WORKS_FOR: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl Shared {
    pub(crate) fn new(hub: Hub, config: Config) -> Result<Self, std::io::Error> {
        let books = Books::new(config.workers, config.one_shot, hub.settings());
        Ok(Self {
            hub,
            config,
            original: Original::new()?,
            books: Mutex::new(books),
            changed: Condvar::new(),
            crowd: Mutex::default(),
            attention: Spin::lasting(ATTENTION),
            bell: Bell::new()?,
            supervisor: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// A worker's own reader has been woken by what it hears: whoever waits for that did not look.
    pub(crate) fn has_been_heard(&self) {
        self.attention.came();
    }

    /// A worker can be heard from now on.
    pub(crate) fn hear(&self, hearing: &Arc<Hearing>) {
        self.crowd().insert(hearing.slot(), hearing.clone());
    }

    pub(crate) fn hear_no_more(&self, hearing: &Arc<Hearing>) {
        let mut crowd = self.crowd();
        // A successor may be there already.
        if crowd.get(&hearing.slot()).is_some_and(|other| Arc::ptr_eq(other, hearing)) {
            crowd.remove(&hearing.slot());
        }
    }

    /// Hears all workers for a moment, in place of their readers' threads, until `is_done`: a caller that waits is awake
    /// already, and need not be woken.
    fn attend(self: &Arc<Self>, is_done: &dyn Fn() -> bool) {
        // Whoever does so already does it for all.
        let Ok(crowd) = self.crowd.try_lock() else { return };
        if crowd.is_empty() || self.hub.measuring() || !self.attention.pays() {
            return;
        }
        // Who has nothing to do has nothing to say; who gets something meanwhile is heard by its own reader.
        let books = self.books();
        let near: Vec<_> = books.lanes.working().iter().filter_map(|&slot| crowd.get(&(slot as u32))).collect();
        drop(books);
        let hear = || {
            near.iter().for_each(|hearing| hearing.attend(self));
            is_done()
        };
        let any = |what: fn(&Places) -> bool| near.iter().any(|hearing| hearing.places(what) == Some(true));
        // One that is being woken may have been put here: then it runs first.
        if any(Places::is_other_asleep) {
            taskloom_cpu::make_way();
        }
        if !hear() && !any(Places::are_same) {
            self.attention.look(hear);
        }
        near.iter().for_each(|hearing| hearing.leave());
    }

    fn crowd(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Hearing>>> {
        // Nothing panics while it holds this lock.
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks this thread as one of the pool's own.
    pub(crate) fn enter(&self) {
        WORKS_FOR.set(self.hub.id());
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it holds this lock.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a forked copy of the pool's process the pool does nothing.
    pub(crate) fn is_foreign(&self) -> bool {
        !self.original.is_here()
    }

    pub(crate) fn supervised_by(&self, by: Supervision) {
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
    }

    /// Waits until all workers are ready.
    ///
    /// # Errors
    /// Why one of them cannot be.
    pub(crate) fn wait_until_built(&self) -> Result<(), TaskError> {
        let mut books = self.books();
        loop {
            if let Some(error) = &books.broken {
                return Err(error.clone());
            }
            if books.lanes.iter().all(|lane| matches!(lane.stage, Stage::Ready(_) | Stage::Away)) {
                books.phase = Phase::Open;
                return Ok(());
            }
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn submit(self: &Arc<Self>, job: Job) {
        if self.is_foreign() {
            return job.fail(&TaskError::Closed);
        }
        let mut books = self.books();
        if let Some(error) = books.broken.clone() {
            drop(books);
            return job.fail(&error);
        }
        if !books.is_open() {
            drop(books);
            // Another attempt of a task that ended while the pool does.
            return job.cancel();
        }
        books.queue.push_back(job);
        drop(books);
        // Nobody has less to do because of it.
        if self.hand_out().has_news() {
            self.bell.ring();
        }
    }

    /// Sends what can be sent, evens out what waits, and lets go of workers that have nothing more to do.
    pub(crate) fn pump(self: &Arc<Self>) {
        let mut books = self.hand_out();
        let orders = books.rebalance();
        let leavers = books.leavers();
        let rings = books.has_news();
        drop(books);
        carry_out(orders);
        leavers.iter().for_each(|line| self.dismiss(line));
        if rings {
            self.bell.ring();
        }
    }

    /// Sends what can be sent. Gives the books, by which nothing more can be.
    fn hand_out(self: &Arc<Self>) -> MutexGuard<'_, Books> {
        loop {
            let mut books = self.books();
            let Some(load) = books.pick() else { return books };
            let wake = std::mem::take(&mut books.asleep);
            drop(books);
            self.transmit(load);
            if wake {
                self.bell.ring();
            }
        }
    }

    fn transmit(self: &Arc<Self>, mut load: Load) {
        drop(std::mem::take(&mut load.over));
        if load.jobs.is_empty() {
            return;
        }
        if load.is_large() {
            let (this, line) = (self.clone(), load.line.clone());
            line.send_patiently(move || {
                this.deliver(load);
                // The worker may have answered everything while it was still being sent to.
                this.pump();
            });
        } else {
            self.deliver(load);
        }
    }

    fn deliver(self: &Arc<Self>, load: Load) {
        let Load { line, mut jobs, .. } = load;
        chaos::on(Point::Picked, &line.vital);
        let Some(tokens) = jobs.first().zip(jobs.last()).map(|((first, _), (last, _))| *first..=*last) else { return };
        let mut message = Payload::with_bodies();
        message.bytes_mut().push(data::FRAMES);
        for (token, job) in &mut jobs {
            job.sent(*token, &mut message);
        }
        message.exchange(0, |body| {
            line.settle_sharing(body);
            share::stand_in(body, line.that_keeps())
        });
        // Before they are sent: the reader must know what it hears of.
        match line.keep(jobs) {
            Ok(()) => {
                chaos::on(Point::Kept, &line.vital);
                line.send(message);
            }
            // The worker died meanwhile; it has begun none of them.
            Err(jobs) => self.give_back(jobs.into_iter().filter_map(|(_, mut job)| job.returned(0)).collect()),
        }
        let orders = self.books().sent(&line, tokens);
        carry_out(orders);
    }

    /// Lets go of workers that have nothing more to do.
    pub(crate) fn let_go(&self) {
        let leavers = self.books().leavers();
        leavers.iter().for_each(|line| self.dismiss(line));
    }

    /// Jobs that came back from a worker go to the front of the queue, in their order.
    pub(crate) fn give_back(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut books = self.books();
        let unwanted: Vec<Job> = match (&books.broken, books.is_open()) {
            (None, true) => {
                jobs.into_iter().rev().for_each(|job| books.queue.push_front(job));
                Vec::new()
            }
            _ => jobs,
        };
        let broken = books.broken.clone();
        drop(books);
        for job in unwanted {
            match &broken {
                Some(error) => job.fail(error),
                None => job.cancel(),
            }
        }
    }

    fn dismiss(&self, line: &Arc<Line>) {
        chaos::on(Point::Dismiss, &line.vital);
        line.dismiss();
        self.kill_later(line.worker(), EXIT_TIME, "it did not end when it was told to");
    }

    /// Has a worker killed after `time`, if it lives then.
    pub(crate) fn kill_later(&self, worker: u32, time: Duration, verdict: impl Into<Verdict>) {
        let kill = Kill::new(worker, Instant::now() + time, verdict);
        self.books().kills.push(kill);
        self.bell.ring();
    }

    fn stop(self: &Arc<Self>, id: u64, how: Stop) {
        if self.is_foreign() {
            return;
        }
        let kill = match how {
            Stop::Kill { grace } => Some(grace),
            _ => None,
        };
        let (orders, over) = self.books().stop(id, kill);
        self.bell.ring();
        carry_out(orders);
        drop(over);
    }

    /// How many workers there are to be.
    fn workers(&self) -> usize {
        if self.is_foreign() {
            return self.config.workers;
        }
        self.books().lanes.iter().filter(|lane| !lane.unwanted).count()
    }

    fn resize(self: &Arc<Self>, workers: usize) -> Result<(), TaskError> {
        if self.is_foreign() {
            return Err(TaskError::Closed);
        }
        if let Some(more) = workers.checked_sub(self.workers()).filter(|&more| more > 0) {
            launch::check_descriptors(more)?;
        }
        let mut books = self.books();
        if !books.is_open() {
            return Err(TaskError::Closed);
        }
        if let Some(error) = &books.broken {
            return Err(error.clone());
        }
        let orders = books.resize(workers);
        drop(books);
        carry_out(orders);
        self.pump();
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn shutdown(self: &Arc<Self>, how: Shutdown) {
        if self.is_foreign() {
            return;
        }
        let kill_at = match how {
            Shutdown::Cancel { grace } => Instant::now().checked_add(grace),
            _ => None,
        };
        let mut books = self.books();
        books.phase = match books.phase {
            Phase::Closed => Phase::Closed,
            // The earlier end of two counts.
            Phase::Closing { kill_at: Some(before) } => {
                Phase::Closing { kill_at: Some(kill_at.map_or(before, |now| now.min(before))) }
            }
            _ => Phase::Closing { kill_at },
        };
        let queue: VecDeque<Job> = std::mem::take(&mut books.queue);
        let orders = books.stop_all();
        drop(books);
        queue.into_iter().for_each(|job| job.cancel());
        carry_out(orders);
        self.pump();
        // Whoever looks after a process for one task alone ends with that.
        if kill_at.is_some() || !self.config.one_shot {
            self.bell.ring();
        }
        if !self.hub.is_inside() && WORKS_FOR.get() != self.hub.id() {
            self.wait_until_closed();
        }
    }

    fn wait_until_closed(&self) {
        if !self.config.one_shot {
            let mut books = self.books();
            while books.phase != Phase::Closed {
                books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
            }
        }
        // Who comes second waits for the first at this lock.
        match self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Its loop catches nothing because nothing in it panics.
            Some(Supervision::Thread(thread)) => drop(thread.join()),
            Some(Supervision::Alone(done)) => done.wait(),
            None => {}
        }
    }

    /// Tells those who wait that the books have changed.
    pub(crate) fn announce(&self) {
        self.changed.notify_all();
        self.bell.ring();
    }

    /// A worker could not be started, or did not come as far as being ready.
    pub(crate) fn start_failed(&self, slot: u32, error: TaskError) {
        let mut books = self.books();
        let building = books.phase == Phase::Building;
        let open = books.is_open();
        let mut lane = books.lanes.touch(slot as usize);
        lane.failures += 1;
        let hopeless = building || !open || lane.failures >= MOST_FAILURES;
        let pause = pause(lane.failures);
        let _ = lane.vacate(if hopeless { Stage::Shut } else { Stage::VacantUntil(Instant::now() + pause) });
        drop(lane);
        // What would have been this worker's is another's now.
        books.call_back();
        let mut wanted = books.lanes.iter().filter(|lane| !lane.unwanted);
        let hopeless = open && (building || wanted.all(|lane| matches!(lane.stage, Stage::Shut)));
        drop(books);
        if hopeless {
            self.give_up(error);
        }
        self.announce();
    }

    /// There will be no more workers: everything that waits for one, now and later, fails with this.
    pub(crate) fn give_up(&self, error: TaskError) {
        let mut books = self.books();
        books.broken.get_or_insert(error.clone());
        let queue = std::mem::take(&mut books.queue);
        drop(books);
        queue.into_iter().for_each(|job| job.fail(&error));
    }

    /// Remembers the worker of a one-shot pool.
    pub(crate) fn remember(&self, vital: &Arc<Vital>) {
        if self.config.one_shot {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(vital.clone());
        }
    }

    pub(crate) fn remembered(&self) -> Option<Arc<Vital>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a worker ended, if it has and the status is known.
pub(crate) fn exit_status(vital: &Vital) -> Option<ExitStatus> {
    vital.exit()?.status
}

/// Sends orders to workers' control threads.
pub(crate) fn carry_out(orders: Vec<Order>) {
    for (line, order) in orders {
        if line.is_alone() {
            // Its job, perhaps a long one, goes the same way, and whoever hears it looks after it too.
            line.clone().send_patiently(move || line.order(&order));
        } else {
            line.order(&order);
        }
    }
}
