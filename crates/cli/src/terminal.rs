//! Standard error: colours and a progress bar on a terminal, plain lines everywhere else.
//!
//! A failure to write here is nobody's loss: whoever closed standard error does not read it.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::words;

/// The bar that is on the screen, if one is: other lines are written above it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// What a word's colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something is not.
    Bad,
    /// A heading.
    Title,
    /// Of less interest.
    Faint,
}

/// Standard error as people see it.
#[derive(Debug)]
pub struct Terminal {
    live: bool,
    colour: bool,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Standard error, with a progress bar of this length if it is a terminal and not to be quiet.
    pub(crate) fn stderr(total: Option<usize>, quiet: bool) -> Self {
        let live = is_live(&io::stderr());
        let bar = (live && !quiet).then(|| {
            let bar = match total {
                Some(total) => ProgressBar::new(total as u64)
                    .with_style(style(" Running [{elapsed_precise}] {bar:26} {pos}/{len}  {msg}")),
                None => ProgressBar::new_spinner().with_style(style(" Running [{elapsed_precise}] {pos} done  {msg}")),
            };
            show(&bar);
            bar
        });
        Self { live, colour: live && wants_colour(), bar }
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: &str) {
        let indent = if self.live && !text.starts_with(' ') { " " } else { "" };
        write_above(&format!("{indent}{text}\n"));
    }

    /// Writes a line that begins with a status word.
    pub(crate) fn status(&self, word: &str, tone: Tone, text: &str) {
        let padding = " ".repeat(8_usize.saturating_sub(word.chars().count()));
        write_above(&format!("{padding}{} {text}\n", paint(word, tone, self.colour)));
    }

    /// Writes a line that belongs to the one above.
    pub(crate) fn detail(&self, text: &str) {
        write_above(&format!("{:10}{text}\n", ""));
    }

    /// Draws a line across.
    pub(crate) fn rule(&self) {
        write_above(&format!("{}\n", if unicode() { "─" } else { "-" }.repeat(12)));
    }

    /// Moves the bar; whether there is one.
    pub(crate) fn bar(&self, done: usize, ok: usize, failed: usize) -> bool {
        let Some(bar) = &self.bar else { return false };
        bar.set_position(done as u64);
        let mut message = format!("ok {ok}");
        if failed > 0 {
            message += &format!("  failed {failed}");
        }
        if let (Some(total), true) = (bar.length(), done > 0) {
            let left = bar.elapsed().mul_f64(total.saturating_sub(done as u64) as f64 / done as f64);
            if bar.elapsed() > Duration::from_secs(1) {
                message += &format!("  about {} left", words::time(left));
            }
        }
        bar.set_message(message);
        true
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            hide(&bar);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Puts a bar on the screen: what is written with [`write_above`] goes above it.
pub fn show(bar: &ProgressBar) {
    bar.enable_steady_tick(Duration::from_millis(100));
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
}

/// Takes a bar off the screen.
pub fn hide(bar: &ProgressBar) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    bar.finish_and_clear();
}

/// A bar for work of `total` steps: drawn on a terminal, silent elsewhere.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
    if is_live(&io::stderr()) {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(style("      {msg} {bar:26} {percent}%"));
        bar.set_message(what.to_owned());
        show(&bar);
    }
    bar
}

/// Writes to standard error, above the bar if one is there.
pub fn write_above(text: &str) {
    write_bytes_above(text.as_bytes());
}

/// The same for what is not known to be text.
pub(crate) fn write_bytes_above(bytes: &[u8]) {
    let write = || {
        let _ = io::stderr().write_all(bytes);
    };
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Standard error for the logger.
#[derive(Debug)]
pub(crate) struct LogTarget;

impl Write for LogTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_above(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `text` in the colour of its tone.
pub fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        _ if !colour => return text.to_owned(),
        Tone::Good => "1;32",
        Tone::Bad => "1;31",
        Tone::Title => "1",
        Tone::Faint => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Whether lines there may be redrawn.
fn is_live(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard output is a terminal that shows colours.
pub fn stdout_has_colour() -> bool {
    is_live(&io::stdout()) && wants_colour()
}

fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the locale has more than ASCII, as the C library decides it.
pub fn unicode() -> bool {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn style(template: &str) -> ProgressStyle {
    let chars = if unicode() { "█▌░" } else { "=>-" };
    // The templates are constants of this file.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars(chars)
}
