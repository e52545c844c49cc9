//! Where "start this" and "give it back" meet: each item goes through once, one way or the other.
//!
//! The runner claims an item here before it says that it starts; the control thread recalls items
//! here before it says that they came back. One lock decides, so an item is never both, and never neither.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use taskloom_core::backend_api::Link;

use super::Up;
use crate::wire::Rare;

#[derive(Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    /// The item claimed last. Tokens grow, and the runner takes them in order.
    last: Option<(u64, u32)>,
    /// Whether it may still be running.
    is_running: bool,
    /// Its run; for the next item too, if no task has kept it.
    run: Option<Arc<Run>>,
    /// Nothing begins here any more: the process is about to be killed.
    condemned: bool,
    /// From which item on a token was recalled; also tokens that have not been read yet.
    recalled: BTreeMap<u64, u32>,
}

/// What comes of a claim.
pub(super) enum Claim {
    /// The item was recalled.
    Gone,
    /// It may be run, as part of the same run as the one before.
    Same,
    /// It may be run, with this.
    Anew(Arc<Run>),
}

/// One run of an item, or of several of which no task keeps anything, as its context sees it.
pub(super) struct Run {
    up: Arc<Up>,
    cancelled: AtomicBool,
}

impl Link for Run {
    fn is_cancelled(&self, _: u32) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn progress(&self, task: u64, done: u64, total: u64) {
        self.up.rare(&Rare::Progress { task, done, total });
    }
}

impl State {
    fn begin_run(&mut self, up: &Arc<Up>) -> Arc<Run> {
        let run = Arc::new(Run { up: up.clone(), cancelled: AtomicBool::new(false) });
        self.run.insert(run).clone()
    }

    fn recall(&mut self, token: u64, from: u32) -> u32 {
        let from = match self.last {
            // All of it went through here before this token's successor did.
            Some((last, _)) if token < last => return u32::MAX,
            Some((last, item)) if token == last => from.max(item + 1),
            _ => from,
        };
        let from = self.recalled.get(&token).map_or(from, |&before| from.min(before));
        self.recalled.insert(token, from);
        from
    }
}

impl Gate {
    /// Whether the runner may start this item: nobody can recall it any more then. The one claimed before is done.
    pub(super) fn claim(&self, token: u64, item: u32, up: &Arc<Up>) -> Claim {
        let mut state = self.lock();
        while state.condemned {
            drop(state);
            thread::park();
            state = self.lock();
        }
        if state.recalled.first_key_value().is_some_and(|(&oldest, _)| oldest < token) {
            state.recalled = state.recalled.split_off(&token);
        }
        if state.recalled.get(&token).is_some_and(|&from| item >= from) {
            state.is_running = false;
            return Claim::Gone;
        }
        state.last = Some((token, item));
        state.is_running = true;
        match &state.run {
            // Here and with the runner. Whoever might clone it now would have it already.
            Some(run) if Arc::strong_count(run) <= 2 => {
                run.cancelled.store(false, Ordering::Relaxed);
                Claim::Same
            }
            // A task has kept a token of the last one.
            _ => Claim::Anew(state.begin_run(up)),
        }
    }

    /// What the runner begins with.
    pub(super) fn first_run(&self, up: &Arc<Up>) -> Arc<Run> {
        self.lock().begin_run(up)
    }

    /// The item claimed last is done, and none follows for now.
    pub(super) fn release(&self) {
        self.lock().is_running = false;
    }

    /// Takes back what has not started, of each token from an item on, and has `answer` say for each
    /// which is the first item that came back.
    ///
    /// The answer goes up under the lock: if the runner found the items gone before that, its `End`
    /// could overtake the answer, and the parent would see a job end with items that nobody has.
    pub(super) fn recall(&self, wanted: Vec<(u64, u32)>, answer: impl FnOnce(Vec<(u64, u32)>)) {
        let mut state = self.lock();
        answer(wanted.into_iter().map(|(token, from)| (token, state.recall(token, from))).collect());
    }

    /// If this item runs, no other will, and `answer` says so, before the item's end can be told. The parent
    /// kills the process then, whatever this item still does.
    pub(super) fn condemn(&self, token: u64, item: u32, answer: impl FnOnce()) {
        let mut state = self.lock();
        state.condemned |= state.is_running && state.last == Some((token, item));
        if state.condemned {
            answer();
        }
    }

    /// Tells a run to stop, if it still runs.
    pub(super) fn cancel(&self, token: u64, item: u32) {
        let state = self.lock();
        if let (Some(run), true) = (&state.run, state.is_running && state.last == Some((token, item))) {
            run.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
