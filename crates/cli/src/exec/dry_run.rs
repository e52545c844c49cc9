//! `--dry-run`: what would be run, in words that a shell reads back.

use std::{
    io::{self, IsTerminal},
    os::unix::ffi::OsStrExt,
};

use super::{plan::Plan, template::Subject};
use crate::{Output, Stop, event::Event, exit, input::Input, shell, words};

pub(crate) fn run(plan: &Plan) -> Result<u8, Stop> {
    let mut out = Output::stdout();
    let watched = io::stdout().is_terminal();
    let (mut total, mut failed) = (0, None);
    if !plan.show.json {
        out.line(format!("would run on {} x {}:", plan.facts.backend, plan.facts.workers))?;
    }
    let mut show = |number, input: &Input, out: &mut Output| {
        let subject = match Subject::of(&input.text) {
            Ok(subject) => subject,
            Err(fault) => {
                return out.line(format!("  #{number}  left out: {}", plan.feed.bad(input, fault).in_short()));
            }
        };
        total += 1;
        let words = plan.template.fill(&subject, number, None);
        if plan.show.json {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            return out.line(Event::new("would-run").with("index", number).with("command", words).to_string());
        }
        let line = shell::line(words.iter().map(|word| word.as_bytes()));
        out.bytes(format!("  #{number}  ").as_bytes())?;
        // What moves the cursor of a terminal would hide what is really run.
        if watched {
            out.bytes(words::shown(&String::from_utf8_lossy(&line), usize::MAX).as_bytes())
        } else {
            out.bytes(&line)
        }?;
        out.line("")
    };
    plan.feed.each(|number, input| match show(number, &input, &mut out) {
        Ok(()) => true,
        Err(stop) => {
            failed = Some(stop);
            false
        }
    })?;
    if let Some(stop) = failed {
        return Err(stop);
    }
    if plan.show.json {
        let event = Event::new("run-finished").with("status", "dry-run").with("total", total);
        out.line(event.with("not_started", total).with("exit_code", exit::OK).to_string())?;
    }
    out.flush()?;
    Ok(exit::OK)
}
