//! How fast jobs are taken: whether whoever submits them is at it all the time.

use std::time::{Duration, Instant};

/// Jobs between two looks at the clock, which takes a tenth of the shortest task.
const STEP: u32 = 64;
/// Who submits faster than that does not sleep in between: that alone takes longer.
const QUICK: Duration = Duration::from_micros(2);

/// Lives under the pool's lock.
#[derive(Debug)]
pub(crate) struct Pace {
    taken: u32,
    since: Instant,
    quick: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { taken: 0, since: Instant::now(), quick: false }
    }

    /// A job has been taken.
    pub(crate) fn count(&mut self) {
        self.taken += 1;
        if self.taken == STEP {
            let now = Instant::now();
            self.quick = now - self.since < STEP * QUICK;
            (self.taken, self.since) = (0, now);
        }
    }

    /// Whether they were taken fast lately.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_taken_fast_are_told_from_others() {
        let mut pace = Pace::new();
        let mut take = |all: u32, long_ago: Duration| {
            pace.since = Instant::now() - long_ago;
            (0..all).for_each(|_| pace.count());
            pace.is_quick()
        };
        assert!(!take(STEP - 1, Duration::ZERO), "nothing is known yet");
        assert!(take(1, Duration::ZERO));
        assert!(take(STEP - 1, STEP * QUICK), "of old");
        assert!(!take(1, STEP * QUICK));
    }
}
