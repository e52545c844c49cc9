//! What commands cost and what memory is left, as far as this build can tell.

use std::time::{Duration, Instant};

/// What a build without the backend `procs` cannot measure.
#[cfg(not(feature = "procs"))]
mod measured {
    use std::time::Duration;

    pub(crate) const CAN_LIMIT: bool = false;

    pub(crate) fn held(_pid: u32) -> Option<u64> {
        None
    }

    /// Processor time of commands that have ended.
    #[derive(Debug)]
    pub(crate) struct Meter;

    impl Meter {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn lap(&mut self) -> Option<Duration> {
            None
        }
        pub(crate) fn was_killed_for_memory(&mut self) -> bool {
            false
        }
    }
}

#[cfg(feature = "procs")]
mod measured {
    use std::time::Duration;

    pub(crate) use taskloom::procs::accounting::held;
    use taskloom::procs::accounting::{OomKills, cpu_time_of_reaped};

    pub(crate) const CAN_LIMIT: bool = true;

    /// Processor time of commands that have ended, and what the kernel killed for want of memory.
    #[derive(Debug)]
    pub(crate) struct Meter {
        reaped: Duration,
        kills: OomKills,
    }

    impl Meter {
        pub(crate) fn new() -> Self {
            Self { reaped: cpu_time_of_reaped(), kills: OomKills::of_this_cgroup() }
        }

        /// What the command used that has been reaped since the last time.
        pub(crate) fn lap(&mut self) -> Option<Duration> {
            let before = std::mem::replace(&mut self.reaped, cpu_time_of_reaped());
            Some(self.reaped.saturating_sub(before))
        }

        /// Whether the kernel has killed somebody for want of memory, and nobody has been blamed yet.
        pub(crate) fn was_killed_for_memory(&mut self) -> bool {
            self.kills.claim()
        }
    }
}

pub(crate) use measured::{CAN_LIMIT, Meter, held};

/// Memory that new programs can have without swapping, in bytes, as the kernel estimates it.
fn free() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How often it is looked whether there is memory for another task.
const LOOK: Duration = Duration::from_millis(250);

/// Nothing starts while less memory is free than there has to be.
#[derive(Debug)]
pub(crate) struct Gate {
    least: Option<u64>,
    /// When to look again, if there was too little.
    look_again: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(least: Option<u64>) -> Self {
        Self { least, look_again: None }
    }

    /// Whether something may start; `say` is told if from now on it may not.
    pub(crate) fn is_open(&mut self, say: impl FnOnce(&str)) -> bool {
        let Some(least) = self.least else { return true };
        if self.look_again.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        if free().is_none_or(|free| free >= least) {
            self.look_again = None;
            return true;
        }
        if self.look_again.is_none() {
            say("waiting for free memory, as --min-free-memory says");
        }
        self.look_again = Some(Instant::now() + LOOK);
        false
    }

    pub(crate) fn look_again(&self) -> Option<Instant> {
        self.look_again
    }
}
