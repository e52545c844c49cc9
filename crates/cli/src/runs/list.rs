//! `runs list`.

use crate::{
    Output, Stop,
    event::Event,
    program,
    record::{self, History, Place},
    words,
};

pub(super) fn run(json: bool) -> Result<(), Stop> {
    let places = record::places()?;
    let mut out = Output::stdout();
    if json {
        for place in &places {
            let line = match History::read(place) {
                Ok(history) => about("run", place, &history),
                Err(stop) => stop.event().with("run", &place.id),
            };
            out.line(line.to_string())?;
        }
        return out.flush();
    }
    if places.is_empty() {
        out.line(format!("no run is recorded yet; `{} run` and `{} exec` do that", program(), program()))?;
        return out.flush();
    }
    let mut rows = vec![["RUN", "STARTED (UTC)", "STATUS", "OK", "WHAT"].map(str::to_owned)];
    for place in &places {
        rows.push(match History::read(place) {
            Ok(history) => row(place, &history),
            Err(_) => [&place.id, "", "unreadable", "", ""].map(str::to_owned),
        });
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        out.line(format!("{}{}", cells.collect::<String>(), row[4]).trim_end())?;
    }
    out.flush()
}

fn row(place: &Place, history: &History) -> [String; 5] {
    let header = &history.header;
    let started = header.time.get(..19).unwrap_or_default().replace('T', " ");
    let total = history.total.map_or(String::new(), |total| format!(" of {total}"));
    let what = match &*header.command {
        "run" => header.task.rsplit("::").next().unwrap_or_default().to_owned(),
        command => format!("{command} {}", header.task),
    };
    [place.id.clone(), started, status(place, history), format!("{}{total}", history.ok), words::shown(&what, 40)]
}

/// How a run stands, in a word.
pub(super) fn status(place: &Place, history: &History) -> String {
    match &history.end {
        _ if record::is_open(place) => "running".to_owned(),
        Some(end) => end.status.clone(),
        // Killed, or the machine went down.
        None => "cut off".to_owned(),
    }
}

/// A run as an event.
pub(super) fn about(name: &str, place: &Place, history: &History) -> Event {
    let header = &history.header;
    let words: Vec<_> = header.words.iter().map(|word| word.as_os().to_string_lossy().into_owned()).collect();
    Event::new(name)
        .with("run", &place.id)
        .with("started", &header.time)
        .with("status", status(place, history))
        .with("command", &header.command)
        .with("task", &header.task)
        .with("words", words)
        .with("cwd", header.cwd.as_os().to_string_lossy())
        .with("total", history.total)
        .with("ok", history.ok)
        .with("failed", history.failures.len())
        .with("end", &history.end)
}
