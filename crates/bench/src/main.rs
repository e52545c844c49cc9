//! Taskloom beside its peers, as ratios inside one run.
//!
//! ```text
//! cargo xtask bench [--quick] [--only WORD] [--json FILE] [--markdown]
//! ```
//!
//! Each measure runs ours and its peers in turn, several rounds, and prints the median of the rounds' ratios with
//! their range. `P1` to `P14` have goals, and the table says which are met; no figure makes the program fail.
//! What is measured, and why: `docs/performance.md`, whose table `--markdown` writes.

#![deny(unsafe_code)]

mod bytes;
mod cli;
mod compare;
mod counter;
mod faults;
mod growth;
#[allow(unsafe_code, reason = "the allocator's settings")]
mod heap;
mod idle;
#[allow(unsafe_code, reason = "shared memory")]
mod limits;
mod memory;
mod pingpong;
mod procs;
mod python;
mod report;
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
    markdown: bool,
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

/// A measure: its number in the plan, its name, and what it does.
struct Measure {
    id: &'static str,
    name: &'static str,
    run: fn(&Plan) -> Result<Vec<Row>>,
}

const fn measure(id: &'static str, name: &'static str, run: fn(&Plan) -> Result<Vec<Row>>) -> Measure {
    Measure { id, name, run }
}

const MEASURES: &[Measure] = &[
    measure("P1", "procs-round-trip", procs::round_trip),
    measure("P2", "procs-rate", procs::rate),
    measure("P3", "procs-map", procs::map),
    measure("P4", "procs-bytes", bytes::large),
    measure("P5", "procs-start", procs::start),
    measure("P6", "threads-rate", threads::rate),
    measure("P7", "threads-round-trip", threads::round_trip),
    measure("P8", "threads-waiting", threads::waiting),
    measure("P9", "growth", growth::growth),
    measure("P10", "memory-worker", memory::worker),
    measure("P11", "idle", idle::idle),
    measure("P12", "cli-run", cli::run),
    measure("P13", "cli-exec", cli::exec),
    measure("P14", "cli-help", cli::help),
    measure("", "busy", idle::busy),
    measure("", "procs-pending", procs::pending),
    measure("", "kills", faults::kills),
    measure("", "replacement", faults::replacement),
    measure("", "timeout", faults::timeout),
    measure("", "deaths-memory", faults::deaths_memory),
    measure("", "memory-limit", faults::memory_limit),
    measure("", "supervision", supervision::instructions),
    measure("", "cli-journal", cli::journal),
    measure("", "memory-map", memory::lazy_map),
];

impl Measure {
    /// A measure's number means it alone; any other word, all whose names have it.
    fn is_meant(&self, word: &str) -> bool {
        self.id.eq_ignore_ascii_case(word) || self.name.contains(word)
    }
}

fn main() -> Result<ExitCode> {
    counter::join_in()?;
    taskloom::init();
    procspawn::init();
    let mut args = std::env::args().skip(1);
    let mut plan = Plan { quick: false, only: None, json: None, markdown: false };
    while let Some(arg) = args.next() {
        match &*arg {
            "--quick" => plan.quick = true,
            "--only" => plan.only = Some(args.next().context("--only needs a word")?),
            "--json" => plan.json = Some(args.next().context("--json needs a file")?.into()),
            // What must not be mixed with other measures runs in a process of its own.
            "--markdown" => plan.markdown = true,
            other => return part(other, &mut args),
        }
    }
    let chosen: Vec<_> =
        MEASURES.iter().filter(|measure| plan.only.as_ref().is_none_or(|word| measure.is_meant(word))).collect();
    if chosen.is_empty() {
        let names: Vec<_> = MEASURES.iter().map(|measure| measure.name).collect();
        bail!("no measure has that word; there are P1 to P14, {}", names.join(", "));
    }
    println!("{}; ratios are ours to the peer's, medians of up to {} rounds\n", report::machine(), plan.rounds());
    println!("{}", if plan.markdown { report::markdown_head() } else { report::head() });
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for measure in chosen {
        for row in (measure.run)(&plan).with_context(|| format!("measuring {}", measure.name))? {
            println!("{}", if plan.markdown { row.markdown() } else { row.line() });
            json.push(row.json(measure.name));
            rows.push(row);
        }
    }
    println!("\n{}", report::summary(&rows));
    if let Some(path) = &plan.json {
        std::fs::write(path, serde_json::to_string_pretty(&json)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What must not be mixed with other measures runs in a process of its own, and so does the other side of some.
fn part(name: &str, args: &mut impl Iterator<Item = String>) -> Result<ExitCode> {
    let mut word = || args.next().with_context(|| format!("{name} needs more words"));
    match name {
        "--end-at-once" => Ok(ExitCode::SUCCESS),
        "--rest" => memory::rest("ready"),
        "--idle" => idle::pool(&word()?, word()?.parse()?),
        "--peer-pending" => procs::peer_pending(word()?.parse()?),
        "--deaths" => faults::die(word()?.parse()?),
        counter::COUNTED => supervision::counted(&word()?, &word()?, word()?.parse()?),
        "--grow" => memory::grow(&word()?, word()?.parse()?),
        "--pong" => pingpong::pong(&word()?),
        "--echo" => pingpong::echo(),
        "--channel" => pingpong::channel(word()?, word()?.parse()?),
        other => bail!("unknown argument `{other}`; there are --quick, --only WORD, --json FILE and --markdown"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
