//! What a backend is given: the right, and the duty, to bring some items to their end.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use crate::{
    blob::Blob,
    codec::{Encoded, Extent, Payload},
    error::{Lost, TaskError},
    event::{Metrics, TaskOutput},
    frame,
    work::{Next, Spare, Work},
    worker::Worker,
};

/// One attempt at one task, or at some items of a map's chunk.
///
/// Move-only: it ends by [`run`](Self::run), by replies to all its items, by [`died`](Self::died)
/// or by [`fail`](Self::fail). Dropped, its open items end as `Lost`.
pub struct Job {
    work: Arc<dyn Work>,
    attempt: u32,
    items: Range<u32>,
    cargo: Option<Arc<Cargo>>,
    /// Workers that ended while they were being given this.
    wasted: u32,
}

/// What a worker elsewhere says of an item that it has run.
#[derive(Debug)]
pub struct Reply<'b> {
    /// Its encoded result, or an error.
    pub outcome: Result<Encoded<'b>, TaskError>,
    /// What it cost, as far as that was measured.
    pub metrics: Metrics,
    /// How long its body took.
    pub took: Duration,
    /// The worker on which it began, if that has not been told by [`Job::started`].
    pub began_on: Option<u32>,
}

impl From<TaskError> for Reply<'_> {
    /// Of an item that was told to have begun.
    fn from(error: TaskError) -> Self {
        Self { outcome: Err(error), metrics: Metrics::default(), took: Duration::ZERO, began_on: None }
    }
}

/// The encoded arguments of a node's items, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    pub(crate) payload: Payload,
    pub(crate) ends: Vec<Extent>,
}

impl Cargo {
    /// An item's arguments; bodies are shared, not copied.
    pub(crate) fn args(&self, item: u32) -> Encoded<'_> {
        let (start, end) = self.place(item);
        self.payload.part(start, end)
    }

    /// The bytes of some items' arguments, and where each ends in them; `None` if any of them has bodies.
    pub(crate) fn plain(&self, items: Range<u32>) -> Option<(&[u8], impl Iterator<Item = usize>)> {
        let last = items.end.checked_sub(1).filter(|last| *last >= items.start)?;
        let start = self.place(items.start).0;
        let bytes = self.payload.plain_part(start, self.place(last).1)?;
        let ends = self.ends[items.start as usize..items.end as usize].iter();
        Some((bytes, ends.map(move |end| end.bytes - start.bytes)))
    }

    /// Bytes of some items' arguments, without those of bodies.
    fn bytes(&self, first: u32, end: u32) -> usize {
        if first < end { self.place(end - 1).1.bytes - self.place(first).0.bytes } else { 0 }
    }

    /// What an item's arguments count in a queue.
    pub(crate) fn size(&self, item: u32) -> usize {
        let (start, end) = self.place(item);
        self.payload.part_size(start, end)
    }

    /// The bodies of an item's arguments.
    pub(crate) fn bodies(&self, item: u32) -> impl Iterator<Item = &Blob> {
        let (start, end) = self.place(item);
        self.payload.part_bodies(start, end)
    }

    fn place(&self, item: u32) -> (Extent, Extent) {
        let item = item as usize;
        let start = item.checked_sub(1).map_or(Extent::default(), |before| self.ends[before]);
        (start, self.ends[item])
    }
}

impl Job {
    pub(crate) fn new(work: Arc<dyn Work>, attempt: u32, items: Range<u32>, cargo: Option<Arc<Cargo>>) -> Self {
        Self { work, attempt, items, cargo, wasted: 0 }
    }

    /// Id of the first item; the others follow.
    pub fn id(&self) -> u64 {
        self.work.head().id(self.items.start)
    }

    /// Number of items.
    pub fn len(&self) -> u32 {
        self.items.len() as u32
    }

    /// Whether there is no item. A job given to a backend has at least one.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.work.head().name
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Bytes of the encoded arguments; 0 if they are not encoded. `cost` says what each body counts, [shared](Blob::is_shared)
    /// ones among them.
    pub fn size(&self, cost: impl Fn(&Blob) -> usize) -> usize {
        let size = |cargo: &Arc<Cargo>| {
            if let Some((bytes, _)) = cargo.plain(self.items.clone()) {
                return bytes.len();
            }
            let bytes = cargo.bytes(self.items.start, self.items.end);
            bytes + self.items.clone().flat_map(|item| cargo.bodies(item)).map(cost).sum::<usize>()
        };
        self.cargo.as_ref().map_or(0, size)
    }

