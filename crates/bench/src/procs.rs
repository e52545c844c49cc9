//! Pools of worker processes: one task at a time, many, and processes for one task alone.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, anyhow, ensure};
use taskloom::procs;

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn, mib},
    memory::grown_elsewhere,
    pingpong::{Channels, Pipes, Spinning},
    python,
    tasks::{self, checked, next, one_by_one, submit_and_join},
    threads::one_shots,
};

pub(crate) const WORKERS: usize = 2;

/// P1: one task at a time, on one worker.
pub(crate) fn round_trip(plan: &Plan) -> Result<Vec<Row>> {
    let trips = plan.tasks(20_000);
    let pool = procs::pool().workers(1).build()?;
    let peer = peer_pool(1)?;
    let (channels, mut pipes) = (Channels::start(0)?, Pipes::start()?);
    let ours = Contender::new("", trips, |n| one_by_one(&pool, n));
    let peers = [
        Contender::new("procspawn", trips / 2, |n| peer_one_by_one(&peer, n)).must(Bound::AtMost(0.1)),
        // Its other side takes a core as long as it lives: only while it is measured.
        Contender::timed("shared memory, both spin", trips * 10, |n| Ok(Spinning::start()?.run(n)))
            .aim(Bound::AtMost(4.0)),
        Contender::new("a byte through two pipes", trips, |n| pipes.run(n)),
        Contender::new("ipc-channel, bare", trips / 2, |n| channels.run(n)),
        python::contender("Pool.apply", 1, trips / 5),
        python::contender("ProcessPoolExecutor, one at a time", 1, trips / 10),
        python::contender("loky, one at a time", 1, trips / 20),
    ];
    in_turn("P1", "procs, warm round trip", Unit::Time, plan.rounds(), ours, peers)
}

/// P2: many small tasks, a handle each.
pub(crate) fn rate(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(1_000_000);
    let pool = procs::pool().workers(WORKERS).build()?;
    let peer = peer_pool(WORKERS)?;
    let ours = Contender::new("", tasks, |n| submit_and_join(&pool, n));
    let peers = [
        Contender::new("procspawn", plan.tasks(10_000), |n| peer_submit_and_join(&peer, n, PENDING))
            .must(Bound::AtLeast(30.0)),
        python::contender("Pool.map(chunksize=1)", WORKERS, tasks / 20).must(Bound::AtLeast(10.0)),
        Contender::new("rayon::spawn, one-shots", tasks, |n| one_shots(n, rayon::spawn)).aim(Bound::AtLeast(1.0)),
        python::contender("ProcessPoolExecutor", WORKERS, tasks / 100),
        python::contender("loky", WORKERS, tasks / 200),
        python::contender("joblib, batches of 1", WORKERS, tasks / 500),
    ];
    in_turn("P2", "procs, a handle each", Unit::Rate, plan.rounds(), ours, peers)
}

/// P3: a map in chunks of automatic size, and what it costs the parent in memory.
pub(crate) fn map(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(10_000_000);
    let pool = procs::pool().workers(WORKERS).build()?;
    let ours = Contender::new("", tasks, |n| tasks::map(&pool, n));
    let peers = [
        python::contender("Pool.map", WORKERS, tasks / 5).must(Bound::AtLeast(1.0)).aim(Bound::AtLeast(4.0)),
        Contender::new("ours, a handle each", tasks / 10, |n| submit_and_join(&pool, n)),
    ];
    let what = format!("procs, map of {tasks} in chunks");
    // Seconds each: fewer rounds.
    let mut rows = in_turn("P3", &what, Unit::Rate, plan.rounds().min(3), ours, peers)?;
    let grown = mib(grown_elsewhere(&["--grow", "procs", &tasks.to_string()])?);
    let growth = Row::note(what, format!("{grown:.1} MiB"), "highest growth of the parent's resident memory");
    rows.push(Row { aim: Some(Bound::AtMost(32.0)), figures: vec![grown], unit: "MiB", ..growth.id("P3") });
    Ok(rows)
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
    let row = Row::note(format!("procs, {PENDING} pending"), "all done", note);
    Ok(vec![Row { versus: "procspawn".to_owned(), theirs: peer_says, ..row }])
}

/// What [`pending`] runs in a process of its own.
pub(crate) fn peer_pending(n: usize) -> Result<ExitCode> {
    peer_submit_and_join(&peer_pool(WORKERS)?, n, n)?;
    Ok(ExitCode::SUCCESS)
}

/// P5: a process for one task.
pub(crate) fn start(plan: &Plan) -> Result<Vec<Row>> {
    let starts = plan.tasks(300);
    let ours = Contender::new("", starts, |n| {
        for i in 0..n as u64 {
            ensure!(procs::spawn(next::task(i))?.join()? == i + 1, "it does its task");
        }
        Ok(())
    });
    let limit = |n: usize| (0..n).try_for_each(|_| start_and_wait());
    let procspawn = |n: usize| {
        for i in 0..n as u64 {
            ensure!(procspawn::spawn(i, |i| i + 1).join()? == i + 1, "it does its task");
        }
        Ok(())
    };
    let peers = [
        Contender::new("fork, exec and wait", starts, limit).must(Bound::AtMost(1.5)).aim(Bound::AtMost(1.15)),
        Contender::new("procspawn::spawn", starts, procspawn),
        python::contender("Process, fork", 1, starts),
    ];
    in_turn("P5", "procs::spawn to result", Unit::Time, plan.rounds(), ours, peers)
}

/// What starting a process costs at least: this program, which ends at once.
pub(crate) fn start_and_wait() -> Result<()> {
    let status = Command::new("/proc/self/exe").arg("--end-at-once").stdin(Stdio::null()).status()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

pub(crate) fn peer_one_by_one(peer: &procspawn::Pool, n: usize) -> Result<()> {
    let mut sum = 0;
    for i in 0..n as u64 {
        sum += procspawn::spawn!(in peer, (i) || i + 1).join()?;
    }
    checked(n, sum)
}

pub(crate) fn peer_pool(workers: usize) -> Result<procspawn::Pool> {
    procspawn::Pool::new(workers).map_err(|e| anyhow!("procspawn: {e}"))
}

/// So many of the peer's calls at a time: each takes descriptors as long as it is pending, and limits are soon reached.
const PENDING: usize = 200;

fn peer_submit_and_join(pool: &procspawn::Pool, n: usize, pending: usize) -> Result<()> {
    let mut sum = 0;
    for start in (0..n).step_by(pending) {
        let part = start as u64..(start + pending).min(n) as u64;
        let handles: Vec<_> = part.map(|i| procspawn::spawn!(in pool, (i) || i + 1)).collect();
        for handle in handles {
            sum += handle.join()?;
        }
    }
    checked(n, sum)
}

fn descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}
