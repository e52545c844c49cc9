//! Many tasks from an iterator: lazy, in chunks, in input order or as they finish.
//!
//! ```text
//!  input ──pull──▶ chunk ──▶ Job ──▶ workers
//!                    │ ▲                │
//!        results ◀───┘ └── outcomes ◀───┘        at most `window` inputs between pull and result
//! ```
//!
//! The input is pulled inside `next`, on the caller's thread, so it needs neither `Send` nor `'static`
//! and may be endless. A producer that has been quick is asked before results are handed out, so
//! that no worker idles; a slow one only when no result is ready.

use std::{
    collections::VecDeque,
    fmt,
    iter::FusedIterator,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
    time::{Duration, Instant},
    vec,
};

use crate::{
    error::TaskError,
    node::Chunk,
    park,
    pool::{Packer, View},
    task::{IntoTask, OutputOf, Task, TaskOf},
    waiters::Waiter,
    work::{Take, Work},
};

/// How long a chunk should take: long against the cost of sending it, short against a person's patience.
const CHUNK_TIME: Duration = Duration::from_millis(2);
/// Most tasks in an automatic chunk.
pub(crate) const MAX_CHUNK: usize = 4096;
/// Most encoded bytes in an automatic chunk.
const MAX_CHUNK_BYTES: usize = 48 << 10;
/// A producer that takes longer than this for a chunk is slow: what it has given so far is sent.
const SLOW_PULL: Duration = Duration::from_millis(1);
/// Most results that are read at once: not one by one, for each time takes a lock.
const TAKEN_AT_ONCE: usize = 64;
/// Automatic chunks per worker in the window.
const CHUNKS_PER_WORKER: usize = 4;

/// Results of a map, one per input. Made by [`View::map`] and [`View::map_unordered`].
#[must_use = "nothing runs before the first `next`"]
pub struct Map<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> {
    input: Option<I>,
    flight: Flight<TaskOf<I::Item, M>>,
    // The view itself is in the flight; this names its backend.
    backend: PhantomData<fn(&B) -> M>,
}

/// Chunks that are under way. Dropped, it cancels what has not started.
///
/// Apart from `Map`, which has no `Drop` of its own: an iterator with one could not borrow from
/// temporaries of a tail expression in edition 2021.
struct Flight<T: Task> {
    packer: Packer,
    batch: u64,
    order: Order,
    /// Chunks with results that have not been taken, oldest first.
    chunks: VecDeque<Open<T>>,
    /// Number of the first of them.
    first_chunk: u64,
    inbox: Arc<Inbox>,
    pulled: u64,
    delivered: u64,
    sizing: Sizing,
    /// The producer's last answers came quickly.
    quick: bool,
    failed: Option<TaskError>,
}

struct Open<T: Task> {
    node: Arc<Chunk<T>>,
    count: u32,
    taken: u32,
    /// Those that are to be taken next.
    ready: vec::IntoIter<Result<T::Output, TaskError>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Input,
    Finish,
}

/// Finished items that an unordered map has not taken.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Arrived>);

#[derive(Default)]
struct Arrived {
    /// Chunk and item.
    items: VecDeque<(u64, u32)>,
    waiting: Option<Waiter>,
}

impl Inbox {
    pub(crate) fn push(&self, chunk: u64, item: u32) {
        self.push_all(chunk, &[item]);
    }

    pub(crate) fn push_all(&self, chunk: u64, items: &[u32]) {
        let mut inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.items.extend(items.iter().map(|&item| (chunk, item)));
        let waiting = inbox.waiting.take();
        drop(inbox);
        if let Some(waiter) = waiting {
            park::wake(waiter, Waker::wake);
        }
    }

    fn pop(&self, waker: &Waker) -> Option<(u64, u32)> {
        let mut inbox = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = inbox.items.pop_front();
        if next.is_none() && !waker.will_wake(Waker::noop()) {
            inbox.waiting = Some(Waiter { waker: waker.clone(), is_ours: park::is_own(waker) });
        }
        next
    }
}

/// How many tasks go together.
struct Sizing {
    fixed: Option<usize>,
    size: usize,
    most: usize,
    window: Option<usize>,
    workers: usize,
}

