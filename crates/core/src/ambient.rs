//! What the current thread is doing for which pool.
//!
//! Three rules need to know: a submit from a task or a callback never waits for room, a shutdown
//! from there never waits for itself, and a worker thread that blocks in a `join` says so, so
//! that its pool can lend another thread meanwhile.

use std::cell::RefCell;

use crate::worker::Worker;

struct Here {
    /// The tasks on this thread's stack, outermost first: one runs inside another when it is joined
    /// there, or submitted there to an inline pool.
    tasks: Vec<(Worker, u64)>,
    /// Set while something is done on behalf of a task that runs elsewhere, or of none.
    on_behalf: Option<Option<u64>>,
    notifier_of: Option<u64>,
    in_place: u32,
    lends: bool,
}

impl Here {
    const NOTHING: Self = Self { tasks: Vec::new(), on_behalf: None, notifier_of: None, in_place: 0, lends: false };
}

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here::NOTHING) };
}

/// Deepest nesting of tasks that run inside the `join` that waits for them.
const MAX_IN_PLACE: u32 = 64;

/// The task that this thread runs, if it runs one; on a pool's notifier thread the task whose log
/// record is being delivered. A logger can show it: it is the same on every backend.
pub fn current_task() -> Option<u64> {
    HERE.with_borrow(|here| here.on_behalf.unwrap_or_else(|| here.tasks.last().map(|(_, task)| *task)))
}

/// Runs `f` as the body of `task` on `worker`. Restores what was before, on unwinding too.
pub(crate) fn in_task<R>(worker: &Worker, task: u64, f: impl FnOnce() -> R) -> R {
    HERE.with_borrow_mut(|here| here.tasks.push((worker.clone(), task)));
    let _restore = Restore;
    f()
}

struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // The worker is dropped after the borrow: its state may be anything.
        let _worker = HERE.try_with(|here| here.borrow_mut().tasks.pop());
    }
}

/// Runs `f` with `task` as the current one: for log records that arrive from elsewhere.
pub(crate) fn on_behalf<R>(task: Option<u64>, f: impl FnOnce() -> R) -> R {
    let before = HERE.with_borrow_mut(|here| here.on_behalf.replace(task));
    let done = f();
    HERE.with_borrow_mut(|here| here.on_behalf = before);
    done
}

/// Runs `f`, in which a backend uses this thread while it would only wait.
pub(crate) fn lend(f: impl FnOnce()) {
    HERE.with_borrow_mut(|here| here.lends = true);
    f();
    HERE.with_borrow_mut(|here| here.lends = false);
}

/// Whether a backend uses this thread, whose owner may hold any lock: nobody else's code may run on it.
pub(crate) fn lends_its_thread() -> bool {
    HERE.with_borrow(|here| here.lends)
}

/// Marks this thread as the notifier of a pool, for its whole life.
pub(crate) fn become_notifier(pool: u64) {
    HERE.with_borrow_mut(|here| here.notifier_of = Some(pool));
}

/// Whether this thread runs a task or a callback: then it must not wait for room.
pub(crate) fn must_not_wait() -> bool {
    HERE.with_borrow(|here| !here.tasks.is_empty() || here.notifier_of.is_some())
}

/// Whether this thread belongs to that pool: then it must not wait for the pool's end.
pub(crate) fn belongs_to(pool: u64) -> bool {
    HERE.with_borrow(|here| {
        here.notifier_of == Some(pool) || here.tasks.iter().any(|(worker, _)| worker.pool() == pool)
    })
}

pub(crate) fn is_notifier_of(pool: u64) -> bool {
    HERE.with_borrow(|here| here.notifier_of == Some(pool))
}

/// The worker that runs the innermost task here.
pub(crate) fn worker() -> Option<Worker> {
    HERE.with_borrow(|here| here.tasks.last().map(|(worker, _)| worker.clone()))
}

/// The worker whose pool lends another thread while this one waits. Not always the innermost: a
/// task of an inline pool may run inside one of a pool of threads.
pub(crate) fn host() -> Option<Worker> {
    HERE.with_borrow(|here| {
        here.tasks.iter().rev().find(|(worker, _)| worker.is_lent()).map(|(worker, _)| worker.clone())
    })
}

/// Lets `f` run a task in place, unless they are nested too deeply already.
pub(crate) fn in_place(f: impl FnOnce()) {
    let allowed = HERE.with_borrow_mut(|here| {
        here.in_place += 1;
        here.in_place <= MAX_IN_PLACE
    });
    if allowed {
        f();
    }
    HERE.with_borrow_mut(|here| here.in_place -= 1);
}
