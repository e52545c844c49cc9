//! `--dry-run`: what would be run, and where.

use std::io::{self, IsTerminal};

use taskloom::JsonFault;

use crate::{
    Output, Stop,
    event::Event,
    exit,
    feed::Feed,
    input::Input,
    report::{Facts, place},
    words,
};

/// What would be run for one input: for people, and for programs.
pub(crate) struct Would {
    pub(crate) line: Vec<u8>,
    pub(crate) event: Event,
}

/// Prints what `would` says of each input, by its number.
pub(crate) fn run(
    facts: &Facts,
    feed: &Feed,
    json: bool,
    would: impl Fn(u64, &Input) -> Result<Would, JsonFault>,
) -> Result<u8, Stop> {
    let mut out = Output::stdout();
    let watched = io::stdout().is_terminal();
    let (mut total, mut failed) = (0, None);
    if !json {
        out.line(format!("would run on {}:", place(facts)))?;
    }
    let mut show = |number, input: &Input, out: &mut Output| {
        let Would { line, event } = match would(number, input) {
            Ok(would) => would,
            Err(fault) => {
                let bad = feed.bad(input, fault);
                let left_out = || format!("  #{number}  left out: {}", bad.in_short());
                return out.line(if json { bad.event().to_string() } else { left_out() });
            }
        };
        total += 1;
        if json {
            return out.line(event.to_string());
        }
        out.bytes(format!("  #{number}  ").as_bytes())?;
        // What moves the cursor of a terminal would hide what is really run.
        if watched {
            out.bytes(words::shown(&String::from_utf8_lossy(&line), usize::MAX).as_bytes())
        } else {
            out.bytes(&line)
        }?;
        out.line("")
    };
    feed.each(|number, input| match show(number, &input, &mut out) {
        Ok(()) => true,
        Err(stop) => {
            failed = Some(stop);
            false
        }
    })?;
    if let Some(stop) = failed {
        return Err(stop);
    }
    if json {
        let event = Event::new("run-finished").with("status", "dry-run").with("total", total);
        out.line(event.with("not_started", total).with("exit_code", exit::OK).to_string())?;
    }
    out.flush()?;
    Ok(exit::OK)
}
