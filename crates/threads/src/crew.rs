//! Who is there: the threads of a pool, their seats, and how they come and go.
//!
//! One lock holds everything. Under it nobody's code runs: no job is run, ended or dropped, no
//! callback is called. Threads are *started* under it, which is seldom and keeps a thread from
//! ending before its seat exists. The whole protocol is told in `README.md`.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::{self, JoinHandle},
    time::Duration,
};

use taskloom_core::{
    Exhausted, Job, Pool, TaskError, Ticket,
    backend_api::{Hub, Init},
};

use crate::{
    backend::Threads,
    bench::{Bell, Ring},
    muster::{Answer, Muster},
    pace::Pace,
    queue::{Queue, Work},
    seats::{Badge, Seats, Stance},
    sync::{Arc, Condvar, Mutex, MutexGuard, unpoisoned},
    watch::Watch,
};

/// How long a spare thread stays.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// What the builder was told.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) workers: usize,
    pub(crate) max_extra: usize,
    pub(crate) max_abandoned: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) init: Option<Init>,
}

/// The threads of a pool and what they share.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) hub: Hub,
    pub(crate) plan: Plan,
    state: Mutex<State>,
    idle: Bell,
    pub(crate) spare: Bell,
    /// A thread is ready, or gone.
    pub(crate) changed: Condvar,
    /// There is something new to watch, or nothing any more.
    pub(crate) watched: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) muster: Muster,
    pace: Pace,
    pub(crate) seats: Seats,
    pub(crate) hired: u32,
    /// Threads that were left behind in a task and have not come back.
    pub(crate) abandoned: usize,
    /// Tasks whose job has been taken from the queue, but that run inside the task that waits for them.
    pub(crate) in_place: Vec<Ticket>,
    pub(crate) closing: bool,
    pub(crate) is_built: bool,
    /// Why a thread could not begin its work; the build asks for it.
    pub(crate) failure: Option<TaskError>,
    pub(crate) watch: Watch,
    /// The thread that went last. The next to go joins it, so that at most one is unjoined.
    last: Option<JoinHandle<()>>,
    /// A pool that nobody else holds: its last thread drops it.
    keeper: Option<Pool<Threads>>,
}

/// What is left to be done once the lock has been let go: tasks that nobody will run.
#[must_use]
#[derive(Debug)]
pub(crate) struct Stranded(VecDeque<Job>, TaskError);

impl Crew {
    /// A crew without threads.
    pub(crate) fn new(hub: Hub, plan: Plan) -> Arc<Self> {
        let state = State {
            queue: Queue::default(),
            muster: Muster::new(plan.workers, cores(), if plan.init.is_some() { usize::MAX } else { cores() }),
            pace: Pace::new(),
            seats: Seats::default(),
            hired: 0,
            abandoned: 0,
            in_place: Vec::new(),
            closing: false,
            is_built: false,
            failure: None,
            watch: Watch::default(),
            last: None,
            keeper: None,
        };
        Arc::new(Self {
            hub,
            plan,
            state: Mutex::new(state),
            idle: Bell::default(),
            spare: Bell::default(),
            changed: Condvar::new(),
            watched: Condvar::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Takes a job.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        if state.closing {
            drop(state);
            job.cancel();
            return;
        }
        match self.summon(&mut state) {
            Ok(bell) => {
                state.queue.push(job);
                drop(state);
                bell.ring();
            }
            Err(error) => {
                drop(state);
                job.fail(&error);
            }
        }
    }

    /// There is something to do: sees to it that somebody comes.
    fn summon<'a>(self: &'a Arc<Self>, state: &mut State) -> Result<Ring<'a>, TaskError> {
        match state.muster.summon() {
            Answer::Idle => Ok(self.idle.later(&state.muster.idle)),
            Answer::Spare => Ok(self.spare.later(&state.muster.spare)),
            Answer::Enough => Ok(Ring::default()),
            Answer::Nobody => Err(Exhausted::new(
                "workers (each is in a task whose time is over, and no other thread may be abandoned)",
                self.plan.max_abandoned as u64,
            )
            .into()),
            Answer::Hire => match self.hire_extra(state) {
                Ok(()) => Ok(Ring::default()),
                Err(error) => {
                    state.muster.arrive();
                    state.muster.leave();
                    // With somebody at work the pool is slower, and no worse.
                    if state.muster.is_deserted() { Err(error) } else { Ok(Ring::default()) }
                }
            },
        }
    }

    /// A thread was taken from work: sees to it that what is left is done, or takes away what nobody can do.
    pub(crate) fn cover(self: &Arc<Self>, state: &mut State) -> Option<Stranded> {
        if state.closing || !state.queue.has_work() {
            return None;
        }
        match self.summon(state) {
            Ok(bell) => {
                bell.ring();
                None
            }
            Err(why) => state.strand(&why),
        }
    }

