//! Strikes worker processes at places in the protocol, and checks that nothing is lost, run twice or left.
//!
//! ```text
//! seed ── round K ──▶ a pool, tasks, a plan of strikes ──▶ outcomes, journal of bodies, holdings ──▶ verdict
//! ```
//!
//! A round is one pool from its build to its end. Everything in it follows from the run's seed and the round's number,
//! except the clock: the same round strikes the same visits of the same places, and threads may meet otherwise.
//!
//! The temporary folder must be nobody else's while this runs: what appears in it is taken for left over.

#![forbid(unsafe_code)]

mod dice;
mod dog;
mod orders;
mod round;
mod verdict;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use taskloom_tests::scratch::Scratch;

use round::Round;
use verdict::Findings;

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Rounds begin until this long has passed.
    Time(Duration),
    /// So many rounds.
    Rounds(u64),
    /// This round alone.
    Only(u64),
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decides what the rounds are.
    pub seed: u64,
    /// How long to go on.
    pub until: Until,
    /// Say what each round is, and what came of it.
    pub verbose: bool,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Summary {
    rounds: u64,
    tasks: u64,
    /// By what was done.
    strikes: BTreeMap<String, u64>,
    /// By place and by what was done.
    places: BTreeMap<String, u64>,
    /// By kind.
    outcomes: BTreeMap<String, u64>,
    failed: Option<(u64, Findings)>,
}

impl Summary {
    /// Whether everything was as it should be.
    pub fn is_good(&self) -> bool {
        self.failed.is_none()
    }

    /// How many strikes there were.
    pub fn strikes(&self) -> u64 {
        self.strikes.values().sum()
    }

    /// How often each place was struck, and how: one line each.
    pub fn places(&self) -> String {
        self.places.iter().map(|(place, count)| format!("{count:>6}  {place}\n")).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "{} rounds, {} tasks, {} strikes ({}), outcomes: {}; ",
            self.rounds,
            self.tasks,
            self.strikes(),
            list(&self.strikes),
            list(&self.outcomes)
        )?;
        let nothing = Findings::default();
        let found = self.failed.as_ref().map_or(&nothing, |(_, found)| found);
        write!(
            f,
            "lost {}, twice {}, leaks {}, wrong {}",
            found.lost.len(),
            found.twice.len(),
            found.leaks.len(),
            found.wrong.len()
        )
    }
}

/// Runs rounds until it is time, or one of them fails; that one is told on standard error.
pub fn run(options: &Options) -> Summary {
    let scratch = Scratch::new();
    let dog = dog::Dog::start();
    let start = Instant::now();
    // Threads that stay once they have been needed are there before the first comparison.
    round::calm(&scratch);
    let mut summary = Summary::default();
    let mut number = if let Until::Only(number) = options.until { number } else { 0 };
    loop {
        let done = match options.until {
            Until::Time(limit) => start.elapsed() >= limit,
            Until::Rounds(count) => summary.rounds >= count,
            Until::Only(_) => summary.rounds >= 1,
        };
        if done || !summary.is_good() {
            break;
        }
        let round = Round::new(options.seed, number);
        if options.verbose {
            println!("{round}");
        }
        let began = Instant::now();
        let found = round.run(&scratch, &mut summary);
        if options.verbose {
            println!("  {:?}, {} strikes so far", began.elapsed(), summary.strikes());
        }
        if !found.is_empty() {
            eprintln!("seed {} {round}\n{found}", options.seed);
            eprintln!("again: cargo xtask chaos --seed {} --round {number}", options.seed);
            summary.failed = Some((number, found));
        }
        summary.rounds += 1;
        number += 1;
    }
    drop(dog);
    summary
}