impl Sizing {
    /// Aims at chunks of a fixed time: at most doubles when they were short, follows at once when they were long.
    fn learn(&mut self, mean: Duration) {
        if self.fixed.is_none() {
            let fitting = (CHUNK_TIME.as_nanos() / mean.as_nanos().max(1)).max(1) as usize;
            self.size = fitting.min(self.size * 2).min(self.most);
        }
    }

    /// Near the end of a known input chunks shrink, so that no worker is left with the last big one.
    fn next(&self, left: Option<usize>) -> usize {
        let fair = left.map_or(usize::MAX, |left| left / (CHUNKS_PER_WORKER * self.workers));
        self.fixed.unwrap_or_else(|| self.size.min(fair).max(1))
    }

    fn window(&self) -> usize {
        self.window.unwrap_or(self.size * self.workers * CHUNKS_PER_WORKER)
    }
}

impl<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> Map<I, M, B> {
    pub(crate) fn new(view: &View<B>, input: I, order: Order) -> Self {
        let packer = view.packer();
        let capabilities = packer.core.backend.capabilities();
        let policy = packer.policy.as_deref();
        // Limits are kept per task, and what runs at submission gains nothing from company.
        let alone = capabilities.runs_at_submission || policy.is_some_and(|policy| policy.has_limits());
        let fixed = if alone { Some(1) } else { policy.and_then(|policy| policy.chunk) };
        let window = if capabilities.runs_at_submission { Some(1) } else { policy.and_then(|policy| policy.window) };
        let sizing =
            Sizing { fixed, size: fixed.unwrap_or(1), most: MAX_CHUNK, window, workers: capabilities.workers.max(1) };
        let batch = packer.core.hub.next_batch();
        let flight = Flight {
            packer,
            batch,
            order,
            chunks: VecDeque::new(),
            first_chunk: 0,
            inbox: Arc::default(),
            pulled: 0,
            delivered: 0,
            sizing,
            quick: false,
            failed: None,
        };
        Self { input: Some(input), flight, backend: PhantomData }
    }

    /// Takes one chunk from the input and submits it; whether there was room for it, and anything left.
    fn pull(&mut self) -> bool {
        let Some(input) = &mut self.input else { return false };
        let hint = input.size_hint();
        let left = hint.1.filter(|&most| most == hint.0);
        let wanted = self.flight.sizing.next(left).min(self.flight.sizing.window());
        // For each result that is taken there is room for an input; but a chunk is to be as long as it is meant to be.
        if self.flight.room() < wanted {
            return false;
        }
        // The pool may have another size by now.
        self.flight.sizing.workers = self.flight.packer.core.backend.capabilities().workers.max(1);
        let start = Instant::now();
        let mut load = self.flight.packer.load(wanted);
        let mut ended = false;
        while load.len() < wanted {
            let Some(task) = input.next() else {
                ended = true;
                break;
            };
            load.add(task.into_task());
            let automatic = self.flight.sizing.fixed.is_none();
            // To look at the clock takes as long as to pull a small input.
            let is_slow = || (load.len() < 16 || load.len().is_multiple_of(16)) && start.elapsed() > SLOW_PULL;
            if automatic && (load.size() >= MAX_CHUNK_BYTES || is_slow()) {
                break;
            }
        }
        self.flight.quick = start.elapsed() < SLOW_PULL;
        if ended {
            self.input = None;
        }
        let count = load.len() as u64;
        if count > 0 {
            let flight = &mut self.flight;
            let inbox = (flight.order == Order::Finish)
                .then(|| (flight.inbox.clone(), flight.first_chunk + flight.chunks.len() as u64));
            match flight.packer.submit_chunk(load, flight.batch, flight.pulled, inbox) {
                Ok(node) => {
                    flight.chunks.push_back(Open { node, count: count as u32, taken: 0, ready: Vec::new().into_iter() })
                }
                Err(error) => {
                    // The pool is closed: what was pulled gets that as its outcome, and no more is pulled.
                    flight.failed = Some(error);
                    self.input = None;
                }
            }
            flight.pulled += count;
        }
        count > 0
    }
}

impl<T: Task> Flight<T> {
    fn room(&self) -> usize {
        self.sizing.window().saturating_sub((self.pulled - self.delivered) as usize)
    }

