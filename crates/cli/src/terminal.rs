//! Standard error: colours and a progress bar on a terminal, plain lines everywhere else.
//!
//! A failure to write here is nobody's loss: whoever closed standard error does not read it.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    progress::{ERASE, Far, Line, Progress, Running},
    settings,
};

/// The bar that is on the screen, if one is: other lines are written above it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The line that says how far a run is, if one is shown.
static LINE: Mutex<Option<Line>> = Mutex::new(None);

/// Shows a line, or takes it off the screen.
pub(crate) fn set_line(line: Option<Line>) {
    let mut shown = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    let there_was = shown.is_some();
    *shown = line;
    if there_was {
        let _ = io::stderr().write_all(format!("\r{ERASE}").as_bytes());
    }
}

/// Draws the line again; whether there is one.
pub(crate) fn draw_line() -> bool {
    let shown = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(line) = &*shown {
        let _ = io::stderr().write_all(line.drawn().as_bytes());
    }
    shown.is_some()
}

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
    /// Whether there is a line that is drawn again and again.
    bar: bool,
    /// Whether lines say how far it is.
    pub(crate) lines: bool,
    far: Arc<Mutex<Far>>,
}

impl Terminal {
    /// Standard error, with a progress bar if it is a terminal and not to be quiet.
    pub(crate) fn stderr(total: Option<usize>, progress: Progress, quiet: bool) -> Self {
        let live = is_live(&io::stderr());
        let far = Arc::new(Mutex::new(Far::new(total, Instant::now())));
        let wants_bar = live && !quiet && matches!(progress, Progress::Auto | Progress::Bar);
        let lines = !quiet && (progress == Progress::Lines || (progress == Progress::Auto && !live));
        if wants_bar {
            Line::show(&far);
        }
        Self { live, colour: has_colour(&io::stderr()), bar: wants_bar, lines, far }
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

    /// So many have their outcome, `before` of them since before the start.
    pub(crate) fn far(&self, ok: usize, failed: usize, before: usize) {
        self.far.lock().unwrap_or_else(PoisonError::into_inner).update(Instant::now(), ok, failed, before);
    }

    /// To be told how many tasks run.
    pub(crate) fn running(&self) -> Running {
        self.far.lock().unwrap_or_else(PoisonError::into_inner).running.clone()
    }

    /// Says in a line how far it is.
    pub(crate) fn progress_line(&self) {
        let line = self.far.lock().unwrap_or_else(PoisonError::into_inner).plain(Instant::now());
        self.line(&line);
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.bar) {
            set_line(None);
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
    write_bytes_above(for_locale(text).as_bytes());
}

/// The text as this locale can show it.
pub(crate) fn for_locale(text: &str) -> Cow<'_, str> {
    if unicode() || text.is_ascii() {
        return text.into();
    }
    let shown = |c: char| match c {
        '…' => "...".to_owned(),
        'µ' => "u".to_owned(),
        '─' => "-".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => c.escape_default().to_string(),
    };
    text.chars().map(shown).collect::<String>().into()
}

/// The same for what is not known to be text.
pub(crate) fn write_bytes_above(bytes: &[u8]) {
    let write = || {
        let _ = io::stderr().write_all(bytes);
    };
    let line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(line) = &*line {
        let end: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
        // At once, so that nobody sees it gone.
        let all = [b"\r", ERASE.as_bytes(), bytes, end, line.drawn().as_bytes()].concat();
        let _ = io::stderr().write_all(&all);
        return;
    }
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
    has_colour(&io::stdout())
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On terminals, unless the environment says otherwise.
    #[default]
    Auto,
    Always,
    Never,
}

static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Says when colours are used. The first one to say so is heard.
pub(crate) fn set_colour(typed: Option<Colour>) {
    // A file that cannot be read is somebody else's to report.
    let set = || Colour::from_str(&settings::get("color").ok()?.0?, true).ok();
    let colour = typed.or_else(set).unwrap_or_default();
    let _ = COLOUR.set(colour);
}

/// Each stream is judged by itself, as <https://no-color.org> and <https://bixense.com/clicolors> have it.
fn has_colour(stream: &impl IsTerminal) -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match COLOUR.get().copied().unwrap_or_default() {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
        Colour::Auto => is_set("CLICOLOR_FORCE") || is_live(stream),
    }
}

/// How many columns standard error has.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
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
