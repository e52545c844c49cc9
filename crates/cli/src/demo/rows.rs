//! Rows of figures with a bar: `threads   x 64     0.09s   2198/s   46x  ██████████`.

use std::time::Duration;

use taskloom_cli::{terminal, words};

/// Longest bar.
const BAR: usize = 20;

/// One backend at one number of workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) backend: &'static str,
    pub(super) workers: usize,
    pub(super) took: Duration,
}

impl Row {
    /// `threads x 64`, in the columns of a row.
    pub(super) fn place(backend: &str, workers: usize) -> String {
        if backend == "inline" {
            format!("{backend:<16}")
        } else {
            format!("{:<16}", format!("{backend:<8}x {workers}"))
        }
    }

    /// The row, with its rate and how many times `slowest` it is; `best` has the longest bar.
    pub(super) fn text(&self, rate: &str, against: Duration, best: Duration) -> String {
        let times = against.as_secs_f64() / self.took.as_secs_f64().max(1e-9);
        let share = best.as_secs_f64() / self.took.as_secs_f64().max(1e-9);
        let block = if terminal::unicode() { "█" } else { "#" };
        let bar = block.repeat(((BAR as f64 * share).round() as usize).clamp(1, BAR));
        let place = Self::place(self.backend, self.workers);
        format!("{place}{:>8}{rate:>13}{:>9}  {bar}", words::time(self.took), format!("{}x", words::three(times)))
    }
}

/// A backend's row when this program does not have it.
pub(super) fn not_built_in(backend: &str) -> String {
    format!("{backend:<16}not built in: build with `--features {backend}`")
}

/// Whether this program has a backend.
pub(super) fn has(backend: &str) -> bool {
    taskloom::backends().iter().any(|(name, available)| *name == backend && *available)
}
