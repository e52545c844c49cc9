//! Waiting for several tasks: [`wait`] and [`as_completed`].

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::{handle::Waitable, park};

/// What [`wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// All tasks have an outcome.
    All,
    /// One task has an outcome.
    FirstCompleted,
    /// One task ended other than well, or all have an outcome.
    FirstFailed,
}

/// What [`wait`] found: positions in the input, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// Tasks with an outcome.
    pub done: Vec<usize>,
    /// Tasks without.
    pub pending: Vec<usize>,
}

/// Waits for tasks until the condition holds, at most for `limit`; takes nothing: `wait(&handles, …)`.
///
/// Returns at once for an empty input. On a worker whose place nobody can take it returns what is known.
///
/// ```
/// # use taskloom_core::{inline, wait, Until};
/// let pool = inline::pool().build()?;
/// let handles = [pool.submit(|| 1)?, pool.submit(|| 2)?];
/// assert_eq!(wait(&handles, Until::All, None).done, [0, 1]);
/// # Ok::<(), taskloom_core::TaskError>(())
/// ```
pub fn wait<W: Waitable>(handles: impl IntoIterator<Item = W>, until: Until, limit: Option<Duration>) -> Waited {
    let handles: Vec<W> = handles.into_iter().collect();
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut ahead = 0;
    let mut look = |waker: &Waker| match until {
        Until::All => {
            // The first that is pending wakes: n handles take n looks, not n².
            ahead += handles[ahead..].iter().take_while(|handle| handle.poll_finished(waker)).count();
            ahead == handles.len()
        }
        Until::FirstCompleted => handles.is_empty() || handles.iter().any(|handle| handle.poll_finished(waker)),
        Until::FirstFailed => {
            let mut pending = false;
            handles.iter().any(|handle| {
                let done = handle.poll_finished(waker);
                pending |= !done;
                done && handle.has_failed()
            }) || !pending
        }
    };
    if limit.is_none_or(|limit| !limit.is_zero()) {
        // Nobody to take this worker's place: what is known now is the answer.
        let _ = park::wait_until(deadline, None, &mut look);
    }
    let (done, pending) = (0..handles.len()).partition(|&at| handles[at].poll_finished(Waker::noop()));
    Waited { done, pending }
}

/// Yields each element when its task has an outcome: finished ones first, each task once.
///
/// The element itself is yielded, so `(key, handle)` keeps its key; nothing is kept of it after that.
pub fn as_completed<W: Waitable>(handles: impl IntoIterator<Item = W>) -> AsCompleted<W> {
    let ready = Arc::new(Ready::default());
    let mut seen = HashSet::new();
    let mut slots = Vec::new();
    for handle in handles {
        if seen.insert(handle.task_id()) {
            let ticket = Arc::new(Ticket { at: slots.len(), ready: ready.clone() });
            if handle.poll_finished(&ticket.clone().into()) {
                ticket.wake();
            }
            slots.push(Some(handle));
        }
    }
    AsCompleted { pending: slots.len(), slots, ready, deadline: None }
}

/// Positions whose tasks are finished, and the thread that waits for one.
#[derive(Default)]
struct Ready(Mutex<(VecDeque<usize>, Option<Waker>)>);

impl Ready {
    fn push(&self, at: usize) {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.0.push_back(at);
        let waiting = ready.1.take();
        drop(ready);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn pop(&self, waker: &Waker) -> Option<usize> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ready.0.pop_front();
        if next.is_none() {
            ready.1 = Some(waker.clone());
        }
        next
    }
}

struct Ticket {
    at: usize,
    ready: Arc<Ready>,
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.at);
    }
}

/// See [`as_completed`].
#[must_use = "an iterator does nothing until it is asked"]
pub struct AsCompleted<W> {
    slots: Vec<Option<W>>,
    ready: Arc<Ready>,
    pending: usize,
    deadline: Option<Instant>,
}

impl<W> AsCompleted<W> {
    /// Ends the iteration at that instant: what is finished by then is still delivered, [`pending`](Self::pending) says how many are not.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ends the iteration this long from now, as [`deadline`](Self::deadline) does.
    pub fn timeout(self, limit: Duration) -> Self {
        match Instant::now().checked_add(limit) {
            Some(deadline) => self.deadline(deadline),
            None => self,
        }
    }

    /// How many elements have not been yielded.
    pub fn pending(&self) -> usize {
        self.pending
    }
}

impl<W: Waitable> Iterator for AsCompleted<W> {
    type Item = W;
    fn next(&mut self) -> Option<W> {
        while self.pending > 0 {
            let mut next = None;
            let waited = park::wait_until(self.deadline, None, |waker| {
                next = self.ready.pop(waker);
                next.is_some()
            });
            // On a worker whose place nobody can take, the iteration ends as at a deadline.
            waited.ok()?;
            // A waker may be woken more than once: only the first finds its element.
            if let Some(element) = self.slots[next?].take() {
                self.pending -= 1;
                return Some(element);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.pending))
    }
}

impl<W> fmt::Debug for AsCompleted<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.pending).finish_non_exhaustive()
    }
}
