//! What a worker holds between two tasks, and when it is too much.

use std::time::{Duration, Instant};

use crate::{
    os,
    wire::{Rare, Terms},
};

/// Looking costs some tens of microseconds, so it is not done after every small task.
const SELDOM: Duration = Duration::from_millis(5);
/// A change that is worth telling.
const CHANGE: u64 = 1 << 20;

/// Looks between tasks at what this process holds; tells the parent, who holds against a task only
/// what it took beyond that; and has the process replaced when it is too much.
pub(super) struct Thrift {
    watched: bool,
    /// Above so many bytes it leaves.
    most: Option<u64>,
    told: u64,
    looked: Instant,
    leaving: bool,
}

impl Thrift {
    /// Begins when the initialiser has run: what that made is not to be had back by a replacement.
    pub(super) fn new(terms: &Terms, tell: impl FnOnce(Rare)) -> Self {
        let Terms { watched, recycle_above, .. } = *terms;
        let held = if watched || recycle_above.is_some() { Self::held() } else { 0 };
        if watched {
            tell(Rare::Holding(held));
        }
        let most = recycle_above.map(|above| held.saturating_add(above));
        Self { watched, most, told: held, looked: Instant::now(), leaving: false }
    }

    /// A message of so many bytes has come: with the arguments of several tasks.
    pub(super) fn receive(&mut self, bytes: usize, tell: impl FnOnce(Rare)) {
        if self.watched && bytes as u64 > CHANGE {
            self.told = Self::held();
            tell(Rare::Holding(self.told));
        }
    }

    /// A task is done.
    pub(super) fn look(&mut self, mut tell: impl FnMut(Rare)) {
        if !(self.watched || self.most.is_some()) || self.leaving || self.looked.elapsed() < SELDOM {
            return;
        }
        let held = Self::held();
        self.looked = Instant::now();
        if self.watched && held.abs_diff(self.told) > CHANGE {
            self.told = held;
            tell(Rare::Holding(held));
        }
        if self.most.is_some_and(|most| held > most) {
            self.leaving = true;
            tell(Rare::Leaving);
        }
    }

    fn held() -> u64 {
        os::memory::held(std::process::id()).unwrap_or(0)
    }
}
