//! What is said of inputs that have no outcome yet.

use std::time::Duration;

use super::{INPUT_WIDTH, Report, seconds};
use crate::{Stop, event::Event, limits::exact, outcome::Done, terminal::Tone, words};

impl Report {
    /// An attempt has ended, and there will be another.
    pub(crate) fn retrying(&mut self, done: &Done, after: Duration) -> Result<(), Stop> {
        if let Some(events) = &mut self.events {
            let event = Event::new("task-retried")
                .with("index", done.number)
                .with("source", self.feed.label(done.origin))
                .with("status", done.status.word())
                .with("attempt", done.attempt)
                .with("wall_s", seconds(done.wall))
                .with("after_s", seconds(Some(after)))
                .with_some("error", done.trouble.as_ref().map(|trouble| &trouble.record));
            events.line(event.to_string())?;
        }
        if !self.show.quiet {
            let key = done.trouble.as_ref().map_or("", |trouble| &trouble.key);
            let when = if after.is_zero() { "at once".to_owned() } else { format!("in {}", words::time(after)) };
            let text = format!("attempt {} {}: {key}; again {when}", done.attempt, done.status.past());
            self.terminal.status("RETRY", Tone::Faint, &format!("{} {text}", self.what(done)));
        }
        Ok(())
    }

    /// What runs takes long.
    pub(crate) fn slow(&mut self, number: u64, shown: &str, limit: Duration) {
        self.slow.insert(number);
        if !self.show.quiet {
            let (name, input) = (&self.facts.name, words::shown(shown, INPUT_WIDTH));
            let text = format!("[> {:.1}s] #{number} {name} {input}", limit.as_secs_f64());
            self.terminal.status("SLOW", Tone::Faint, text.trim_end());
        }
    }

    /// A word to whoever pressed Ctrl-C.
    pub(crate) fn stopping(&self, running: usize, grace: Duration) {
        let grace = exact(grace);
        let running = match running {
            0 => "what runs has".to_owned(),
            1 => "1 running task has".to_owned(),
            more => format!("{more} running tasks have"),
        };
        self.terminal.line(&format!("Stopping: {running} {grace} to finish (Ctrl-C again kills them)"));
    }
}
