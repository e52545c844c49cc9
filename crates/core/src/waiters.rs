//! Those who wait for a node: usually one, so the first needs no allocation.
//!
//! Lives under the node's lock. The order of things makes that no wake-up is lost: who waits looks and, if
//! it is too early, adds its waker in one critical section; who finishes stores the outcome and takes
//! the wakers in one critical section. Whichever comes second sees the other.

use std::task::Waker;

/// Somebody who waits.
pub(crate) struct Waiter {
    pub(crate) waker: Waker,
    /// It is a thread of ours, see [`park`](crate::park): waking it runs nobody else's code.
    pub(crate) is_ours: bool,
}

/// Wakers, each once.
#[derive(Default)]
pub(crate) struct Waiters {
    first: Option<Waiter>,
    rest: Vec<Waiter>,
}

impl Waiters {
    pub(crate) fn add(&mut self, waker: &Waker, is_ours: bool) {
        if self.first.iter().chain(&self.rest).any(|known| known.waker.will_wake(waker)) {
            return;
        }
        let waiter = Waiter { waker: waker.clone(), is_ours };
        match &self.first {
            None => self.first = Some(waiter),
            Some(_) => self.rest.push(waiter),
        }
    }
}

impl IntoIterator for Waiters {
    type Item = Waiter;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Waiter>, std::vec::IntoIter<Waiter>>;
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
