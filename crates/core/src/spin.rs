//! Looking again for a moment before falling asleep.
//!
//! To sleep and be woken takes two system calls and, on a machine at rest, some tens of microseconds; what is waited for
//! often comes sooner. But whoever looks uses a processor that somebody else may need, perhaps the one who is waited for. So nobody
//! looks for longer than [`LONGEST`]; after looking in vain the next waits go to sleep at once, twice as many each time, and so
//! after a look in which somebody else got the processor. It is not given away by yielding: who sleeps is woken in time, who
//! yields waits until the others have used up theirs.
//!
//! Two who wait for each other must not stay asleep because the other is. So a wait that goes to sleep at once tells too whether
//! looking would have paid: if what was waited for [came](Spin::came) about as soon as a look lasts, the next are looks sooner.

use std::{
    hint,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A wake-up takes as long, about.
const LONGEST: Duration = Duration::from_micros(20);
/// Looks between two of which so much time has passed were interrupted by somebody else's work.
const INTERRUPTED: Duration = Duration::from_micros(50);
/// So many looks are taken between two at the time.
const LOOKS: u32 = 16;
/// Most waits in a row that go to sleep at once.
const MOST_PASSED: u32 = 63;
/// Not that long passes between what wakes a sleeper and its being awake, mostly.
const WAKING: Duration = Duration::from_micros(60);

/// Whether it pays to look, at one place where threads wait.
#[derive(Debug)]
pub struct Spin {
    longest: Duration,
    /// Waits to come that go to sleep at once.
    to_pass: AtomicU32,
    /// How many did when it last was in vain.
    passed: AtomicU32,
    /// When the last of them did, in nanoseconds of [`now`]; 0 if that is over.
    asleep_since: AtomicU64,
}

impl Default for Spin {
    fn default() -> Self {
        Self::new()
    }
}

impl Spin {
    /// One that has not looked yet.
    pub fn new() -> Self {
        Self::lasting(LONGEST)
    }

    /// One that looks for so long at most: where who is waited for may have to be woken first, a look that ends before that
    /// would be in vain for ever, for the other side falls asleep just as often.
    pub fn lasting(longest: Duration) -> Self {
        Self { longest, to_pass: AtomicU32::new(0), passed: AtomicU32::new(0), asleep_since: AtomicU64::new(0) }
    }

    /// Whether the next wait is to look first. Counts as that wait.
    pub fn pays(&self) -> bool {
        let to_pass = self.to_pass.load(Ordering::Relaxed);
        // Several threads may count one twice: it is a guess anyway.
        if to_pass > 0 {
            self.to_pass.store(to_pass - 1, Ordering::Relaxed);
            self.asleep_since.store(now(), Ordering::Relaxed);
        }
        to_pass == 0 && several_cores()
    }

    /// What a wait has gone to sleep for has come. No matter if it has not, or if the wait was none that went to sleep at once.
    pub fn came(&self) {
        if self.asleep_since.load(Ordering::Relaxed) == 0 {
            return;
        }
        let since = self.asleep_since.swap(0, Ordering::Relaxed);
        let waited = Duration::from_nanos(now().saturating_sub(since));
        if since > 0 && waited < self.longest + WAKING {
            self.to_pass.store(self.to_pass.load(Ordering::Relaxed) / 4, Ordering::Relaxed);
        }
    }

    /// Looks until it has `happened`, or for a moment. Whether it has.
    pub fn look(&self, happened: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        let mut before = start;
        loop {
            let seen = (0..LOOKS).any(|_| {
                hint::spin_loop();
                happened()
            });
            let now = Instant::now();
            if now - before > INTERRUPTED {
                self.pass(self.passed.load(Ordering::Relaxed) * 2 + 1);
                return seen;
            }
            if seen {
                // Not forgotten at once: where two looks of three are in vain, sleeping is better.
                self.passed.store(self.passed.load(Ordering::Relaxed) * 3 / 4, Ordering::Relaxed);
                return true;
            }
            if now - start > self.longest {
                self.pass(self.passed.load(Ordering::Relaxed) * 2 + 1);
                return false;
            }
            before = now;
        }
    }

    /// Lets so many waits sleep at once.
    fn pass(&self, waits: u32) {
        let waits = waits.min(MOST_PASSED);
        self.passed.store(waits, Ordering::Relaxed);
        self.to_pass.store(waits, Ordering::Relaxed);
    }
}

/// Nanoseconds since some moment, more than 0.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

fn several_cores() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits_until_it_pays(spin: &Spin) -> u32 {
        (0..10 * MOST_PASSED).take_while(|_| !spin.pays()).count() as u32
    }

    #[test]
    fn looking_in_vain_is_done_less_and_less() {
        if !several_cores() {
            return assert!(!Spin::new().pays());
        }
        let spin = Spin::new();
        let passed: Vec<u32> = (0..10)
            .map(|_| {
                spin.look(|| false);
                waits_until_it_pays(&spin)
            })
            .collect();
        assert_eq!(passed, [1, 3, 7, 15, 31, 63, 63, 63, 63, 63]);
        // A few that pay are enough to look each time again.
        assert!((0..20).all(|_| spin.look(|| true)));
        spin.look(|| false);
        assert_eq!(waits_until_it_pays(&spin), 1);
    }

    #[test]
    fn who_sleeps_while_it_would_have_paid_to_look_looks_again_soon() {
        if !several_cores() {
            return assert!(!Spin::new().pays());
        }
        let spin = Spin::new();
        spin.pass(63);
        assert!(!spin.pays());
        thread::sleep(LONGEST + WAKING);
        spin.came();
        assert_eq!(waits_until_it_pays(&spin), 62, "it came late");
        let spin = Spin::lasting(Duration::from_secs(3600));
        spin.pass(63);
        spin.came();
        assert_eq!(spin.to_pass.load(Ordering::Relaxed), 63, "nobody slept");
        assert!(!spin.pays());
        spin.came();
        spin.came();
        assert_eq!(waits_until_it_pays(&spin), 15, "it came soon, once");
    }
}
