//! One node a task: the state that handle and job share.
//!
//! ```text
//!            in process                 elsewhere
//!  Queued ──────────────▶ Running       Queued ─▶ Sent ─▶ Running ─▶ Done ─▶ Taken
//!    ▲                       │                      │         │
//!    └───────── retry ───────┴──────────────────────┴─────────┘
//! ```
//!
//! A node holds one item (a task with a handle) or many (a chunk of a map); the code is the same.
//! Every change of an item happens under the node's lock and only if the attempt number is still
//! the item's own: that alone fences late results off. User code, wakers, encoding and drops
//! of users' values happen outside the lock.

mod item;
mod taking;

use std::{
    marker::PhantomData,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    ambient,
    backend::Stop,
    clock,
    context::{Context, Link},
    error::{Clock, Kind, Lost, TaskError, TimedOut},
    event::{Event, Finished, Metrics, TaskOutput},
    job::{Cargo, Reply},
    panic,
    parcel::Parcel,
    park,
    stopwatch::Stopwatch,
    task::{Reach, Task},
    waiters::Waiters,
    work::{Callback, Cancel, Head, Next, Spare, State, Work},
    worker::Worker,
};

pub(crate) use self::item::Item;
use self::item::{Doom, NO_WORKER, Outcome, Stage};

pub(crate) struct Node<T: Task, S: Items<T>> {
    head: Head,
    cell: Mutex<Cell<S>>,
    task: PhantomData<fn() -> T>,
}

/// Where a node keeps its items: in place, or in a vector.
pub(crate) trait Items<T: Task>: AsRef<[Item<T>]> + AsMut<[Item<T>]> + Send + 'static {}
impl<T: Task, S: AsRef<[Item<T>]> + AsMut<[Item<T>]> + Send + 'static> Items<T> for S {}

/// A task with a handle: one item, in the node itself.
pub(crate) type Single<T> = Node<T, [Item<T>; 1]>;
/// A chunk of a map.
pub(crate) type Chunk<T> = Node<T, Vec<Item<T>>>;

struct Cell<S> {
    items: S,
    /// The encoded arguments, where they may be needed again.
    cargo: Option<Arc<Cargo>>,
    waiters: Waiters,
    /// Items without an outcome.
    open: u32,
    /// First start and last end: how a map learns what a task costs.
    begun: Option<Instant>,
    ended: Option<Instant>,
    /// Running time of the items, where workers elsewhere say it.
    spent: Duration,
}

impl<T: Task, S: Items<T>> Node<T, S> {
    pub(crate) fn new(head: Head, items: S, cargo: Option<Arc<Cargo>>) -> Arc<Self> {
        let open = items.as_ref().iter().filter(|item| !item.is_refused()).count() as u32;
        let cell =
            Cell { items, cargo, waiters: Waiters::default(), open, begun: None, ended: None, spent: Duration::ZERO };
        Arc::new(Self { head, cell: Mutex::new(cell), task: PhantomData })
    }

    /// Mean running time of the items, once all are done.
    pub(crate) fn mean_time(&self) -> Option<Duration> {
        let cell = self.lock();
        // What workers elsewhere have measured themselves; what was heard of them at once seems to have taken no time.
        let whole = if cell.spent.is_zero() { cell.ended? - cell.begun? } else { cell.spent };
        Some(whole / self.head.count)
    }

