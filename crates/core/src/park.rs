//! How a thread waits for tasks: a waker that unparks it, cached per thread.
//!
//! A blocking `join`, `.await`, `wait` and `as_completed` are all the same thing: wakers in the
//! node's list. `Condvar`s would cost a system call per finished task even when nobody waits.
//!
//! A worker thread that is about to wait says so first ([`OnBlock`](crate::worker::OnBlock)), so that its pool can lend
//! another thread: nested waiting cannot use a pool up.

use std::{cell::RefCell, sync::Arc, task::Waker, time::Instant};

use crate::{ambient, backend::Backend, error::TaskError, parker::Parker, spin::Spin, waiters::Waiter, worker::Worker};

thread_local! {
    static SPIN: Spin = Spin::new();
    static PARKER: (Arc<Parker>, Waker) = {
        let parker = Parker::of_this_thread();
        (parker.clone(), parker.into())
    };
}

/// Waits until `ready` says so, or until the time has come. `ready` registers the waker wherever
/// something may change. Whether it became ready. The backend whose tasks are waited for, where there is one, may use
/// this thread for a moment before it sleeps.
///
/// # Errors
/// If this thread is a worker and no other can take its place meanwhile.
pub(crate) fn wait_until(
    until: Option<Instant>,
    backend: Option<&dyn Backend>,
    mut ready: impl FnMut(&Waker) -> bool,
) -> Result<bool, TaskError> {
    // Not inside `with`: wakers and hooks run other code that may wait too.
    let (parker, waker) = PARKER.with(Clone::clone);
    parker.lower();
    if ready(&waker) {
        return Ok(true);
    }
    if let Some(backend) = backend {
        ambient::lend(|| backend.attend(&|| parker.is_woken()));
        if ready(&waker) {
            return Ok(true);
        }
    }
    let _lent = Lent::new()?;
    loop {
        // Before the first sleep too: a hook that waited for something itself has swallowed wake-ups.
        if ready(&waker) {
            return Ok(true);
        }
        SPIN.with(|spin| spin.pays() && spin.look(|| parker.is_woken()));
        if !parker.sleep(until) {
            return Ok(ready(&waker));
        }
    }
}

thread_local! {
    /// Wakers that wait for the end of [`hold_wakers`], if this thread is in it.
    static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Runs `f`, which brings many outcomes, and wakes those who wait for them afterwards: whoever is woken for the first of them
/// would wait again for the second, and take the processor, or a lock, from whoever brings it.
///
/// Inside of another call of it those are woken when that one ends.
pub fn hold_wakers(f: impl FnOnce()) {
    if HELD.with_borrow(Option::is_some) {
        return f();
    }
    /// Also if something panics: else this thread would keep wake-ups for good.
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            wake_held();
            HELD.set(None);
        }
    }
    HELD.set(Some(Vec::new()));
    let _release = Release;
    f();
}

/// Wakes those who have been [held](hold_wakers) so far, if this thread holds any: what is still to be brought may take a while.
pub fn wake_held() {
    let held = HELD.with_borrow_mut(|held| held.as_mut().map(std::mem::take));
    for waker in held.into_iter().flatten() {
        // Ours alone are held: no code of anybody else's runs.
        waker.wake();
    }
}

/// Wakes a thread that waits here, now or when this thread has brought what else it has; or has `other` wake it.
pub(crate) fn wake(Waiter { waker, is_ours }: Waiter, other: impl FnOnce(Waker)) {
    if !is_ours {
        return other(waker);
    }
    let now = HELD.with_borrow_mut(|held| match held {
        Some(held) => {
            held.push(waker);
            None
        }
        None => Some(waker),
    });
    if let Some(waker) = now {
        waker.wake();
    }
}

/// Whether a waker is that of this thread, which waits here: waking it runs no code of anybody else's.
///
/// Asked by the thread itself, for only it can tell: a waker shows its functions, but the compiler may have made several copies of those.
pub(crate) fn is_own(waker: &Waker) -> bool {
    PARKER.with(|(_, own)| std::ptr::eq(waker.data(), own.data()))
}

/// While it lives another thread may take this worker's place, if this thread is one.
pub(crate) struct Lent(Option<Worker>);

impl Lent {
    /// # Errors
    /// If no other can.
    pub(crate) fn new() -> Result<Self, TaskError> {
        let worker = ambient::host();
        worker.iter().try_for_each(Worker::block)?;
        Ok(Self(worker))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.iter().for_each(Worker::resume);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_thread_that_waits_here_knows_its_own_waker_and_no_other() {
        let own = PARKER.with(|(_, waker)| waker.clone());
        assert!(is_own(&own) && is_own(&own.clone()));
        assert!(!is_own(&Arc::<Count>::default().into()) && !is_own(Waker::noop()));
        std::thread::spawn(move || assert!(!is_own(&own))).join().unwrap();
    }

    #[test]
    fn threads_are_woken_when_everything_has_been_brought_and_others_at_once() {
        let (parker, waker) = PARKER.with(Clone::clone);
        parker.lower();
        let other = Arc::new(Count::default());
        let others = || Waiter { waker: other.clone().into(), is_ours: false };
        hold_wakers(|| {
            hold_wakers(|| wake(Waiter { is_ours: is_own(&waker), waker: waker.clone() }, |_| panic!("it is ours")));
            assert!(!parker.is_woken(), "not before the outer one has ended");
            wake(others(), Waker::wake);
            assert_eq!(other.0.load(Ordering::Relaxed), 1);
            wake_held();
            assert!(parker.is_woken(), "it takes a while");
            parker.lower();
            wake(Waiter { is_ours: true, waker: waker.clone() }, |_| panic!("it is ours"));
            assert!(!parker.is_woken(), "it is still held");
        });
        assert!(parker.is_woken());
        parker.lower();
        wake(Waiter { is_ours: true, waker }, |_| panic!("it is ours"));
        assert!(parker.is_woken(), "at once, where nothing is held");
    }
}
