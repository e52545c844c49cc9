//! What was not as it should be.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use taskloom::{Cancel, Kind, TaskError};
use taskloom_tests::process::Holdings;

use crate::{
    Summary,
    orders::{Antic, Order, Reply},
};

pub(crate) type Outcome = Result<Reply, TaskError>;

/// How long threads and processes that are ending have for it.
const SETTLING: Duration = Duration::from_secs(3);

/// One line for each thing that went wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Handles without an outcome.
    pub(crate) lost: Vec<String>,
    /// What happened twice and must happen once.
    pub(crate) twice: Vec<String>,
    /// What was there after the pool and not before.
    pub(crate) leaks: Vec<String>,
    /// Values and outcomes that cannot be.
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        [&self.lost, &self.twice, &self.leaks, &self.wrong].iter().all(|kind| kind.is_empty())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("lost", &self.lost), ("twice", &self.twice), ("leak", &self.leaks), ("wrong", &self.wrong)];
        for (name, lines) in kinds {
            lines.iter().take(20).try_for_each(|line| writeln!(f, "  {name}: {line}"))?;
            if lines.len() > 20 {
                writeln!(f, "  {name}: and {} more", lines.len() - 20)?;
            }
        }
        Ok(())
    }
}

/// What a task was, and what became of it.
pub(crate) struct Told {
    pub(crate) order: Order,
    /// What its first cancellation said.
    pub(crate) cancel: Option<Cancel>,
    /// `None` if nobody asked: its map was dropped.
    pub(crate) outcome: Option<Outcome>,
}

/// What a round allows.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) timed: bool,
    /// Tasks that take too much memory are killed.
    pub(crate) hungry: bool,
    pub(crate) attempts: u32,
    /// The pool ended before its tasks.
    pub(crate) ends_early: bool,
    /// Every task must have been told.
    pub(crate) all_told: bool,
}

/// Workers that may have died of a strike.
#[derive(Debug, Default)]
pub(crate) struct Struck {
    workers: HashSet<u32>,
    /// Those that wrote nonsense, whatever else.
    garbled: HashSet<u32>,
}

/// Counts the strikes.
pub(crate) fn strikes(journal: &[String], summary: &mut Summary) -> Struck {
    let mut struck = Struck::default();
    for line in journal {
        let Some((side, worker, place, action)) = words(line) else { continue };
        *summary.strikes.entry(action.to_lowercase()).or_default() += 1;
        *summary.places.entry(format!("{side} {place} {action}")).or_default() += 1;
        if action != "Pause" {
            struck.workers.extend(worker.parse::<u32>());
        }
        if action == "Garble" {
            struck.garbled.extend(worker.parse::<u32>());
        }
    }
    struck
}

fn words(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?, words.next()?, words.next()?))
}

/// Can each outcome be, and has every worker's end been blamed on one task at most?
pub(crate) fn outcomes(told: &[Told], struck: &Struck, limits: Limits, summary: &mut Summary, findings: &mut Findings) {
    let mut blamed: HashMap<u32, Vec<u64>> = HashMap::new();
    for Told { order, cancel, outcome } in told {
        let number = order.number;
        let Some(outcome) = outcome else {
            if limits.all_told {
                findings.lost.push(format!("task {number} has no outcome"));
            }
            continue;
        };
        let kind = outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded);
        *summary.outcomes.entry(format!("{kind:?}").to_lowercase()).or_default() += 1;
        let may_be = match outcome {
            Ok(reply) => {
                if !reply.answers(order) {
                    findings.wrong.push(format!("task {number} has the value of another, or a damaged one"));
                }
                !matches!(order.antic, Antic::Fail | Antic::Panic | Antic::Kill | Antic::Exit)
            }
            Err(TaskError::Failed(_)) => order.antic == Antic::Fail,
            Err(TaskError::Panicked(_)) => order.antic == Antic::Panic,
            Err(TaskError::Crashed(death)) => {
                blamed.entry(death.worker).or_default().push(number);
                let by_us = limits.timed || limits.ends_early || cancel.is_some();
                by_us || struck.workers.contains(&death.worker)
            }
            Err(TaskError::OutOfMemory(death)) => {
                blamed.entry(death.worker).or_default().push(number);
                limits.hungry && matches!(order.antic, Antic::Gorge(_))
            }
            Err(TaskError::TimedOut(_)) => limits.timed,
            Err(TaskError::Cancelled) => limits.ends_early || cancel.is_some(),
            Err(_) => false,
        };
        if !may_be {
            findings.wrong.push(format!(
                "task {number} ({:?}, {cancel:?}) cannot end so: {:?}",
                order.antic,
                outcome.as_ref().map(|reply| reply.attempt)
            ));
        }
    }
    for (worker, tasks) in blamed {
        // Who wrote nonsense is not believed whatever it says, and what had begun behind it may die too.
        if tasks.len() > 1 + usize::from(struck.garbled.contains(&worker)) {
            findings.twice.push(format!("the end of worker {worker} costs tasks {tasks:?}"));
        }
    }
}

