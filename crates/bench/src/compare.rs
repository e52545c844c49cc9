//! Ours and a peer in turn, and what comes of it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    pub(crate) ratios: Vec<f64>,
    /// What cannot be said as a ratio.
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn note(
        what: impl Into<String>,
        ours: impl Into<String>,
        peer: impl Into<String>,
        note: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), ours: ours.into(), peer: peer.into(), ratios: Vec::new(), note: note.into() }
    }

    pub(crate) fn to_json(&self, measure: &str) -> Value {
        json!({"v": 1, "measure": measure, "what": self.what, "ours": self.ours, "peer": self.peer, "ratios": self.ratios, "note": self.note})
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<44} {:>12} {:>12}", self.what, self.ours, self.peer)?;
        if let (Some(median), Some(least), Some(most)) = (median(&self.ratios), least(&self.ratios), most(&self.ratios))
        {
            write!(f, " {median:>8.2}  {least:.2} - {most:.2}")?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, "  {}", self.note) }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Time of one; the ratio is ours over the peer's: less is better.
    Time,
    /// How many a second; the ratio is ours over the peer's: more is better.
    Rate,
}

/// Runs both in turn. Each is given a number of tasks and does them all.
pub(crate) fn in_turn(
    what: &str,
    unit: Unit,
    rounds: usize,
    mut ours: (usize, impl FnMut(usize) -> Result<()>),
    mut peer: (usize, impl FnMut(usize) -> Result<()>),
) -> Result<Row> {
    // The first round warms both up.
    ours.1(ours.0 / 10 + 1)?;
    peer.1(peer.0 / 10 + 1)?;
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        our_times.push(per_task(ours.0, &mut ours.1)?);
        peer_times.push(per_task(peer.0, &mut peer.1)?);
    }
    let ratios = our_times
        .iter()
        .zip(&peer_times)
        .map(|(ours, peer)| if unit == Unit::Time { ours / peer } else { peer / ours })
        .collect();
    let show = |times: &[f64]| {
        median(times).map_or_else(String::new, |time| {
            if unit == Unit::Time { time_text(time) } else { format!("{:.0}/s", 1.0 / time) }
        })
    };
    Ok(Row { what: what.to_owned(), ours: show(&our_times), peer: show(&peer_times), ratios, note: String::new() })
}

fn per_task(tasks: usize, run: &mut impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run(tasks)?;
    Ok(start.elapsed().as_secs_f64() / tasks as f64)
}

pub(crate) fn time_text(seconds: f64) -> String {
    format!("{:.1?}", Duration::from_secs_f64(seconds))
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}
