//! The one thread that watches limits on time and back-offs, for all pools of the program.
//!
//! It starts with the first entry and ends when there is none left. It only decides and stores: an
//! expiry sets the outcome and asks the backend to stop the task, a back-off submits the next attempt.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Clock, Exhausted},
    job::Job,
    node::Work,
    panic,
};

/// Below so many entries none is looked for that could go.
const MIN_PRUNE: usize = 1024;

static CLOCK: ClockThread = ClockThread {
    state: Mutex::new(State { entries: BinaryHeap::new(), prune_at: MIN_PRUNE, next: 0, running: false }),
    changed: Condvar::new(),
};

struct ClockThread {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    entries: BinaryHeap<Reverse<Entry>>,
    /// At this length it is time to look for entries whose tasks are gone.
    prune_at: usize,
    next: u64,
    running: bool,
}

struct Entry {
    at: Instant,
    /// Entries of the same instant keep their order.
    number: u64,
    pool: u64,
    action: Action,
}

enum Action {
    Expire { work: Weak<dyn Work>, item: u32, attempt: u32, clock: Clock, limit: Duration },
    Submit(Job),
}

/// Ends an item `limit` from now, unless it is done by then.
pub(crate) fn expire_later(work: &Arc<dyn Work>, item: u32, attempt: u32, clock: Clock, limit: Duration) {
    let pool = work.head().core.hub.id();
    let action = Action::Expire { work: Arc::downgrade(work), item, attempt, clock, limit };
    // A limit beyond the end of time is none.
    let Some(at) = Instant::now().checked_add(limit) else { return };
    if let Err(action) = add(at, pool, action) {
        // Without its clock the limit would silently not hold.
        drop(action);
        let _ = work.fail(
            item,
            attempt,
            crate::node::Spare::Nothing,
            Exhausted::new("threads, to watch the task's time", 0).into(),
        );
    }
}

/// Submits `job` to its backend `after` this long.
pub(crate) fn submit_later(job: Job, pool: u64, after: Duration) {
    let far = Duration::from_secs(60 * 60 * 24 * 365);
    let at = Instant::now() + after.min(far);
    if let Err(Action::Submit(job)) = add(at, pool, Action::Submit(job)) {
        job.fail(&Exhausted::new("threads, to wait for the next attempt", 0).into());
    }
}

/// Removes what a pool that ends has left here; cancels what waits for its next attempt.
pub(crate) fn forget(pool: u64) {
    let mut gone = Vec::new();
    let mut state = lock();
    let entries = std::mem::take(&mut state.entries);
    for entry in entries {
        if entry.0.pool == pool { gone.push(entry) } else { state.entries.push(entry) }
    }
    drop(state);
    CLOCK.changed.notify_one();
    for Reverse(entry) in gone {
        if let Action::Submit(job) = entry.action {
            job.cancel();
        }
    }
}

fn add(at: Instant, pool: u64, action: Action) -> Result<(), Action> {
    let mut state = lock();
    if !state.running {
        if thread::Builder::new().name("taskloom-clock".to_owned()).spawn(run).is_err() {
            return Err(action);
        }
        state.running = true;
    }
    if state.entries.len() >= state.prune_at {
        // Else a million short tasks with a limit of an hour each would stay for that hour.
        state.entries.retain(|Reverse(entry)| entry.action.is_wanted());
        state.prune_at = MIN_PRUNE.max(state.entries.len() * 2);
    }
    let number = state.next;
    state.next += 1;
    let first = state.entries.peek().is_none_or(|Reverse(earliest)| at < earliest.at);
    state.entries.push(Reverse(Entry { at, number, pool, action }));
    drop(state);
    if first {
        CLOCK.changed.notify_one();
    }
    Ok(())
}

fn run() {
    let mut state = lock();
    loop {
        let Some(Reverse(next)) = state.entries.peek() else {
            state.running = false;
            return;
        };
        let now = Instant::now();
        if next.at > now {
            let wait = next.at - now;
            state = CLOCK.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let due = state.entries.pop();
        drop(state);
        if let Some(Reverse(entry)) = due
            && let Err(panic) = panic::catch(|| entry.action.act())
        {
            // Whatever it was, all other limits of the program hang on this thread.
            log::error!(target: "taskloom", "the clock panicked: {}", panic.message);
        }
        state = lock();
    }
}

impl Action {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Expire { work, .. } => work.strong_count() > 0,
            Self::Submit(_) => true,
        }
    }

    fn act(self) {
        match self {
            Self::Expire { work, item, attempt, clock, limit } => {
                if let Some(work) = work.upgrade() {
                    work.expire(item, attempt, clock, limit).follow(&work, item);
                }
            }
            Self::Submit(job) => job.resubmit(),
        }
    }
}

fn lock() -> MutexGuard<'static, State> {
    // Nothing panics while it holds this lock.
    CLOCK.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, inline};

    #[test]
    fn limits_of_tasks_long_done_do_not_pile_up() {
        let pool = inline::pool().build().unwrap();
        let view = pool.with(Policy::new().timeout(Duration::from_secs(3600)));
        for _ in 0..20 * MIN_PRUNE {
            view.submit(|| ()).unwrap().join().unwrap();
        }
        assert!(lock().entries.len() < 4 * MIN_PRUNE);
    }
}
