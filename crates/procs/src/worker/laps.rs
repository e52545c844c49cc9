//! How long items take, one behind the other, without a look at the clock after each: that takes longer than many a task.

use std::time::{Duration, Instant};

use crate::os::ticks;

/// So many ticks are less than 10 µs, at whatever rate they come, and more than looking at the clock costs: 1 to 10 µs.
const SOON: u64 = 5_000;

/// Items that take longer are not worth guessing: the clock takes little of their time.
const SHORT: Duration = Duration::from_micros(1);

/// Where items begin as soon as the one before is done.
pub(super) struct Laps {
    /// When the clock was looked at last.
    looked: Instant,
    ticks: Option<u64>,
    /// Items since then.
    items: u32,
    /// What each of them is taken to have taken: as those before.
    each: Duration,
}

impl Laps {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now(), ticks: ticks::now(), items: 0, each: SHORT }
    }

    /// An item begins, and none has just ended.
    pub(super) fn begin(&mut self) {
        *self = Self { each: self.each, ..Self::new() };
    }

    /// An item is done. Gives how long it took: exactly, if that may be 10 µs or more, else about.
    pub(super) fn end(&mut self) -> Duration {
        let ticks = ticks::now();
        let is_soon = |(now, then): (u64, u64)| now.wrapping_sub(then) < SOON;
        if self.each < SHORT && ticks.zip(self.ticks).is_some_and(is_soon) {
            self.items += 1;
            return self.each;
        }
        let now = Instant::now();
        let (all, before) = (now - self.looked, self.each * self.items);
        let each = all / (self.items + 1);
        *self = Self { looked: now, ticks, items: 0, each };
        all.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use std::hint;

    use super::*;

    fn spin(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            hint::spin_loop();
        }
    }

    #[test]
    fn a_long_item_among_short_ones_is_seen_as_what_it_is() {
        let mut laps = Laps::new();
        laps.begin();
        for _ in 0..1000 {
            laps.end();
            spin(Duration::from_micros(100));
            let long = laps.end();
            assert!(long > Duration::from_micros(90), "{long:?}");
        }
    }

    #[test]
    fn short_items_take_together_what_passes() {
        let mut laps = Laps::new();
        laps.begin();
        let start = Instant::now();
        let sum: Duration = (0..100_000).map(|_| laps.end()).sum();
        let all = start.elapsed();
        // Each group is told as the one before was.
        assert!(sum > all / 2, "{sum:?} of {all:?}");
    }
}