    /// The bodies of item `item`'s arguments.
    pub fn bodies(&self, item: u32) -> impl Iterator<Item = &Blob> {
        let item = self.item(item);
        self.cargo.iter().zip(item).flat_map(|(cargo, item)| cargo.bodies(item))
    }

    /// Whether nothing is left to do: everything was cancelled, or timed out.
    pub fn is_over(&self) -> bool {
        self.work.are_over(self.items.clone(), self.attempt)
    }

    /// Whether its results are only kept when they come, and read by whoever takes them: then no code of anybody's runs
    /// in [`reply`](Self::reply). Not where limits, retries or readers of events have to know more.
    pub fn is_plain(&self) -> bool {
        self.work.head().is_plain()
    }

    /// Takes the items from `most` on away, as a job of their own, before any of them was sent. `None` if there are none.
    pub fn split(&mut self, most: u32) -> Option<Self> {
        let at = self.items.start.saturating_add(most).min(self.items.end);
        let rest = Self {
            work: self.work.clone(),
            attempt: self.attempt,
            items: at..self.items.end,
            cargo: self.cargo.clone(),
            wasted: self.wasted,
        };
        self.items.end = at;
        (!rest.items.is_empty()).then_some(rest)
    }

    /// Runs the items here, one after the other; those that a [`Ticket`] of the same job has taken are left to it.
    /// Whether all are over then: else somebody else has the rest in hand, on this thread's stack or another's.
    pub fn run(mut self, worker: &Worker) -> bool {
        let over = run_items(&self.work, self.attempt, self.items.clone(), worker) || self.is_over();
        self.items.start = self.items.end;
        over
    }

    /// A second hand on the same items, for the time this job runs in process.
    pub fn ticket(&self) -> Ticket {
        Ticket { work: self.work.clone(), attempt: self.attempt, items: self.items.clone() }
    }

    /// Marks the job as being sent to a worker elsewhere, and appends its frame to `out`. Items are
    /// numbered from 0 in the frame, as in [`started`](Self::started) and [`reply`](Self::reply).
    /// Call it again to send a job that came [back](Self::returned) to another worker.
    ///
    /// # Panics
    /// If the job has no encoded arguments: its backend does not declare `encodes`.
    pub fn sent(&mut self, token: u64, out: &mut Payload) {
        let cargo = self.cargo.as_ref().expect("a backend that encodes gets encoded jobs");
        // What is over keeps its number and has no arguments: its body must not run.
        let sent = self.work.sent(self.items.clone(), self.attempt);
        frame::write(self.work.head(), token, self.attempt, self.items.clone(), cargo, &sent, out);
    }

    /// Item `item`'s body begins on a worker elsewhere.
    pub fn started(&self, item: u32, worker: u32) {
        if let Some(item) = self.item(item) {
            self.work.clone().started(item, self.attempt, worker);
        }
    }

    /// What item `item` has printed; told before its end.
    pub fn output(&self, item: u32, output: TaskOutput) {
        if let Some(item) = self.item(item) {
            self.work.output(item, self.attempt, output);
        }
    }

    /// A worker elsewhere is done with item `item`.
    pub fn reply(&self, item: u32, reply: Reply<'_>) {
        if let Some(item) = self.item(item) {
            self.work.clone().reply(item, self.attempt, reply).follow(&self.work, item);
        }
    }

    /// A worker elsewhere is done with items from `first` on, one behind the other and all of them well: their encoded results,
    /// without bodies, and how long each took, about. That they began need not have been told. The job [is plain](Self::is_plain).
    pub fn replies(&self, first: u32, worker: u32, outputs: &[&[u8]], took: Duration) {
        let Some(first) = self.item(first) else { return };
        let outputs = &outputs[..outputs.len().min((self.items.end - first) as usize)];
        self.work.clone().replies(first, self.attempt, worker, outputs, took);
    }