    fn lock(&self) -> MutexGuard<'_, Cell<S>> {
        // Nothing panics while it holds this lock.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks, if `attempt` is still the current one of `item`.
    fn lock_attempt(&self, item: u32, attempt: u32) -> Option<MutexGuard<'_, Cell<S>>> {
        let cell = self.lock();
        (cell.items.as_ref()[item as usize].attempt == attempt).then_some(cell)
    }

    /// Gives an item's room in the queue back, if it still has it.
    fn leave_queue(&self, counted: bool, bytes: usize) {
        if counted {
            self.head.core.hub.leave_queue(1, bytes);
        }
    }

    /// Bytes of an item that count against the queue's bound: only where all tasks are encoded.
    fn weight(&self, cell: &Cell<S>, item: u32) -> usize {
        let cargo = cell.cargo.as_ref().filter(|_| self.head.core.capabilities.encodes);
        cargo.map_or(0, |cargo| cargo.size(item))
    }

    /// An attempt begins. Called under the lock, so that its event comes before all that follow from it.
    fn begin(&self, state: &mut Cell<S>, item: u32, attempt: u32, worker: u32) {
        let head = &self.head;
        state.items.as_mut()[item as usize].begin(worker);
        if head.in_map && state.begun.is_none() {
            state.begun = Some(Instant::now());
        }
        head.core.hub.emit(|| Event::Started { task: head.id(item), attempt, worker });
    }

    fn start_clock(self: &Arc<Self>, item: u32, attempt: u32) {
        let head = &self.head;
        if let Some(limit) = head.policy.as_ref().and_then(|policy| policy.timeout) {
            clock::expire_later(&(self.clone() as Arc<dyn Work>), item, attempt, Clock::Running, limit);
        }
    }

    /// The outcome of an attempt: the end of the item, or another attempt.
    fn finish(
        &self,
        mut cell: MutexGuard<'_, Cell<S>>,
        item: u32,
        outcome: impl Into<Outcome<T::Output>>,
        metrics: Metrics,
    ) -> Next {
        let mut outcome = outcome.into();
        let hub = &self.head.core.hub;
        let weight = self.weight(&cell, item);
        let state = &mut *cell;
        let this = &mut state.items.as_mut()[item as usize];
        if this.stage.is_over() {
            drop(cell);
            panic::dispose(outcome);
            return Next::Ignored;
        }
        let doom = this.extra.as_mut().and_then(|extra| extra.doom.take());
        let overruled = doom
            .filter(|doom| {
                doom.whatever
                    || matches!(
                        outcome.error(),
                        Some(TaskError::Crashed(_) | TaskError::OutOfMemory(_) | TaskError::Lost(_))
                    )
            })
            .map(|doom| std::mem::replace(&mut outcome, Err(doom.error).into()));
        if matches!(this.stage, Stage::Queued(_)) {
            self.head.unclaimed.fetch_sub(1, Ordering::Relaxed);
        }
        let counted = std::mem::take(&mut this.counted);

        if let Some(after) = outcome.error().and_then(|error| self.retry_after(error, item, this.attempt)) {
            let ended = this.attempt;
            this.attempt += 1;
            let old = std::mem::replace(&mut this.stage, Stage::Queued(None));
            self.head.unclaimed.fetch_add(1, Ordering::Relaxed);
            let cargo = state.cargo.clone();
            let (kind, error) = Finished::error(outcome.error());
            hub.emit(|| Event::Retrying { task: self.head.id(item), attempt: ended, kind, error, after });
            drop(cell);
            panic::dispose((old, overruled));
            self.leave_queue(counted, weight);
            return Next::Again { attempt: ended + 1, after, cargo };
        }

        // Under the lock: whoever sees the outcome may rely on it that all this is settled. Callbacks
        // stand in line before any that is registered from now on, no event of the task comes after
        // its last, and the pool does not count it as open any more.
        let mut unsent = Vec::new();
        let unread = matches!(outcome, Outcome::Unread(_));
        let announced = if this.extra.is_some() { Next::Unannounced } else { Next::Ended };
        if unread {
            this.extra.iter_mut().for_each(|extra| extra.metrics.bytes_out = metrics.bytes_out);
        } else if this.extra.is_some() || self.head.measuring() {
            let finished = self.summary(this, item, Finished::error(outcome.error()), metrics, weight);
            let extra = this.extra();
            for callback in std::mem::take(&mut extra.callbacks) {
                let finished = finished.clone();
                unsent.extend(hub.post(move || callback(&finished)).err());
            }
            extra.finished = Some(finished.clone());
            hub.emit(|| Event::Finished(finished));
        }
        let over = match outcome {
            Outcome::Read(outcome) => Stage::Done(outcome),
            Outcome::Unread(parcel) => Stage::Arrived(parcel),
        };
        let old = std::mem::replace(&mut this.stage, over);
        let (cargo, waiters) = self.count_out(state, 1, usize::from(counted), weight);
        drop(cell);
        if !matches!(old, Stage::Sent | Stage::Running) || overruled.is_some() {
            panic::dispose((old, overruled));
        }
        drop(cargo);
        unsent.into_iter().for_each(crate::notifier::call);
        self.tell(waiters, &[item]);
        if unread { announced } else { Next::Ended }
    }

    /// Items have come to their end, under the lock: so many, of which some still counted as queued, with so many bytes. Gives
    /// what is to be dropped and woken without it.
    fn count_out(
        &self,
        cell: &mut Cell<S>,
        items: usize,
        queued: usize,
        bytes: usize,
    ) -> (Option<Arc<Cargo>>, Waiters) {
        let hub = &self.head.core.hub;
        if queued > 0 {
            hub.leave_queue(queued, bytes);
        }
        hub.done(items);
        cell.open -= items as u32;
        let waiters = if items == 0 { Waiters::default() } else { std::mem::take(&mut cell.waiters) };
        if cell.open > 0 {
            return (None, waiters);
        }
        cell.ended = cell.begun.map(|_| Instant::now());
        (cell.cargo.take(), waiters)
    }

    /// Tells those who wait that these items have come to their end.
    fn tell(&self, waiters: Waiters, ended: &[u32]) {
        for waiter in waiters {
            park::wake(waiter, |waker| self.wake(waker));
        }
        if let Some((inbox, chunk)) = &self.head.inbox {
            inbox.push_all(*chunk, ended);
        }
    }

    /// Wakes whoever waits otherwise than by a thread that sleeps: an executor's waker is the user's code.
    fn wake(&self, waker: Waker) {
        let wake = move || {
            if let Err(panic) = panic::catch(|| waker.wake()) {
                log::error!(target: "taskloom", "a waker panicked: {}", panic.message);
            }
        };
        if ambient::lends_its_thread() { self.head.core.hub.notify(wake) } else { wake() }
    }

    fn summary(
        &self,
        this: &Item<T>,
        item: u32,
        (kind, error): (Kind, String),
        mut metrics: Metrics,
        weight: usize,
    ) -> Finished {
        let started = this.worker != NO_WORKER;
        metrics.queued = this.extra.as_ref().and_then(|extra| extra.metrics.queued);
        metrics.bytes_in = self.head.core.capabilities.encodes.then_some(weight as u64);
        Finished {
            task: self.head.id(item),
            name: self.head.name.to_owned(),
            index: self.head.index + u64::from(item),
            kind,
            error,
            attempt: if started { this.attempt } else { 0 },
            worker: started.then_some(this.worker),
            metrics,
            output: this.extra.as_ref().and_then(|extra| extra.output.clone()),
        }
    }

    fn retry_after(&self, error: &TaskError, item: u32, attempt: u32) -> Option<Duration> {
        let retry = self.head.policy.as_ref()?.retry.as_ref()?;
        // Only the attempt's own clock leaves time for another one; and a caller's cancel is meant for all of them.
        let over = matches!(error, TaskError::TimedOut(t) if t.clock != Clock::Running)
            || self.head.cancelled.load(Ordering::Relaxed);
        if over { None } else { retry.wait_after(error.kind(), attempt, self.head.run_id(item, attempt).seed()) }
    }

    /// Runs the body; whatever happens in it becomes an outcome.
    fn outcome_of(
        self: &Arc<Self>,
        item: u32,
        attempt: u32,
        task: Option<T>,
        cargo: Option<&Cargo>,
        worker: &Worker,
    ) -> Result<T::Output, TaskError> {
        let head = &self.head;
        let cx = Context::new(worker, self.clone(), head.run_id(item, attempt));
        let slot = head.slot;
        let output = ambient::in_task(worker, head.id(item), || {
            panic::catch(|| {
                let task = match (task, cargo) {
                    (Some(task), _) => task,
                    (None, Some(cargo)) => <T::Reach as Reach<T>>::decode(slot, cargo.args(item))?,
                    (None, None) => return Err(Lost::new("its arguments are gone").into()),
                };
                let output = task.run(&cx);
                if let Some(escaped) = cx.escaped() {
                    return Err(escaped);
                }
                let output = output?;
                if head.core.hub.settings().checked {
                    <T::Reach as Reach<T>>::round_trip_output(slot, output)
                } else {
                    Ok(output)
                }
            })
        });
        // The context goes first: its link must not be the last owner of this node while somebody waits.
        drop(cx);
        output?
    }
}