    /// A thread's initialiser has run.
    pub(crate) fn ready(&self, badge: Badge) {
        let mut state = self.lock();
        if let Some(seat) = state.seats.get(badge) {
            seat.ready = true;
            state.muster.arrive();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What a thread is to do next; `None` if it is to end. What it did before is put away; `over`
    /// says whether all of that has its outcome.
    pub(crate) fn next(self: &Arc<Self>, badge: Badge, over: bool) -> Option<Work> {
        let mut state = self.lock();
        if !over
            && let Some(ticket) = state.seats.get(badge).and_then(|seat| Some(seat.errand.as_ref()?.ticket.clone()))
        {
            drop(state);
            self.remember(ticket);
            state = self.lock();
        }
        let mut has_sat = false;
        loop {
            // Dropped after the lock, being perhaps the last owner of somebody's values.
            let done = state.put_away(badge)?;
            let surplus = !state.closing && state.muster.has_surplus();
            if !surplus && let Some((work, bell)) = self.take(&mut state, badge) {
                let has_company = has_sat && state.pace.is_quick();
                drop(state);
                bell.ring();
                if has_company {
                    self.idle.make_way();
                }
                return Some(work);
            }
            if done.iter().any(Option::is_some) {
                drop(state);
                drop(done);
                state = self.lock();
                continue;
            }
            if state.closing {
                return None;
            }
            if surplus {
                state.muster.leave();
                // It may have been called for work: another has to do it now.
                if state.queue.has_work() && state.muster.idle.call() {
                    self.idle.later(&state.muster.idle).ring();
                }
                state.stand(badge, Stance::Spare);
                let called;
                (state, called) =
                    self.spare.sit(&self.state, state, State::spares, State::is_closing, Some(SPARE_TIME));
                if !called {
                    state.stand(badge, Stance::Leaving);
                    return None;
                }
                state.stand(badge, Stance::AtWork);
            } else {
                let called;
                (state, called) =
                    self.idle.sit(&self.state, state, State::idlers, State::is_closing, self.plan.idle_timeout);
                has_sat = true;
                // Not called, so there is nothing to do.
                if !called && !state.closing && state.muster.can_spare_one() {
                    state.muster.leave();
                    state.stand(badge, Stance::Leaving);
                    return None;
                }
            }
        }
    }

    fn take<'a>(self: &'a Arc<Self>, state: &mut State, badge: Badge) -> Option<(Work, Ring<'a>)> {
        let (work, errand) = state.queue.take()?;
        state.pace.count();
        let more = state.queue.has_jobs()
            || match &work {
                Work::Job(job) => job.len() > 1,
                Work::Help(ticket) => ticket.unclaimed() > 1,
            };
        // One calls the next, as long as there is something left: not all at once for what one can do.
        // That nobody can come is no failure here: this thread does it all.
        let bell = if more { self.summon(state).unwrap_or_default() } else { Ring::default() };
        if let Some(seat) = state.seats.get(badge) {
            seat.errand = Some(errand);
        }
        Some((work, bell))
    }

    /// A task runs inside the task that waits for it: it must be found when the pool ends.
    pub(crate) fn remember(&self, ticket: Ticket) {
        let mut known = std::mem::take(&mut self.lock().in_place);
        known.retain(Ticket::is_open);
        known.push(ticket);
        let mut state = self.lock();
        let closing = state.closing;
        state.in_place.extend(known.iter().cloned());
        drop(state);
        if closing {
            // It may have been out of sight when all were told.
            known.iter().for_each(Ticket::cancel);
        }
    }

    /// A task on this thread is about to wait for others.
    pub(crate) fn block(self: &Arc<Self>, badge: Badge) -> Result<(), TaskError> {
        let mut state = self.lock();
        let Some(seat) = state.seats.get(badge).filter(|seat| seat.stance == Stance::AtWork) else { return Ok(()) };
        seat.stance = Stance::Waiting;
        state.muster.leave();
        if !state.queue.has_work() {
            // Work that comes later finds a free place, and summons for it.
            return Ok(());
        }
        match self.summon(&mut state) {
            Ok(bell) => {
                drop(state);
                bell.ring();
                Ok(())
            }
            Err(error) => {
                state.muster.join();
                state.stand(badge, Stance::AtWork);
                Err(error)
            }
        }
    }

    /// It goes on. There may be one too many at work now; it, or another, retires when it has nothing to do.
    pub(crate) fn resume(&self, badge: Badge) {
        let mut state = self.lock();
        let Some(seat) = state.seats.get(badge).filter(|seat| seat.stance == Stance::Waiting) else { return };
        if seat.overdue {
            seat.stance = Stance::Stuck;
            state.muster.stick();
        } else {
            seat.stance = Stance::AtWork;
            state.muster.join();
        }
    }

    /// A thread ends, and says why if it could not begin.
    pub(crate) fn leave(self: &Arc<Self>, badge: Badge, failure: Option<TaskError>) {
        let mut state = self.lock();
        let Some(seat) = state.seats.vacate(badge) else {
            // It was abandoned, and has come back.
            let left = self.come_back(&mut state);
            drop(state);
            left.into_iter().for_each(|left| left.settle(&self.hub));
            return;
        };
        if seat.stance == Stance::AtWork {
            state.muster.leave();
        }
        if !seat.ready {
            state.muster.arrive();
        }
        let stranded = failure.as_ref().and_then(|why| state.strand(why));
        // An error of the build is told by the build.
        let untold = failure.clone().filter(|_| state.is_built);
        state.failure = state.failure.take().or(failure);
        let before = state.last.replace(seat.thread);
        let keeper = if self.is_empty(&mut state) { state.keeper.take() } else { None };
        self.changed.notify_all();
        drop(state);
        if let Some(error) = untold {
            log::error!(target: "taskloom", "worker {} could not begin: {error}", badge.worker);
        }
        stranded.into_iter().for_each(Stranded::fail);
        if let Some(before) = before {
            // It has left its seat: what it still does is to end, and to wait for the one before it.
            let _ = before.join();
        }
        // A pool's end runs user's callbacks to their end.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(keeper)));
    }

    /// The watcher ends.
    pub(crate) fn leave_watch(&self, mut state: MutexGuard<'_, State>) {
        let before = state.watch.end().and_then(|thread| state.last.replace(thread));
        self.changed.notify_all();
        drop(state);
        if let Some(before) = before {
            let _ = before.join();
        }
    }

    /// Whether the pool is ending and all have gone; then there is nothing left to watch.
    pub(crate) fn is_empty(&self, state: &mut State) -> bool {
        let empty = state.closing && state.seats.count() == 0;
        if empty {
            state.watch.clear();
            self.watched.notify_all();
        }
        empty
    }

    /// Lets the crew own its pool: it ends when everything accepted so far is done.
    pub(crate) fn keep(&self, pool: Pool<Threads>) {
        let mut state = self.lock();
        state.closing = true;
        if self.is_empty(&mut state) {
            // All have gone already. The pool is dropped after the lock, which it takes.
            drop(state);
            drop(pool);
            return;
        }
        state.keeper = Some(pool);
        drop(state);
        self.ring_for_all();
    }

    /// Whether the current thread is one of the crew.
    pub(crate) fn is_aboard(&self) -> bool {
        let me = thread::current().id();
        self.lock().seats.iter().any(|seat| seat.thread.thread().id() == me)
    }

    /// A thread is gone.
    pub(crate) fn note_change(&self) {
        self.changed.notify_all();
    }

    /// Wakes everybody, to see that the pool is ending.
    pub(crate) fn ring_for_all(&self) {
        self.idle.ring_for_all();
        self.spare.ring_for_all();
    }

    /// Returns when the crew is gone, but for the abandoned. Not to be called by one of the crew.
    pub(crate) fn wait_gone(&self) {
        let mut state = self.lock();
        while !self.is_empty(&mut state) || state.watch.is_manned() {
            state = unpoisoned(self.changed.wait(state));
        }
        let last = state.last.take();
        drop(state);
        // The last of a crew that keeps its own pool ends up here itself.
        if let Some(last) = last.filter(|last| last.thread().id() != thread::current().id()) {
            let _ = last.join();
        }
    }
}

/// How many threads can wake up at a time.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl State {
    fn stand(&mut self, badge: Badge, stance: Stance) {
        if let Some(seat) = self.seats.get(badge) {
            seat.stance = stance;
        }
    }

