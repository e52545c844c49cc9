//! Pools of worker processes, beside procspawn's.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, anyhow, ensure};
use taskloom::procs;

use crate::{
    Plan,
    compare::{Row, Unit, in_turn},
    tasks::next,
    threads::checked,
};

const WORKERS: usize = 2;

pub(crate) fn round_trip(plan: &Plan) -> Result<Vec<Row>> {
    let pool = procs::pool().workers(1).build()?;
    let peer = peer_pool(1)?;
    let ours = |n: usize| {
        let mut sum = 0;
        for i in 0..n as u64 {
            sum += pool.submit(next::task(i))?.join()?;
        }
        checked(n, sum)
    };
    let procspawn = |n: usize| {
        let mut sum = 0;
        for i in 0..n as u64 {
            sum += procspawn::spawn!(in peer, (i) || i + 1).join()?;
        }
        checked(n, sum)
    };
    let trips = plan.tasks(20_000);
    Ok(vec![in_turn(
        "procs, warm round trip / procspawn",
        Unit::Time,
        plan.rounds(),
        (trips, ours),
        (trips, procspawn),
    )?])
}

pub(crate) fn rate(plan: &Plan) -> Result<Vec<Row>> {
    let pool = procs::pool().workers(WORKERS).build()?;
    let peer = peer_pool(WORKERS)?;
    let ours = |n: usize| submit_and_join(&pool, n);
    // Its descriptors run out with many pending calls, so it runs fewer, and rates are compared.
    let procspawn = |n: usize| peer_submit_and_join(&peer, n);
    let row = in_turn(
        "procs, a handle each / procspawn",
        Unit::Rate,
        plan.rounds(),
        (plan.tasks(200_000), ours),
        (plan.tasks(10_000), procspawn),
    )?;
    Ok(vec![row])
}

/// 100,000 tasks pending on one pool of two workers: descriptors must not grow with them.
pub(crate) fn pending(_: &Plan) -> Result<Vec<Row>> {
    const PENDING: usize = 100_000;
    let pool = procs::pool().workers(WORKERS).build()?;
    submit_and_join(&pool, 1000)?;
    let before = descriptors()?;
    let handles = (0..PENDING as u64).map(|i| pool.submit(next::task(i))).collect::<Result<Vec<_>, _>>()?;
    let during = descriptors()?;
    let mut sum = 0;
    for handle in handles {
        sum += handle.join()?;
    }
    checked(PENDING, sum)?;
    let peer = Command::new(std::env::current_exe()?)
        .args(["--peer-pending", &PENDING.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let last = String::from_utf8_lossy(&peer.stderr)
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect::<String>();
    let peer_says = if peer.status.success() { "all done".to_owned() } else { "died".to_owned() };
    let note = format!(
        "descriptors {before} -> {during}{}",
        if last.is_empty() { String::new() } else { format!("; procspawn: {last}") }
    );
    Ok(vec![Row::note(format!("procs, {PENDING} pending / procspawn"), "all done", peer_says, note)])
}

/// What [`pending`] runs in a process of its own.
pub(crate) fn peer_pending(n: usize) -> Result<ExitCode> {
    peer_submit_and_join(&peer_pool(WORKERS)?, n)?;
    Ok(ExitCode::SUCCESS)
}

/// The same tasks in a map with automatic chunks, beside a handle each.
pub(crate) fn map(plan: &Plan) -> Result<Vec<Row>> {
    let pool = procs::pool().workers(WORKERS).build()?;
    let mapped = |n: usize| {
        let mut sum = 0;
        for result in pool.map((0..n as u64).map(next::task)) {
            sum += result?;
        }
        checked(n, sum)
    };
    let singly = |n: usize| submit_and_join(&pool, n);
    let tasks = plan.tasks(200_000);
    Ok(vec![in_turn(
        "procs, map in chunks / a handle each",
        Unit::Rate,
        plan.rounds(),
        (tasks, mapped),
        (tasks, singly),
    )?])
}

/// A process for one task, beside starting this program and waiting for its end.
pub(crate) fn start(plan: &Plan) -> Result<Vec<Row>> {
    let ours = |n: usize| {
        for i in 0..n as u64 {
            procs::spawn(next::task(i))?.join()?;
        }
        Ok(())
    };
    let limit = |n: usize| {
        for _ in 0..n {
            let status = Command::new("/proc/self/exe").arg("--end-at-once").stdin(Stdio::null()).status()?;
            ensure!(status.success(), "it ended with {status}");
        }
        Ok(())
    };
    let starts = plan.tasks(500);
    Ok(vec![in_turn(
        "procs::spawn to result / fork, exec and wait",
        Unit::Time,
        plan.rounds(),
        (starts, ours),
        (starts, limit),
    )?])
}

fn submit_and_join(pool: &taskloom::Pool<procs::Procs>, n: usize) -> Result<()> {
    let handles = (0..n as u64).map(|i| pool.submit(next::task(i))).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0;
    for handle in handles {
        sum += handle.join()?;
    }
    checked(n, sum)
}

fn peer_pool(workers: usize) -> Result<procspawn::Pool> {
    procspawn::Pool::new(workers).map_err(|e| anyhow!("procspawn: {e}"))
}

fn peer_submit_and_join(pool: &procspawn::Pool, n: usize) -> Result<()> {
    let handles: Vec<_> = (0..n as u64).map(|i| procspawn::spawn!(in pool, (i) || i + 1)).collect();
    let mut sum = 0;
    for handle in handles {
        sum += handle.join()?;
    }
    checked(n, sum)
}

fn descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}
