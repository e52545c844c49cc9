//! Those who wait for a node: usually one, so the first needs no allocation.
//!
//! Lives under the node's lock. The order of things makes that no wake-up is lost: who waits looks and, if
//! it is too early, adds its waker in one critical section; who finishes stores the outcome and takes
//! the wakers in one critical section. Whichever comes second sees the other.

use std::task::Waker;

/// Wakers, each once.
#[derive(Default)]
pub(crate) struct Waiters {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Waiters {
    pub(crate) fn add(&mut self, waker: &Waker) {
        match &self.first {
            None => self.first = Some(waker.clone()),
            Some(first) if first.will_wake(waker) => {}
            Some(_) if self.rest.iter().any(|known| known.will_wake(waker)) => {}
            Some(_) => self.rest.push(waker.clone()),
        }
    }
}

impl IntoIterator for Waiters {
    type Item = Waker;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Waker>, std::vec::IntoIter<Waker>>;
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