impl<T: Task, S: Items<T>> Link for Node<T, S> {
    fn is_cancelled(&self, attempt: u32) -> bool {
        self.head.cancelled.load(Ordering::Relaxed) || self.head.stopped.load(Ordering::Relaxed) >= attempt
    }

    fn progress(&self, task: u64, done: u64, total: u64) {
        // Under the lock: a task that was left behind may report long after its end.
        let cell = self.lock();
        let item = cell.items.as_ref().get((task - self.head.id) as usize);
        if item.is_some_and(|item| matches!(item.stage, Stage::Running)) {
            self.head.core.hub.emit(|| Event::Progress { task, done, total });
        }
    }
}

impl<T: Task, S: Items<T>> Work for Node<T, S> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn run(self: Arc<Self>, item: u32, attempt: u32, worker: &Worker) -> Next {
        let Some(mut cell) = self.lock_attempt(item, attempt) else { return Next::Ignored };
        let weight = self.weight(&cell, item);
        let state = &mut *cell;
        let this = &mut state.items.as_mut()[item as usize];
        let Stage::Queued(task) = &mut this.stage else { return Next::Ignored };
        let task = task.take();
        let counted = std::mem::take(&mut this.counted);
        self.begin(state, item, attempt, worker.id());
        let cargo = state.cargo.clone();
        drop(cell);
        self.head.unclaimed.fetch_sub(1, Ordering::Relaxed);
        self.leave_queue(counted, weight);
        self.start_clock(item, attempt);

