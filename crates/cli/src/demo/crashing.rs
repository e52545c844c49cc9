//! (d) Tasks that take their process with them, among many that do not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use taskloom::{Event, Handle, TaskError};
use taskloom_cli::{Stop, exit, terminal, terminal::Tone, words};

use super::{Stage, broken, rows};
use crate::tasks::{exit_with, panic_with, segfault, spin};

const GOOD: u64 = 200;

/// How many of the good tasks succeeded, and how many workers died meanwhile.
pub(super) struct Survived {
    pub(super) good: usize,
    pub(super) deaths: usize,
}

pub(super) fn run(stage: &mut Stage) -> Result<Option<Survived>, Stop> {
    stage
        .heading('d', &format!("Crashing: {GOOD} good tasks, and three that are not, on {} workers", stage.workers))?;
    if !rows::has("procs") {
        stage.line(&rows::not_built_in("procs"))?;
        return Ok(None);
    }
    let seen = submit_all(stage.workers).map_err(|error| broken("the pool failed", error))?;
    let failed = GOOD as usize - seen.good;
    for bad in &seen.bad {
        show(stage, bad)?;
    }
    let tone = if failed == 0 { Tone::Good } else { Tone::Bad };
    let verdict = terminal::paint(&format!("{} of {GOOD}", seen.good), tone, stage.colour);
    stage.line(&format!("procs           {verdict} good tasks succeeded; the dead were replaced"))?;
    stage.line("inline, threads not tried: the first of the three would end this demo")?;
    if failed > 0 {
        return Err(Stop::new(
            exit::FAILED,
            "demo",
            format!("{} were lost to others' crashes", words::count(failed, "task")),
        ));
    }
    Ok(Some(Survived { good: seen.good, deaths: seen.bad.iter().filter(|bad| bad.is_death()).count() }))
}

/// One of the three, and what is known of its end.
struct Bad {
    name: &'static str,
    outcome: Result<(), TaskError>,
    worker: Option<u32>,
    pid: Option<u32>,
}

impl Bad {
    fn is_death(&self) -> bool {
        matches!(self.outcome, Err(TaskError::Crashed(_)))
    }
}

struct Seen {
    good: usize,
    bad: Vec<Bad>,
}

fn submit_all(workers: usize) -> Result<Seen, TaskError> {
    let pids: Arc<Mutex<HashMap<u32, u32>>> = Arc::default();
    let noted = pids.clone();
    let pool = taskloom::pool("procs")?
        .workers(workers)
        .on_event(move |event| {
            if let Event::WorkerStarted { worker, pid, .. } = event {
                noted.lock().unwrap_or_else(PoisonError::into_inner).insert(*worker, *pid);
            }
        })
        .build()?;
    // The three stand in the middle of the others, so that there is something to lose.
    let good =
        |seeds: std::ops::Range<u64>| seeds.map(|seed| pool.submit(spin::task(seed))).collect::<Result<Vec<_>, _>>();
    let mut handles: Vec<Handle<u64>> = good(0..GOOD / 4)?;
    let null = pool.submit(segfault::task())?;
    handles.extend(good(GOOD / 4..GOOD / 2)?);
    let exit = pool.submit(exit_with::task(3))?;
    handles.extend(good(GOOD / 2..GOOD / 4 * 3)?);
    let panic = pool.submit(panic_with::task("on purpose".to_owned()))?;
    handles.extend(good(GOOD / 4 * 3..GOOD)?);

    let good = handles.into_iter().filter_map(|handle| handle.join().ok()).count();
    let worker = |finished: Option<taskloom::Finished>| finished.and_then(|finished| finished.worker);
    let mut bad =
        vec![ended("segfault", null, worker), ended("exit_with", exit, worker), ended("panic_with", panic, worker)];
    pool.join();
    let pids = pids.lock().unwrap_or_else(PoisonError::into_inner);
    for bad in &mut bad {
        bad.pid = bad.worker.and_then(|worker| pids.get(&worker).copied());
    }
    Ok(Seen { good, bad })
}

fn ended<T>(
    name: &'static str,
    mut handle: Handle<T>,
    worker: impl Fn(Option<taskloom::Finished>) -> Option<u32>,
) -> Bad {
    // Not `join`: the handle is asked once more, for its worker.
    let outcome = handle.join_timeout(Duration::MAX).unwrap_or(Err(TaskError::Closed)).map(drop);
    Bad { name, outcome, worker: worker(handle.summary()), pid: None }
}

/// The record of one end: worker, process, how, where, last words.
fn show(stage: &mut Stage, bad: &Bad) -> Result<(), Stop> {
    let (word, how, last) = match &bad.outcome {
        Err(TaskError::Crashed(death)) => {
            let last = death.stderr.last().map(|line| format!("last line on stderr: {}", words::shown(line, 50)));
            ("CRASH", format!("worker {} (pid {}) {}", death.worker, death.pid, death.how()), last)
        }
        Err(TaskError::Panicked(panic)) => {
            let worker = bad.worker.map_or(String::new(), |worker| format!("worker {worker} "));
            let pid = bad.pid.map_or(String::new(), |pid| format!("(pid {pid}) "));
            let place = panic.place.as_deref().unwrap_or("an unknown place");
            let how = format!("{worker}{pid}panicked: {}", words::shown(&panic.message, 50));
            ("PANIC", how, Some(format!("at {place}; the worker went on")))
        }
        Err(other) => ("?", other.to_string(), None),
        Ok(()) => ("?", "succeeded".to_owned(), None),
    };
    let word = terminal::paint(word, Tone::Bad, stage.colour);
    stage.line(&format!("{word} {:<10} {how}", bad.name))?;
    last.map_or(Ok(()), |last| stage.line(&format!("{:17}{last}", "")))
}
