//! Pools of threads: many small tasks with a handle each, one at a time, and very many that wait.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use taskloom::threads;

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn},
    cores, python,
    tasks::{checked, one_by_one, submit_and_join},
};

/// P6: many small tasks, a handle each.
pub(crate) fn rate(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(1_000_000);
    let pool = threads::pool().workers(cores()).build()?;
    let peer = threadpool::ThreadPool::new(cores());
    let ours = Contender::new("", tasks, |n| submit_and_join(&pool, n));
    let goals = |peer: Contender<'static>| peer.must(Bound::AtLeast(1.0)).aim(Bound::AtLeast(3.0));
    let peers = [
        goals(Contender::new("threadpool, one-shots", tasks, move |n| one_shots(n, |job| peer.execute(job)))),
        goals(Contender::new("rayon::spawn, one-shots", tasks, |n| one_shots(n, rayon::spawn))),
        python::contender("ThreadPoolExecutor", cores(), tasks / 50),
    ];
    in_turn("P6", "threads, a handle each", Unit::Rate, plan.rounds(), ours, peers)
}

/// P7: one task at a time.
pub(crate) fn round_trip(plan: &Plan) -> Result<Vec<Row>> {
    let trips = plan.tasks(20_000);
    let pool = threads::pool().workers(1).build()?;
    let ours = Contender::new("", trips, |n| one_by_one(&pool, n));
    let peers = [
        Contender::new("rayon::spawn, one-shots", trips, rayon_one_by_one)
            .must(Bound::AtMost(1.0))
            .aim(Bound::AtMost(0.5)),
        python::contender("ThreadPoolExecutor, one at a time", 1, trips / 10),
    ];
    in_turn("P7", "threads, warm round trip", Unit::Time, plan.rounds(), ours, peers)
}

/// P8: 10,000 tasks that wait at the same time, from the pool's build to the last outcome. The pool's end is not counted.
pub(crate) fn waiting(plan: &Plan) -> Result<Vec<Row>> {
    const WAIT: Duration = Duration::from_millis(100);
    // Not fewer when it has to be quick: a thousand threads are started while the first one waits.
    const CAP: usize = 10_000;
    let ours = Contender::timed("", CAP, |n| {
        let start = Instant::now();
        let pool = threads::pool().workers(CAP).build()?;
        let handles = (0..n as u64)
            .map(|i| {
                pool.submit(move || {
                    thread::sleep(WAIT);
                    i + 1
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut sum = 0;
        for handle in handles {
            sum += handle.join()?;
        }
        let took = start.elapsed().as_secs_f64();
        checked(n, sum)?;
        Ok(took)
    });
    let tokio = Contender::timed("tokio's spawn_blocking", CAP, |n| {
        let start = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(CAP).build()?;
        let handles: Vec<_> = (0..n as u64)
            .map(|i| {
                runtime.spawn_blocking(move || {
                    thread::sleep(WAIT);
                    i + 1
                })
            })
            .collect();
        let mut sum = 0;
        for handle in handles {
            sum += runtime.block_on(handle)?;
        }
        let took = start.elapsed().as_secs_f64();
        checked(n, sum)?;
        Ok(took)
    });
    let bare = Contender::timed("a std::thread each", CAP, |n| {
        let start = Instant::now();
        let threads: Vec<_> = (0..n).map(|_| thread::Builder::new().spawn(|| thread::sleep(WAIT))).collect();
        for thread in threads {
            ensure!(thread?.join().is_ok(), "it ends");
        }
        Ok(start.elapsed().as_secs_f64())
    });
    let what = format!("threads, {CAP} tasks wait 100 ms each");
    let peers = [tokio.must(Bound::AtMost(1.15)).aim(Bound::AtMost(0.8)), bare];
    in_turn("P8", &what, Unit::Time, plan.rounds(), ours, peers)
}

pub(crate) fn rayon_one_by_one(n: usize) -> Result<()> {
    let mut sum = 0;
    for i in 0..n as u64 {
        let (sender, receiver) = mpsc::sync_channel(1);
        rayon::spawn(move || sender.send(i + 1).expect("the receiver waits"));
        sum += receiver.recv()?;
    }
    checked(n, sum)
}

/// What is as good as a handle to who has none: a channel for one value, each.
pub(crate) fn one_shots(n: usize, mut execute: impl FnMut(Box<dyn FnOnce() + Send>)) -> Result<()> {
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