    /// The thread is done with its errand, if it had one. `None` if it was abandoned meanwhile.
    fn put_away(&mut self, badge: Badge) -> Option<[Option<Ticket>; 2]> {
        let seat = self.seats.get(badge)?;
        seat.told = false;
        seat.overdue = false;
        let was_stuck = seat.stance == Stance::Stuck;
        seat.stance = Stance::AtWork;
        let errand = seat.errand.take();
        if was_stuck {
            self.muster.unstick();
            self.muster.join();
        }
        let Some(errand) = errand else { return Some([None, None]) };
        Some([self.queue.unshare(errand.number), Some(errand.ticket)])
    }

    /// Jobs that nobody is left to run, if so.
    fn strand(&mut self, why: &TaskError) -> Option<Stranded> {
        self.muster.is_deserted().then(|| Stranded(self.queue.take_all(), why.clone()))
    }

    fn idlers(&mut self) -> &mut crate::bench::Bench {
        &mut self.muster.idle
    }

    fn spares(&mut self) -> &mut crate::bench::Bench {
        &mut self.muster.spare
    }

    fn is_closing(&self) -> bool {
        self.closing
    }
}

impl Stranded {
    /// Ends them, with the reason.
    pub(crate) fn fail(self) {
        let Self(jobs, why) = self;
        for job in jobs {
            // What runs inside a task that waits for it has its own way to end.
            if job.ticket().unclaimed() > 0 {
                job.fail(&why);
            }
        }
    }
}
