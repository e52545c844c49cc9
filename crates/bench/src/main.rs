//! Taskloom beside its peers, as ratios inside one run.
//!
//! ```text
//! cargo xtask bench [--quick] [--only WORD] [--json FILE]
//! ```
//!
//! Each measure runs ours and the peer in turn, several rounds, and prints the median of the
//! rounds' ratios with their range. Figures are for reading, never for passing or failing.

#![forbid(unsafe_code)]

mod compare;
mod faults;
mod memory;
mod procs;
mod supervision;
mod tasks;
mod threads;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use compare::Row;

/// What was asked for.
pub(crate) struct Plan {
    /// Fewer tasks and rounds: the whole in under two minutes.
    pub(crate) quick: bool,
    only: Option<String>,
    json: Option<PathBuf>,
}

impl Plan {
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 7 }
    }

    /// `full` tasks, or a tenth of them.
    pub(crate) fn tasks(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

/// A measure: its name, and what it does.
type Measure = (&'static str, fn(&Plan) -> Result<Vec<Row>>);

const MEASURES: &[Measure] = &[
    ("threads-rate", threads::rate),
    ("threads-round-trip", threads::round_trip),
    ("procs-round-trip", procs::round_trip),
    ("procs-rate", procs::rate),
    ("procs-pending", procs::pending),
    ("procs-map", procs::map),
    ("procs-start", procs::start),
    ("kills", faults::kills),
    ("replacement", faults::replacement),
    ("timeout", faults::timeout),
    ("deaths-memory", faults::deaths_memory),
    ("memory-limit", faults::memory_limit),
    ("supervision", supervision::instructions),
    ("memory-worker", memory::worker),
    ("memory-map", memory::lazy_map),
];

fn main() -> Result<ExitCode> {
    taskloom::init();
    procspawn::init();
    let mut args = std::env::args().skip(1);
    let mut plan = Plan { quick: false, only: None, json: None };
    while let Some(arg) = args.next() {
        match &*arg {
            "--quick" => plan.quick = true,
            "--only" => plan.only = Some(args.next().context("--only needs a word")?),
            "--json" => plan.json = Some(args.next().context("--json needs a file")?.into()),
            // What must not be mixed with other measures runs in a process of its own.
            "--end-at-once" => return Ok(ExitCode::SUCCESS),
            "--peer-pending" => return procs::peer_pending(args.next().context("how many?")?.parse()?),
            "--deaths" => return faults::die(args.next().context("how many?")?.parse()?),
            "--counted" => {
                let [backend, limits] = [args.next(), args.next()].map(Option::unwrap_or_default);
                return supervision::counted(&backend, &limits, args.next().context("how many?")?.parse()?);
            }
            "--grow" => {
                return memory::grow(
                    &args.next().context("which backend?")?,
                    args.next().context("how many?")?.parse()?,
                );
            }
            other => bail!("unknown argument `{other}`; there are --quick, --only WORD and --json FILE"),
        }
    }
    let chosen: Vec<_> =
        MEASURES.iter().filter(|(name, _)| plan.only.as_ref().is_none_or(|word| name.contains(&**word))).collect();
    if chosen.is_empty() {
        bail!(
            "no measure has that word; there are {}",
            MEASURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        );
    }
    println!("{} cores; ratios are ours to the peer's, medians of {} rounds with their range", cores(), plan.rounds());
    println!("{:<44} {:>12} {:>12} {:>8}  range", "measure", "ours", "peer", "ratio");
    let mut rows = Vec::new();
    for (name, measure) in chosen {
        for row in measure(&plan).with_context(|| format!("measuring {name}"))? {
            println!("{row}");
            rows.push(row.to_json(name));
        }
    }
    if let Some(path) = &plan.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