    /// The next result, if it is there; else `waker` will be woken when it may be.
    fn take(&mut self, waker: &Waker) -> Option<Result<T::Output, TaskError>> {
        let outcome = match self.order {
            Order::Input => {
                let front = self.chunks.front_mut()?;
                if front.ready.len() == 0 {
                    if !waker.will_wake(Waker::noop()) && !front.node.poll(front.taken, waker) {
                        return None;
                    }
                    front.ready = front.node.take_run(front.taken, TAKEN_AT_ONCE).into_iter();
                }
                return self.take_ready();
            }
            Order::Finish => {
                let (chunk, item) = self.inbox.pop(waker)?;
                let open = &mut self.chunks[(chunk - self.first_chunk) as usize];
                open.taken += 1;
                open.node.take(item)?
            }
        };
        self.delivered += 1;
        self.forget_taken();
        Some(outcome)
    }

    /// The next result, if it has been read already.
    fn take_ready(&mut self) -> Option<Result<T::Output, TaskError>> {
        let front = self.chunks.front_mut()?;
        let outcome = front.ready.next()?;
        front.taken += 1;
        self.delivered += 1;
        if front.taken == front.count {
            self.forget_taken();
        }
        Some(outcome)
    }

    /// Lets go of chunks of which everything has been taken.
    fn forget_taken(&mut self) {
        while let Some(front) = self.chunks.front().filter(|front| front.taken == front.count) {
            if let Some(mean) = front.node.mean_time() {
                self.sizing.learn(mean);
            }
            self.chunks.pop_front();
            self.first_chunk += 1;
        }
    }
}

impl<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> Map<I, M, B> {
    /// Pulls no more, and cancels what has not started. What was pulled still gives a result for each input: those that run
    /// their own, the others [`TaskError::Cancelled`].
    ///
    /// ```
    /// # use taskloom_core::inline;
    /// let pool = inline::pool().build()?;
    /// let mut squares = pool.map((1..).map(|n: u64| move || n * n));
    /// assert_eq!(squares.next().transpose()?, Some(1));
    /// squares.cancel_rest();
    /// assert_eq!(squares.filter_map(Result::ok).count(), 0);
    /// # Ok::<(), taskloom_core::TaskError>(())
    /// ```
    pub fn cancel_rest(&mut self) {
        self.input = None;
        self.flight.chunks.iter().for_each(|open| open.node.cancel_all());
    }
}

impl<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> Iterator for Map<I, M, B> {
    type Item = Result<OutputOf<I::Item, M>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(outcome) = self.flight.take_ready() {
            return Some(outcome);
        }
        while self.flight.quick && self.pull() {}
        loop {
            if let Some(outcome) = self.flight.take(Waker::noop()) {
                return Some(outcome);
            }
            if self.pull() {
                continue;
            }
            if self.flight.pulled == self.flight.delivered {
                return None;
            }
            if self.flight.chunks.is_empty() {
                // What could not be submitted any more.
                self.flight.delivered += 1;
                return self.flight.failed.clone().map(Err);
            }
            let mut outcome = None;
            let flight = &mut self.flight;
            let core = flight.packer.core.clone();
            let waited = park::wait_until(None, Some(&*core.backend), |waker| {
                outcome = flight.take(waker);
                outcome.is_some()
            });
            if let Err(error) = waited {
                // This worker must not wait: the map ends here, with the reason.
                self.input = None;
                self.flight.abandon();
                return Some(Err(error));
            }
            return outcome;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let under_way = (self.flight.pulled - self.flight.delivered) as usize;
        let (least, most) = self.input.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        (least.saturating_add(under_way), most.and_then(|most| most.checked_add(under_way)))
    }
}

impl<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> FusedIterator for Map<I, M, B> {}

impl<T: Task> Flight<T> {
    /// Cancels what has not started, and forgets the results of the rest.
    fn abandon(&mut self) {
        for open in self.chunks.drain(..) {
            open.node.cancel_all();
        }
        // What still arrives belongs to chunks that are not here any more.
        self.inbox = Arc::default();
        self.delivered = self.pulled;
    }
}

impl<T: Task> Drop for Flight<T> {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl<I: Iterator<Item: IntoTask<M>>, M, B: ?Sized> fmt::Debug for Map<I, M, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("pulled", &self.flight.pulled)
            .field("delivered", &self.flight.delivered)
            .finish_non_exhaustive()
    }
}