    /// The worker gave the items from `from` on back without having started them. They leave this
    /// job and become one of their own, if anything is left of them to do. What has begun stays, whatever the worker says.
    pub fn returned(&mut self, from: u32) -> Option<Self> {
        let begun = (from..self.len()).rev().find(|&item| self.work.has_begun(self.items.start + item, self.attempt));
        let rest = self.split(begun.map_or(from, |item| item + 1))?;
        for item in rest.items.clone() {
            rest.work.returned(item, rest.attempt).follow(&rest.work, item);
        }
        (!rest.is_over()).then_some(rest)
    }

    /// The worker died. Of the items that are still open, the one that had been started gets
    /// the blame; the others are given back, to run elsewhere at no cost.
    pub fn died(mut self, error: impl FnOnce(u32) -> TaskError) -> Option<Self> {
        let begun = self.items.clone().rev().find(|&item| self.work.has_begun(item, self.attempt));
        let first_free = begun.map_or(self.items.start, |item| item + 1);
        let rest = self.returned(first_free - self.items.start);
        if begun.is_some() {
            // A worker runs one item at a time, in order: those before the last that began have their
            // replies, unless the worker is one that nobody believes.
            self.end(Spare::Nothing, &error(self.attempt));
        }
        rest
    }

    /// A worker has ended before it could begin any of this, with nothing else to do. Gives how many have so far.
    pub fn wasted(&mut self) -> u32 {
        self.wasted += 1;
        self.wasted
    }

    /// Ends all open items with this error.
    pub fn fail(mut self, error: &TaskError) {
        self.end(Spare::Nothing, error);
    }

    fn end(&mut self, spare: Spare, error: &TaskError) {
        for item in std::mem::take(&mut self.items) {
            self.work.fail(item, self.attempt, spare, error.clone()).follow(&self.work, item);
        }
    }

    /// Cancels what nobody runs, tells the rest to stop.
    pub fn cancel(&self) {
        self.work.cancel_all();
    }

    /// Goes to its backend again: the next attempt.
    pub(crate) fn resubmit(self) {
        let core = self.work.head().core.clone();
        core.backend.submit(self);
    }

    /// Numbers come from elsewhere and may be wrong.
    fn item(&self, item: u32) -> Option<u32> {
        (item < self.len()).then(|| self.items.start + item)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.items.is_empty() && !self.is_over() {
            let spare = if self.work.head().core.capabilities.encodes { Spare::Nothing } else { Spare::Claimed };
            self.end(spare, &Lost::new("its backend dropped it").into());
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("len", &self.len())
            .field("attempt", &self.attempt)
            .finish()
    }
}

/// A second hand on a job that runs in this process: for workers that help with its items, and for
/// whoever must end them.
#[derive(Clone)]
pub struct Ticket {
    work: Arc<dyn Work>,
    attempt: u32,
    items: Range<u32>,
}

impl Ticket {
    /// Id of the first item.
    pub fn id(&self) -> u64 {
        self.work.head().id(self.items.start)
    }

    /// The task's name.
    pub fn name(&self) -> &'static str {
        self.work.head().name
    }

    /// Whether task `id` is among the items.
    pub fn contains(&self, id: u64) -> bool {
        let head = self.work.head();
        (head.id(self.items.start)..head.id(self.items.end)).contains(&id)
    }

    /// Items that nobody has begun.
    pub fn unclaimed(&self) -> u32 {
        self.work.unclaimed()
    }

    /// Runs items that nobody has begun, one after the other.
    pub fn help(&self, worker: &Worker) {
        run_items(&self.work, self.attempt, self.items.clone(), worker);
    }

    /// Cancels what nobody runs, tells the rest to stop.
    pub fn cancel(&self) {
        self.work.cancel_all();
    }

    /// Whether anything has no outcome yet.
    pub fn is_open(&self) -> bool {
        !self.work.are_over(self.items.clone(), self.attempt)
    }

    /// Ends all open items with this error, also those that run: what they still return is ignored.
    pub fn give_up(&self, error: &TaskError) {
        for item in self.items.clone() {
            let next: Next = self.work.fail(item, self.attempt, Spare::Nothing, error.clone());
            next.follow(&self.work, item);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("items", &self.items).finish_non_exhaustive()
    }
}

/// Whether each of them ended here.
fn run_items(work: &Arc<dyn Work>, attempt: u32, items: Range<u32>, worker: &Worker) -> bool {
    let mut all = true;
    for item in items {
        all &= work.clone().run(item, attempt, worker).follow(work, item);
    }
    all
}