/// Has every attempt begun once at most, and what succeeded once exactly?
pub(crate) fn bodies(journal: &[String], told: &[Told], limits: Limits, findings: &mut Findings) {
    let mut begun: HashMap<(u64, u32), u32> = HashMap::new();
    let mut last: HashMap<u64, u32> = HashMap::new();
    for line in journal {
        let numbers =
            line.split_once(' ').and_then(|(number, attempt)| Some((number.parse().ok()?, attempt.parse().ok()?)));
        let Some((number, attempt)) = numbers else {
            findings.wrong.push(format!("`{line}` in the journal of bodies"));
            continue;
        };
        *begun.entry((number, attempt)).or_default() += 1;
        let last = last.entry(number).or_default();
        *last = attempt.max(*last);
        if attempt == 0 || attempt > limits.attempts {
            findings.twice.push(format!("attempt {attempt} at task {number} of {} allowed", limits.attempts));
        }
    }
    for ((number, attempt), times) in begun.iter().filter(|(_, times)| **times > 1) {
        findings.twice.push(format!("attempt {attempt} at task {number} began {times} times"));
    }
    for Told { order: Order { number, .. }, cancel, outcome } in told {
        if let Some(Ok(reply)) = outcome
            && last.get(number) != Some(&reply.attempt)
        {
            let last = last.get(number);
            findings
                .wrong
                .push(format!("task {number} succeeded at attempt {}, and began last at {last:?}", reply.attempt));
        }
        if *cancel == Some(Cancel::Prevented) && limits.attempts == 1 && last.contains_key(number) {
            findings.wrong.push(format!("task {number} began although its start was prevented"));
        }
    }
}

/// Is everything gone that was not there before?
pub(crate) fn leaks(before: &Holdings, findings: &mut Findings) {
    let start = Instant::now();
    loop {
        let left = left_over(before, &Holdings::now());
        if left.is_empty() {
            return;
        }
        if start.elapsed() >= SETTLING {
            findings.leaks.extend(left);
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What is there now and was not before.
fn left_over(before: &Holdings, now: &Holdings) -> Vec<String> {
    fn more<T: fmt::Display>(
        what: &str,
        before: impl IntoIterator<Item = T>,
        now: impl IntoIterator<Item = T>,
    ) -> Vec<String> {
        let mut before: Vec<_> = before.into_iter().map(|one| one.to_string()).collect();
        let now = now.into_iter().map(|one| one.to_string());
        let is_new = |one: &String| match before.iter().position(|known| known == one) {
            Some(at) => {
                before.swap_remove(at);
                false
            }
            None => true,
        };
        now.filter(is_new).map(|one| format!("{what} {one}")).collect()
    }
    [
        more("thread", &before.threads, &now.threads),
        more("descriptor", &before.descriptors, &now.descriptors),
        more("process", &before.processes, &now.processes),
        more("mapping", &before.mappings, &now.mappings),
        more("file", &before.files, &now.files),
    ]
    .concat()
}

/// Outcomes that came in any order, by the numbers of their tasks. Those that do not tell theirs fill the gaps.
pub(crate) fn sorted(outcomes: Vec<Outcome>, count: usize, findings: &mut Findings) -> Vec<Option<Outcome>> {
    let mut sorted: Vec<Option<Outcome>> = Vec::new();
    sorted.resize_with(count, || None);
    let (values, errors): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    for outcome in values {
        let number = outcome.as_ref().map_or(u64::MAX, |reply| reply.number);
        match sorted.get_mut(number as usize) {
            Some(place @ None) => *place = Some(outcome),
            Some(Some(_)) => findings.twice.push(format!("a map yielded task {number} twice")),
            None => findings.wrong.push(format!("a map yielded task {number} of {count}")),
        }
    }
    let gaps = sorted.iter_mut().filter(|place| place.is_none());
    gaps.zip(errors).for_each(|(place, error)| *place = Some(error));
    sorted
}
