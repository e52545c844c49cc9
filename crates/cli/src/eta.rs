//! How long it will still take: a guess that is made when something ends, and counts down in between.
//!
//! A share of the time so far would rise with every second in which nothing ends. Here it rises with a cause only: what
//! ends takes clearly longer than thought, or has not ended when all should be over.

use std::time::{Duration, Instant};

/// By what share of itself a guess may be too low before it is given up.
const SLACK: f64 = 0.1;

#[derive(Debug)]
pub(crate) struct Eta {
    start: Instant,
    done: usize,
    end: Option<Instant>,
}

impl Eta {
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, done: 0, end: None }
    }

    /// So many have been done since the start, and so many are left.
    pub(crate) fn update(&mut self, now: Instant, done: usize, left: usize) {
        let overdue = self.end.is_some_and(|end| end <= now);
        if done == 0 || (done == self.done && !overdue) {
            return;
        }
        self.done = done;
        let rest = now.saturating_duration_since(self.start).mul_f64(left as f64 / done as f64);
        let fresh = now + rest;
        let too_low = |end: Instant| fresh.saturating_duration_since(end) > rest.mul_f64(SLACK);
        if self.end.is_none_or(|end| fresh < end || too_low(end)) {
            self.end = Some(fresh);
        }
    }

    /// What is left, once there is something to go by.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(eta: &Eta, now: Instant) -> f64 {
        eta.left(now).map_or(-1.0, |left| left.as_secs_f64())
    }

    #[test]
    fn it_falls_while_nothing_ends() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut eta = Eta::new(start);
        assert_eq!(eta.left(at(5.0)), None);
        eta.update(at(10.0), 1, 9);
        let mut last = seconds(&eta, at(10.0));
        assert!((last - 90.0).abs() < 0.01, "{last}");
        for second in 11..20 {
            eta.update(at(f64::from(second)), 1, 9);
            let now = seconds(&eta, at(f64::from(second)));
            assert!(now < last, "{now} after {last}");
            last = now;
        }
    }

    #[test]
    fn small_changes_of_pace_do_not_raise_it_and_large_ones_do() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut eta = Eta::new(start);
        eta.update(at(10.0), 10, 90);
        // A little late.
        eta.update(at(11.3), 11, 89);
        assert!(seconds(&eta, at(11.3)) <= 90.0 - 1.3 + 0.01);
        // Twice as slow from here on.
        eta.update(at(31.0), 21, 79);
        let left = seconds(&eta, at(31.0));
        assert!(left > 110.0, "{left}");
        // Quicker than thought: at once.
        eta.update(at(32.0), 90, 10);
        assert!(seconds(&eta, at(32.0)) < 4.0);
    }

    #[test]
    fn when_all_should_be_over_it_is_made_anew() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut eta = Eta::new(start);
        eta.update(at(1.0), 1, 1);
        assert_eq!(eta.left(at(3.0)), None);
        eta.update(at(3.0), 1, 1);
        assert!((seconds(&eta, at(3.0)) - 3.0).abs() < 0.01);
    }
}
