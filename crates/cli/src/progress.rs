//! The line that says how far a run is, for as much room as there is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;

use crate::{eta::Eta, terminal, words};

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar on a terminal.
    Bar,
    /// A line every ten seconds.
    Lines,
    None,
}

/// Widest bar.
const BAR: usize = 26;
/// Narrowest bar that says anything.
const SHORT: usize = 5;

/// How many tasks run just now; none as long as nobody counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<AtomicUsize>);

impl Running {
    pub(crate) fn set(&self, running: usize) {
        self.0.store(running, Ordering::Relaxed);
    }
}

/// How far a run is.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) running: Running,
    start: Instant,
    eta: Eta,
    total: Option<usize>,
    done: usize,
    ok: usize,
    failed: usize,
}

impl Far {
    pub(crate) fn new(total: Option<usize>, now: Instant) -> Self {
        Self { running: Running::default(), start: now, eta: Eta::new(now), total, done: 0, ok: 0, failed: 0 }
    }

    /// So many have their outcome, `before` of them since before the start.
    pub(crate) fn update(&mut self, now: Instant, ok: usize, failed: usize, before: usize) {
        (self.ok, self.failed, self.done) = (ok, failed, ok + failed + before);
        if let Some(total) = self.total {
            self.eta.update(now, ok + failed, total.saturating_sub(self.done));
        }
    }

    fn left(&self, now: Instant) -> Option<String> {
        // In the first second it would be a guess about nothing.
        let left = self.eta.left(now).filter(|_| now.saturating_duration_since(self.start) > Duration::from_secs(1));
        left.map(|left| format!("about {} left", words::time(left)))
    }

    /// Where lines are not drawn again.
    pub(crate) fn plain(&self, now: Instant) -> String {
        let of = self.total.map_or(String::new(), |total| format!("/{total}"));
        let elapsed = words::time(now.saturating_duration_since(self.start));
        let left = self.left(now).map_or(String::new(), |left| format!(", {left}"));
        format!("progress {}{of}, {} failed, {elapsed} elapsed{left}", self.done, self.failed)
    }

    /// What fits into so many columns.
    fn line(&self, now: Instant, width: usize, unicode: bool) -> String {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        let clock = format!(" Running [{:02}:{:02}:{:02}] ", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let count = self.total.map_or(format!("{} done", self.done), |total| format!("{}/{total}", self.done));
        // Each with its rank: what has the highest goes first, where there is no room.
        let mut rest = vec![(0, format!("  ok {}", self.ok))];
        let running = self.running.0.load(Ordering::Relaxed);
        if running > 0 {
            rest.insert(0, (2, format!("  {running} running")));
        }
        if self.failed > 0 {
            rest.push((1, format!("  failed {}", self.failed)));
        }
        rest.extend(self.left(now).map(|left| (3, format!("  {left}"))));
        let fixed = clock.len() + count.len();
        let taken = |rest: &[(u8, String)]| fixed + rest.iter().map(|(_, text)| text.len()).sum::<usize>();
        // The last column stays free: a cursor behind it would be on the next line.
        while rest.len() > 1 && taken(&rest) >= width {
            let first = rest.iter().map(|(rank, _)| *rank).max();
            rest.retain(|(rank, _)| Some(*rank) != first);
        }
        let room = width.saturating_sub(taken(&rest) + 1);
        let rest: String = rest.into_iter().map(|(_, text)| text).collect();
        let bar = match (self.total, room.min(BAR)) {
            (Some(total), bar) if bar >= SHORT => format!("{} ", draw(self.done, total, bar - 1, unicode)),
            _ => String::new(),
        };
        let line = format!("{clock}{bar}{count}{rest}");
        line.chars().take(width.saturating_sub(1)).collect()
    }
}

fn draw(done: usize, total: usize, width: usize, unicode: bool) -> String {
    let full = done.min(total) * width / total.max(1);
    let (on, off) = if unicode { ("█", "░") } else { ("=", "-") };
    on.repeat(full) + &off.repeat(width - full)
}

/// The last line of the terminal, drawn again and again.
///
/// Not indicatif's: that one fills the line to its end, so that the `^C` of a terminal goes to the next one, and the line
/// above stays for good.
#[derive(Debug)]
pub(crate) struct Line(Arc<Mutex<Far>>);

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);
/// Columns that stay free at its end, for a `^C` and the cursor.
const FREE: usize = 3;

impl Line {
    /// Shows it until it is hidden.
    pub(crate) fn show(far: &Arc<Mutex<Far>>) {
        terminal::set_line(Some(Self(far.clone())));
        // Without a thread it is drawn when something is written above it.
        let _ = thread::Builder::new().name("taskloom-bar".to_owned()).spawn(|| {
            while terminal::draw_line() {
                thread::sleep(EVERY);
            }
        });
    }

    /// What is written to draw it.
    pub(crate) fn drawn(&self) -> String {
        let far = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let width = terminal::width().saturating_sub(FREE - 1);
        format!("\r{}{ERASE}", far.line(Instant::now(), width, terminal::unicode()))
    }
}

/// Erases from the cursor to the end of the line.
pub(crate) const ERASE: &str = "\x1b[K";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_whatever_room_there_is() {
        let start = Instant::now();
        let now = start + Duration::from_secs(72);
        let mut far = Far::new(Some(1000), start);
        far.update(now, 428, 3, 0);
        let wide = far.line(now, 100, true);
        assert!(wide.starts_with(" Running [00:01:12] ██████████"), "{wide}");
        assert!(wide.ends_with("░ 431/1000  ok 428  failed 3  about 95.1s left"), "{wide}");
        assert!(far.line(now, 100, false).is_ascii());
        far.running.set(4);
        let wide = far.line(now, 100, true);
        assert!(wide.ends_with("░ 431/1000  4 running  ok 428  failed 3  about 95.1s left"), "{wide}");
        for width in 1..120 {
            assert!(far.line(now, width, true).chars().count() < width.max(1), "{width}");
        }
        assert_eq!(far.line(now, 60, true), " Running [00:01:12] 431/1000  4 running  ok 428  failed 3");
        assert_eq!(far.line(now, 50, true), " Running [00:01:12] 431/1000  ok 428  failed 3");
        assert_eq!(far.line(now, 40, true), " Running [00:01:12] 431/1000  ok 428");
        assert_eq!(far.plain(now), "progress 431/1000, 3 failed, 72.0s elapsed, about 95.1s left");
    }

    #[test]
    fn without_a_total_there_is_no_bar() {
        let start = Instant::now();
        let mut far = Far::new(None, start);
        far.update(start, 7, 0, 0);
        assert_eq!(far.line(start, 80, true), " Running [00:00:00] 7 done  ok 7");
    }
}
