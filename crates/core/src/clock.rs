//! The one thread that watches limits on time and back-offs, for all pools of the program.
//!
//! It starts with the first entry and ends when there is none left. It only decides and stores: an
//! expiry sets the outcome and asks the backend to stop the task, a back-off submits the next attempt.
//!
//! Time in which the program did not run (it was stopped, its machine slept) is not counted: nobody could
//! do anything in it, and results that arrived meanwhile have not been read. The thread looks up every
//! [`TICK`] while a task is watched; if it finds that much more time gone than it meant to wait, it puts
//! everything off by the time since its last look. On a machine so busy that a thread waits for half a second
//! limits may strike that much later, which is no worse than what they suffer there anyway.

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
    panic,
    work::{State, Work},
};

/// How long the thread waits at most while it watches a task that is not done.
const TICK: Duration = Duration::from_millis(500);
/// A wait that took so much longer than it should has been interrupted by something else than work.
const MISSED: Duration = Duration::from_millis(500);

/// Below so many entries none is looked for that could go.
const MIN_PRUNE: usize = 1024;

static CLOCK: ClockThread = ClockThread {
    state: Mutex::new(Entries { entries: BinaryHeap::new(), prune_at: MIN_PRUNE, next: 0, running: false }),
    changed: Condvar::new(),
};

struct ClockThread {
    state: Mutex<Entries>,
    changed: Condvar,
}

struct Entries {
    entries: BinaryHeap<Reverse<Entry>>,
    /// At this length it is time to look for entries whose tasks are gone.
    prune_at: usize,
    next: u64,
    running: bool,
}

struct Entry {
    at: Instant,
    added: Instant,
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
    if let Err(action) = add(limit, pool, action) {
        // Without its clock the limit would silently not hold.
        drop(action);
        let _ = work.fail(
            item,
            attempt,
            crate::work::Spare::Nothing,
            Exhausted::new("threads, to watch the task's time", 0).into(),
        );
    }
}

/// Submits `job` to its backend `after` this long.
pub(crate) fn submit_later(job: Job, pool: u64, after: Duration) {
    let far = Duration::from_secs(60 * 60 * 24 * 365);
    if let Err(Action::Submit(job)) = add(after.min(far), pool, Action::Submit(job)) {
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

fn add(after: Duration, pool: u64, action: Action) -> Result<(), Action> {
    let mut state = lock();
    // Under the lock: a pause of the program comes before all of this, or is noticed by whoever has the lock next.
    let added = Instant::now();
    // A limit beyond the end of time is none.
    let Some(at) = added.checked_add(after) else { return Ok(()) };
    if !state.running {
        // It counts from here: the program may be stopped before the thread takes its first look.
        if thread::Builder::new().name("taskloom-clock".to_owned()).spawn(move || run(added)).is_err() {
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
    state.entries.push(Reverse(Entry { at, added, number, pool, action }));
    drop(state);
    if first {
        CLOCK.changed.notify_one();
    }
    Ok(())
}

fn run(mut looked: Instant) {
    let mut state = lock();
    let mut planned = Duration::ZERO;
    loop {
        let now = Instant::now();
        if now - looked > planned + MISSED {
            state.put_off(now, now - looked);
        }
        (looked, planned) = (now, Duration::ZERO);
        let Some(Reverse(next)) = state.entries.peek() else {
            state.running = false;
            return;
        };
        if next.at > now {
            // What is over need not be watched, nor looked up for: a pool without work is to be at rest.
            let (number, watched) = (next.number, next.action.watched());
            if let Some((work, item)) = watched {
                drop(state);
                let over = work.upgrade().is_none_or(|work| work.state(item) == State::Finished);
                state = lock();
                if over {
                    state.remove_first(number);
                    continue;
                }
            }
            let Some(Reverse(next)) = state.entries.peek() else { continue };
            planned = next.at.saturating_duration_since(now).min(TICK);
            state = CLOCK.changed.wait_timeout(state, planned).unwrap_or_else(PoisonError::into_inner).0;
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

impl Entries {
    /// The program has not run for some part of `gone`, which ends now. What was added meanwhile has missed no more than
    /// its own age.
    fn put_off(&mut self, now: Instant, gone: Duration) {
        let entries = std::mem::take(&mut self.entries).into_iter().map(|Reverse(mut entry)| {
            let missed = gone.min(now.saturating_duration_since(entry.added));
            entry.at = entry.at.checked_add(missed).unwrap_or(entry.at);
            Reverse(entry)
        });
        self.entries = entries.collect();
    }

    fn remove_first(&mut self, number: u64) {
        if self.entries.peek().is_some_and(|Reverse(first)| first.number == number) {
            self.entries.pop();
        }
    }
}

impl Action {
    /// Whose end makes it useless.
    fn watched(&self) -> Option<(Weak<dyn Work>, u32)> {
        match self {
            Self::Expire { work, item, .. } => Some((work.clone(), *item)),
            Self::Submit(_) => None,
        }
    }

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

fn lock() -> MutexGuard<'static, Entries> {
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
    fn time_in_which_the_program_did_not_run_is_not_counted() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        let entry = |number, added, limit| {
            let action = Action::Expire {
                work: Weak::<crate::node::Single<crate::NamedTask>>::new(),
                item: 0,
                attempt: 1,
                clock: Clock::Running,
                limit,
            };
            Reverse(Entry { at: added + limit, added, number, pool: 0, action })
        };
        let (second, now) = (Duration::from_secs(1), start + hour);
        let entries = [entry(0, start, 2 * second), entry(1, now - second, 3 * second), entry(2, now, second)];
        let mut entries = Entries { entries: entries.into(), prune_at: MIN_PRUNE, next: 3, running: true };
        entries.put_off(now, hour);
        let left: Vec<_> =
            entries.entries.into_sorted_vec().into_iter().rev().map(|Reverse(e)| (e.number, e.at - now)).collect();
        assert_eq!(left, [(2, second), (0, 2 * second), (1, 3 * second)]);
    }

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
