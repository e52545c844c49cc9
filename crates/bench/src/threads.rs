//! Pools of threads: many small tasks with a handle each, and one at a time.

use std::sync::mpsc;

use anyhow::{Result, ensure};
use taskloom::threads;

use crate::{
    Plan,
    compare::{Row, Unit, in_turn},
    cores,
};

pub(crate) fn rate(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(1_000_000);
    let pool = threads::pool().workers(cores()).build()?;
    let peer = threadpool::ThreadPool::new(cores());
    let ours = |n: usize| {
        let handles = (0..n as u64).map(|i| pool.submit(move || i + 1)).collect::<Result<Vec<_>, _>>()?;
        let mut sum = 0;
        for handle in handles {
            sum += handle.join()?;
        }
        checked(n, sum)
    };
    let threadpool = |n: usize| one_shots(n, |job| peer.execute(job));
    let rayon = |n: usize| one_shots(n, rayon::spawn);
    Ok(vec![
        in_turn(
            "threads, a handle each / threadpool, one-shots",
            Unit::Rate,
            plan.rounds(),
            (tasks, ours),
            (tasks, threadpool),
        )?,
        in_turn("threads, a handle each / rayon, one-shots", Unit::Rate, plan.rounds(), (tasks, ours), (tasks, rayon))?,
    ])
}

pub(crate) fn round_trip(plan: &Plan) -> Result<Vec<Row>> {
    let trips = plan.tasks(20_000);
    let pool = threads::pool().workers(1).build()?;
    let ours = |n: usize| {
        let mut sum = 0;
        for i in 0..n as u64 {
            sum += pool.submit(move || i + 1)?.join()?;
        }
        checked(n, sum)
    };
    let rayon = |n: usize| {
        let mut sum = 0;
        for i in 0..n as u64 {
            let (sender, receiver) = mpsc::sync_channel(1);
            rayon::spawn(move || sender.send(i + 1).expect("the receiver waits"));
            sum += receiver.recv()?;
        }
        checked(n, sum)
    };
    Ok(vec![in_turn(
        "threads, round trip / rayon::spawn + channel",
        Unit::Time,
        plan.rounds(),
        (trips, ours),
        (trips, rayon),
    )?])
}

fn one_shots(n: usize, mut execute: impl FnMut(Box<dyn FnOnce() + Send>)) -> Result<()> {
    let mut receivers = Vec::with_capacity(n);
    for i in 0..n as u64 {
        let (sender, receiver) = mpsc::sync_channel(1);
        execute(Box::new(move || sender.send(i + 1).expect("the receiver waits")));
        receivers.push(receiver);
    }
    let mut sum = 0;
    for receiver in receivers {
        sum += receiver.recv()?;
    }
    checked(n, sum)
}

/// A figure counts only if the work was done.
pub(crate) fn checked(n: usize, sum: u64) -> Result<()> {
    let n = n as u64;
    ensure!(sum == n * (n + 1) / 2, "the sum of {n} results is {sum}");
    Ok(())
}