        let clock = Stopwatch::start(self.head.measuring(), worker);
        let outcome = self.outcome_of(item, attempt, task, cargo.as_deref(), worker);
        let metrics = clock.stop(worker).map_or_else(Metrics::default, |metrics| *metrics);
        match self.lock_attempt(item, attempt) {
            Some(cell) => self.finish(cell, item, outcome, metrics),
            None => {
                panic::dispose(outcome);
                Next::Ignored
            }
        }
    }

    fn sent(&self, items: Range<u32>, attempt: u32) -> Vec<u32> {
        let mut over = Vec::new();
        let mut cell = self.lock();
        for item in items.clone() {
            let this = &mut cell.items.as_mut()[item as usize];
            if this.attempt == attempt && matches!(this.stage, Stage::Queued(_)) {
                this.stage = Stage::Sent;
            } else {
                over.push(item);
            }
        }
        drop(cell);
        self.head.unclaimed.fetch_sub((items.len() - over.len()) as u32, Ordering::Relaxed);
        over
    }

    fn returned(&self, item: u32, attempt: u32) -> Next {
        let Some(mut cell) = self.lock_attempt(item, attempt) else { return Next::Ignored };
        let this = &mut cell.items.as_mut()[item as usize];
        if !matches!(this.stage, Stage::Sent) {
            return Next::Ignored;
        }
        let doom = this.extra.as_mut().and_then(|extra| extra.doom.take());
        if let Some(doom) = doom {
            return self.finish(cell, item, Err(doom.error), Metrics::default());
        }
        if self.head.cancelled.load(Ordering::Relaxed) {
            return self.finish(cell, item, Err(TaskError::Cancelled), Metrics::default());
        }
        this.stage = Stage::Queued(None);
        self.head.unclaimed.fetch_add(1, Ordering::Relaxed);
        Next::Ignored
    }

    fn started(self: Arc<Self>, item: u32, attempt: u32, worker: u32) {
        let Some(mut cell) = self.lock_attempt(item, attempt) else { return };
        let weight = self.weight(&cell, item);
        let state = &mut *cell;
        let this = &mut state.items.as_mut()[item as usize];
        if !matches!(this.stage, Stage::Sent) {
            return;
        }
        // It began in time after all.
        if let Some(extra) = &mut this.extra
            && matches!(&extra.doom, Some(Doom { error: TaskError::TimedOut(t), .. }) if t.clock == Clock::Queued)
        {
            extra.doom = None;
        }
        let counted = std::mem::take(&mut this.counted);
        self.begin(state, item, attempt, worker);
        drop(cell);
        self.leave_queue(counted, weight);
        self.start_clock(item, attempt);
    }

    fn output(&self, item: u32, attempt: u32, output: TaskOutput) {
        if let Some(mut cell) = self.lock_attempt(item, attempt) {
            let this = &mut cell.items.as_mut()[item as usize];
            if matches!(this.stage, Stage::Running) {
                this.extra().output = Some(Box::new(output));
            }
        }
    }

    fn reply(self: Arc<Self>, item: u32, attempt: u32, reply: Reply<'_>) -> Next {
        let Reply { outcome, mut metrics, took, began_on } = reply;
        let outcome = match outcome {
            Ok(output) => {
                metrics.bytes_out = Some(output.size() as u64);
                if self.head.is_plain() {
                    Outcome::Unread(Parcel::new(output))
                } else if self.is_open(item, attempt) {
                    self.decode(output).into()
                } else {
                    return Next::Ignored;
                }
            }
            Err(error) => Outcome::Read(Err(error)),
        };
        let Some(mut cell) = self.lock_attempt(item, attempt) else {
            panic::dispose(outcome);
            return Next::Ignored;
        };
        cell.spent += took;
        if let (Some(worker), Stage::Sent) = (began_on, &cell.items.as_ref()[item as usize].stage) {
            self.begin(&mut cell, item, attempt, worker);
        }
        self.finish(cell, item, outcome, metrics)
    }

    fn replies(self: Arc<Self>, first: u32, attempt: u32, worker: u32, outputs: &[&[u8]], took: Duration) {
        // Those about which nothing else is to be known, in one go; the others one by one.
        let mut rest = Vec::new();
        let is_plain = self.head.is_plain();
        let mut guard = self.lock();
        let cell = &mut *guard;
        let (mut ended, mut left_queue, mut bytes) = (Vec::with_capacity(outputs.len()), 0, 0);
        for (output, item) in outputs.iter().zip(first..) {
            let this = &mut cell.items.as_mut()[item as usize];
            let simple = is_plain
                && this.attempt == attempt
                && this.extra.is_none()
                && matches!(this.stage, Stage::Sent | Stage::Running);
            if !simple {
                rest.push((item, *output));
                continue;
            }
            this.worker = worker;
            this.stage = Stage::Arrived(Parcel::new((*output).into()));
            if std::mem::take(&mut this.counted) {
                left_queue += 1;
                bytes += self.weight(cell, item);
            }
            ended.push(item);
        }
        cell.spent += took * ended.len() as u32;
        let (cargo, waiters) = self.count_out(cell, ended.len(), left_queue, bytes);
        drop(guard);
        drop(cargo);
        self.tell(waiters, &ended);
        let work = self.clone() as Arc<dyn Work>;
        for (item, output) in rest {
            let (outcome, metrics) = (Ok(output.into()), Metrics::default());
            work.clone()
                .reply(item, attempt, Reply { outcome, metrics, took, began_on: Some(worker) })
                .follow(&work, item);
        }
    }

    fn fail(&self, item: u32, attempt: u32, spare: Spare, error: TaskError) -> Next {
        let Some(cell) = self.lock_attempt(item, attempt) else { return Next::Ignored };
        if spare == Spare::Claimed && !matches!(cell.items.as_ref()[item as usize].stage, Stage::Queued(_)) {
            return Next::Ignored;
        }
        self.finish(cell, item, Err(error), Metrics::default())
    }

    fn expire(&self, item: u32, attempt: u32, clock: Clock, limit: Duration) -> Next {
        let mut cell = self.lock();
        let this = &mut cell.items.as_mut()[item as usize];
        let current = this.attempt;
        let begun = this.worker != NO_WORKER;
        let in_time = match clock {
            Clock::Running => current != attempt || !matches!(this.stage, Stage::Running),
            Clock::Queued => begun,
            Clock::Deadline => false,
        };
        if in_time {
            return Next::Ignored;
        }
        let error = TaskError::from(TimedOut::new(clock, limit, current));
        let capabilities = &self.head.core.capabilities;
        match this.stage {
            Stage::Arrived(_) | Stage::Done(_) | Stage::Taken(_) => Next::Ignored,
            Stage::Queued(_) => self.finish(cell, item, Err(error), Metrics::default()),
            Stage::Sent | Stage::Running => {
                self.head.stopped.fetch_max(current, Ordering::Relaxed);
                let running = matches!(this.stage, Stage::Running);
                let next = if running && capabilities.abandons {
                    self.finish(cell, item, Err(error), Metrics::default())
                } else {
                    this.extra().doom = Some(Doom { error, whatever: true });
                    drop(cell);
                    Next::Ignored
                };
                let how = if running || clock == Clock::Deadline { self.head.stop_policy() } else { Stop::Recall };
                self.head.core.backend.stop(self.head.id(item), how);
                next
            }
        }
    }

    fn cancel(&self, item: u32) -> Cancel {
        let mut cell = self.lock();
        let this = &mut cell.items.as_mut()[item as usize];
        match this.stage {
            Stage::Arrived(_) | Stage::Done(_) | Stage::Taken(_) => Cancel::TooLate,
            Stage::Queued(_) => {
                self.head.cancelled.store(true, Ordering::Relaxed);
                // A cancelled item has no next attempt.
                let _ = self.finish(cell, item, Err(TaskError::Cancelled), Metrics::default());
                self.head.core.backend.stop(self.head.id(item), Stop::Recall);
                Cancel::Prevented
            }
            Stage::Sent | Stage::Running => {
                self.head.cancelled.store(true, Ordering::Relaxed);
                let extra = this.extra();
                // A clock's verdict stands.
                extra.doom.get_or_insert(Doom { error: TaskError::Cancelled, whatever: false });
                drop(cell);
                if self.head.core.capabilities.kills {
                    self.head.core.backend.stop(self.head.id(item), self.head.stop_policy());
                }
                Cancel::Requested
            }
        }
    }

    fn cancel_all(&self) {
        self.head.cancelled.store(true, Ordering::Relaxed);
        let mut sent = false;
        for item in 0..self.head.count {
            let cell = self.lock();
            match cell.items.as_ref()[item as usize].stage {
                Stage::Queued(_) => {
                    let _ = self.finish(cell, item, Err(TaskError::Cancelled), Metrics::default());
                }
                Stage::Sent => sent = true,
                _ => {}
            }
        }
        if sent {
            self.head.core.backend.stop(self.head.id, Stop::Recall);
        }
    }

    fn is_open(&self, item: u32, attempt: u32) -> bool {
        self.lock_attempt(item, attempt).is_some_and(|cell| !cell.items.as_ref()[item as usize].stage.is_over())
    }

    fn are_over(&self, items: Range<u32>, attempt: u32) -> bool {
        let cell = self.lock();
        let is_open = |item: &Item<T>| item.attempt == attempt && !item.stage.is_over();
        cell.open == 0 || !cell.items.as_ref()[items.start as usize..items.end as usize].iter().any(is_open)
    }

    fn has_begun(&self, item: u32, attempt: u32) -> bool {
        self.lock_attempt(item, attempt)
            .is_some_and(|cell| matches!(cell.items.as_ref()[item as usize].stage, Stage::Running))
    }

    fn state(&self, item: u32) -> State {
        match self.lock().items.as_ref()[item as usize].stage {
            Stage::Queued(_) | Stage::Sent => State::Queued,
            Stage::Running => State::Running,
            Stage::Arrived(_) | Stage::Done(_) | Stage::Taken(_) => State::Finished,
        }
    }

    fn has_failed(&self, item: u32) -> bool {
        self.read(item);
        match &self.lock().items.as_ref()[item as usize].stage {
            Stage::Done(outcome) => outcome.is_err(),
            Stage::Taken(kind) => *kind != Kind::Succeeded,
            _ => false,
        }
    }

    fn poll(&self, item: u32, waker: &Waker) -> bool {
        let mut cell = self.lock();
        let done = cell.items.as_ref()[item as usize].stage.is_over();
        if !done && !waker.will_wake(Waker::noop()) {
            cell.waiters.add(waker, park::is_own(waker));
        }
        done
    }

    fn on_done(&self, item: u32, callback: Callback) {
        self.read(item);
        let mut cell = self.lock();
        let this = &mut cell.items.as_mut()[item as usize];
        let finished = match (&this.stage, this.extra.as_ref().and_then(|extra| extra.finished.clone())) {
            (Stage::Done(_) | Stage::Taken(_), Some(finished)) => finished,
            (Stage::Done(outcome), None) => {
                self.summary(this, item, Finished::error(outcome.as_ref().err()), Metrics::default(), 0)
            }
            // The error is gone with the value; its kind is not.
            (Stage::Taken(kind), None) => self.summary(this, item, (*kind, String::new()), Metrics::default(), 0),
            _ => {
                this.extra().callbacks.push(callback);
                return;
            }
        };
        // Under the lock, behind those that were registered before the end.
        let unsent = self.head.core.hub.post(move || callback(&finished)).err();
        drop(cell);
        unsent.into_iter().for_each(crate::notifier::call);
    }

    fn announce(&self, item: u32) {
        self.read(item);
        let mut cell = self.lock();
        let weight = self.weight(&cell, item);
        let this = &mut cell.items.as_mut()[item as usize];
        let outcome = match &this.stage {
            Stage::Done(outcome) => Finished::error(outcome.as_ref().err()),
            Stage::Taken(kind) => (*kind, String::new()),
            _ => return,
        };
        let metrics = this.extra.as_ref().map(|extra| extra.metrics).unwrap_or_default();
        let finished = self.summary(this, item, outcome, metrics, weight);
        let extra = this.extra();
        if extra.finished.is_some() {
            return;
        }
        let mut unsent = Vec::new();
        for callback in std::mem::take(&mut extra.callbacks) {
            let finished = finished.clone();
            unsent.extend(self.head.core.hub.post(move || callback(&finished)).err());
        }
        extra.finished = Some(finished);
        drop(cell);
        unsent.into_iter().for_each(crate::notifier::call);
    }

    fn finished(&self, item: u32) -> Option<Finished> {
        let mut cell = self.lock();
        let this = &cell.items.as_ref()[item as usize];
        if this.stage.is_over() && this.extra.as_ref().is_some_and(|extra| extra.finished.is_none()) {
            drop(cell);
            self.announce(item);
            cell = self.lock();
        }
        cell.items.as_ref()[item as usize].extra.as_ref()?.finished.clone()
    }
}

impl<T: Task, S: Items<T>> Drop for Node<T, S> {
    /// A node may end on a worker's thread: what its values do when they are dropped must not end that.
    fn drop(&mut self) {
        if std::mem::needs_drop::<T::Output>() || std::mem::needs_drop::<T>() {
            let cell = self.cell.get_mut().unwrap_or_else(PoisonError::into_inner);
            for item in cell.items.as_mut() {
                if matches!(item.stage, Stage::Queued(Some(_)) | Stage::Done(_)) {
                    panic::dispose(std::mem::replace(&mut item.stage, Stage::Running));
                }
            }
        }
    }
}
