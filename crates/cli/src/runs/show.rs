//! `runs show`.

use std::time::Duration;

use super::list;
use crate::{
    Output, Stop, program,
    record::{self, Failure, History, Place, Spool, Word},
    shell, words,
};

/// Failures that are shown.
const SHOWN: usize = 10;

pub(super) fn run(run: Option<&str>, json: bool) -> Result<(), Stop> {
    let place = match run {
        Some(run) => record::find(run)?,
        None => record::places()?.into_iter().next().ok_or_else(|| {
            Stop::usage("unknown-run", "no run is recorded yet").help(format!(
                "`{} run` and `{} exec` record theirs",
                program(),
                program()
            ))
        })?,
    };
    let history = History::read(&place)?;
    let mut out = Output::stdout();
    if json {
        let failures: Vec<&Failure> = history.failures.values().collect();
        let event = list::about("run", &place, &history).with("journal", place.journal().to_string_lossy());
        out.line(event.with("failures", failures).to_string())?;
        return out.flush();
    }
    for (name, text) in facts(&place, &history) {
        out.line(format!("{name:9} {text}"))?;
    }
    for failure in history.failures.values().take(SHOWN) {
        let Failure { index, source, status, input, message } = failure;
        let [input, message] = [input, message].map(|text| words::shown(text, 60));
        out.line(format!("{:>8}  #{index} {input}  {source}: {message}", status.to_uppercase()))?;
    }
    if history.failures.len() > SHOWN {
        out.line(format!("          and {} more", history.failures.len() - SHOWN))?;
    }
    let over = !record::is_open(&place);
    if over && history.total.is_none_or(|total| history.ok < total) {
        out.line(format!("continue  {} runs resume {}", program(), place.id))?;
    }
    out.flush()
}

fn facts(place: &Place, history: &History) -> Vec<(&'static str, String)> {
    let header = &history.header;
    let typed: Vec<_> = header.words.iter().map(Word::as_os).collect();
    let line = shell::line(typed.iter().map(|word| word.as_encoded_bytes()));
    let of = history.total.map_or(String::new(), |total| format!(" of {total}"));
    let mut status = format!("{}: {}{of} ok", list::status(place, history), history.ok);
    if !history.failures.is_empty() {
        status += &format!(", {} failed", history.failures.len());
    }
    if let Some(end) = &history.end {
        let took = Duration::try_from_secs_f64(end.wall_s).unwrap_or_default();
        status += &format!("; took {}, exit code {}", words::time(took), end.exit_code);
    }
    let mut facts = vec![
        ("run", place.id.clone()),
        ("typed", words::shown(&format!("{} {}", header.program, String::from_utf8_lossy(&line)), 2000)),
        ("in", words::shown(&header.cwd.as_os().to_string_lossy(), 400)),
        ("started", format!("{} on {}, process {}", header.time, words::shown(&header.host, 80), history.pid)),
        ("status", status),
        ("inputs", words::shown(&header.inputs.join(", "), 200)),
    ];
    if let Some(output) = &header.output {
        facts.push(("results", words::shown(&output.as_os().to_string_lossy(), 400)));
    }
    facts.push(("record", words::shown(&place.folder.to_string_lossy(), 400)));
    if let Ok(kept) = place.folder.join(Spool::FIRST).metadata() {
        facts.push(("kept", format!("what was read from standard input, {} bytes", kept.len())));
    }
    facts
}
