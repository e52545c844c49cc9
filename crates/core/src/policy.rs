//! How a task is to be treated: limits on time, retries, chunks.

use std::time::Duration;

use crate::error::Kind;

/// What `pool.with(policy)` adds to every task submitted through that view.
///
/// ```
/// use std::time::Duration;
/// use taskloom_core::{Policy, Retry};
/// let careful = Policy::new().timeout(Duration::from_secs(5)).retry(Retry::crashes(2));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) allow_overlap: bool,
    pub(crate) chunk: Option<usize>,
    pub(crate) window: Option<usize>,
}

impl Policy {
    /// No limits, no retries, automatic chunks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the running time of each attempt, wall clock from its start. `Duration::MAX` is no limit.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = bounded(limit);
        self
    }

    /// Limits the time from submission to the first start.
    #[must_use]
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = bounded(limit);
        self
    }

    /// Limits everything from submission on, retries and their back-off included.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = bounded(limit);
        self
    }

    /// How long a task has between being told to stop and being stopped. 1 s by default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Runs a task again when it ends for one of the causes that `retry` names.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Accepts that an attempt which timed out may still run while the next one does: needed for
    /// retrying time-outs where a running task cannot be killed.
    #[must_use]
    pub fn allow_overlap(mut self) -> Self {
        self.allow_overlap = true;
        self
    }

    /// Sends so many inputs of a map at once. Automatic by default: sized by the measured time of a task.
    ///
    /// # Panics
    /// If `size` is 0, as `slice::chunks` does.
    #[must_use]
    #[track_caller]
    pub fn chunk(mut self, size: usize) -> Self {
        assert!(size != 0, "a chunk holds at least one task");
        self.chunk = Some(size);
        self
    }

    /// Lets a map pull at most so many inputs ahead of the results taken from it. By default a few chunks per worker.
    ///
    /// # Panics
    /// If `inputs` is 0.
    #[must_use]
    #[track_caller]
    pub fn window(mut self, inputs: usize) -> Self {
        assert!(inputs != 0, "a window holds at least one task");
        self.window = Some(inputs);
        self
    }

    pub(crate) fn has_limits(&self) -> bool {
        self.timeout.is_some() || self.queue_timeout.is_some() || self.deadline.is_some()
    }

    pub(crate) fn grace_period(&self) -> Duration {
        self.grace.unwrap_or(DEFAULT_GRACE)
    }
}

pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(1);

fn bounded(limit: Duration) -> Option<Duration> {
    (limit != Duration::MAX).then_some(limit)
}

/// Which ends of a task are worth another attempt, how many, and how long to wait between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    causes: Vec<Kind>,
    count: u32,
    backoff: Duration,
    longest: Duration,
}

impl Retry {
    /// Up to `count` further attempts after one of these ends.
    pub fn on(causes: impl IntoIterator<Item = Kind>, count: u32) -> Self {
        Self { causes: causes.into_iter().collect(), count, backoff: Duration::ZERO, longest: Duration::from_secs(60) }
    }

    /// Up to `count` further attempts after the worker died under the task.
    pub fn crashes(count: u32) -> Self {
        Self::on([Kind::Crashed, Kind::Lost], count)
    }

    /// Up to `count` further attempts after the task returned an error.
    pub fn failures(count: u32) -> Self {
        Self::on([Kind::Failed], count)
    }

    /// Up to `count` further attempts after a panic.
    pub fn panics(count: u32) -> Self {
        Self::on([Kind::Panicked], count)
    }

    /// Up to `count` further attempts after a time-out of the attempt.
    pub fn timeouts(count: u32) -> Self {
        Self::on([Kind::TimedOut], count)
    }

    /// Up to `count` further attempts after anything but a cancel: errors, panics, crashes, memory, time-outs, losses.
    pub fn any(count: u32) -> Self {
        Self::on([Kind::Failed, Kind::Panicked, Kind::Crashed, Kind::OutOfMemory, Kind::TimedOut, Kind::Lost], count)
    }

    /// Names one more cause.
    #[must_use]
    pub fn and(mut self, cause: Kind) -> Self {
        self.causes.push(cause);
        self
    }

    /// Waits before the second attempt, and twice as long before each one after it, up to a minute.
    /// The wait is drawn from its upper half, so that tasks that failed together do not return together.
    #[must_use]
    pub fn backoff(mut self, first: Duration) -> Self {
        self.backoff = first;
        self
    }

    /// Longest wait between two attempts. One minute by default.
    #[must_use]
    pub fn longest_backoff(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    pub(crate) fn names(&self, kind: Kind) -> bool {
        self.causes.contains(&kind)
    }

    /// How long to wait before the attempt after number `attempt`; `None` if there is none.
    ///
    /// Backends need not ask: tasks are sent again for them. It is for those who repeat something else by the same
    /// rules. The seed decides where in its range the wait lies.
    pub fn wait_after(&self, kind: Kind, attempt: u32, seed: u64) -> Option<Duration> {
        if attempt == 0 || attempt > self.count || !self.names(kind) {
            return None;
        }
        // "Equal jitter", as the AWS architecture blog names it (Brooker 2015).
        let full = self.backoff.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX)).min(self.longest);
        let share = (crate::context::seed_of(seed, u64::from(attempt), 0) >> 11) as f64 / (1_u64 << 53) as f64;
        Some(full.mul_f64(0.5 + share / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_all_time_is_none() {
        assert!(
            !Policy::new().timeout(Duration::MAX).deadline(Duration::MAX).queue_timeout(Duration::MAX).has_limits()
        );
    }

    #[test]
    fn only_named_causes_are_worth_another_attempt() {
        let retry = Retry::crashes(2);
        assert_eq!(retry.wait_after(Kind::Cancelled, 1, 0), None);
        assert_eq!(retry.wait_after(Kind::Lost, 2, 0), Some(Duration::ZERO));
        assert_eq!(retry.wait_after(Kind::Lost, 3, 0), None);
    }

    #[test]
    fn back_off_doubles_with_jitter_up_to_its_end() {
        let retry = Retry::any(40).backoff(Duration::from_millis(100)).longest_backoff(Duration::from_secs(1));
        let waits: Vec<_> = (1..=40).filter_map(|attempt| retry.wait_after(Kind::Lost, attempt, 9)).collect();
        assert_eq!(waits.len(), 40);
        for (attempt, wait) in waits.iter().enumerate() {
            let full = Duration::from_millis(100 << attempt.min(4)).min(Duration::from_secs(1));
            assert!(*wait >= full / 2 && *wait <= full, "attempt {attempt}: {wait:?} of {full:?}");
        }
        assert_ne!(retry.wait_after(Kind::Lost, 1, 1), retry.wait_after(Kind::Lost, 1, 2));
    }

    #[test]
    #[should_panic(expected = "at least one task")]
    fn an_empty_chunk_is_refused() {
        let _ = Policy::new().chunk(0);
    }
}
