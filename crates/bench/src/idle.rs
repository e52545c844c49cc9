//! What pools cost when there is nothing to do, and when there is far too much.

use std::{
    fs,
    hint::black_box,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use taskloom::{procs, task, threads};

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn},
    cores,
    memory::{Resting, rest, with_pids},
    procs::{WORKERS, peer_one_by_one, peer_pool},
    tasks::{one_by_one, submit_and_join},
    threads::rayon_one_by_one,
};

/// P11: processor time of a pool of 8 that has worked and has nothing to do, for ten seconds, its workers' included.
pub(crate) fn idle(plan: &Plan) -> Result<Vec<Row>> {
    let seconds = if plan.quick { 3.0 } else { 10.0 };
    let row = |backend: &str| {
        let pool = Resting::start(&["--idle", backend, "8"])?;
        let workers = pool.said.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let processes: Vec<u32> = workers.into_iter().chain([pool.pid()]).collect();
        // What it did last may not be over.
        thread::sleep(Duration::from_millis(200));
        let before = processor_time(&processes)?;
        thread::sleep(Duration::from_secs_f64(seconds));
        let spent = processor_time(&processes)?.saturating_sub(before);
        let of_ten = spent.as_secs_f64() * 1e3 * 10.0 / seconds;
        let what = format!("{backend}, 8 idle workers for 10 s");
        let row = Row::note(what, "", format!("processor time in {seconds} s, for 10 s")).id("P11");
        Ok(row.judged(vec![of_ten], "ms", Bound::AtMost(10.0), Bound::AtMost(0.0)))
    };
    ["procs", "threads"].into_iter().map(row).collect()
}

/// What [`idle`] runs in a process of its own: a pool that has worked, and rests. Says its workers' process ids.
pub(crate) fn pool(backend: &str, workers: usize) -> Result<ExitCode> {
    if backend == "procs" {
        let (pool, pids) = with_pids(workers)?;
        submit_and_join(&pool, 10_000)?;
        let pids = pids.lock().expect("nobody panics with it").iter().map(u32::to_string).collect::<Vec<_>>();
        return rest(&pids.join(" "));
    }
    let pool = taskloom::pool(backend)?.workers(workers).build()?;
    submit_and_join(&pool, 10_000)?;
    rest(" ")
}

/// Time on a processor so far of all threads of these processes, exact to the nanosecond.
fn processor_time(processes: &[u32]) -> Result<Duration> {
    let mut sum = 0;
    for pid in processes {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
            let path = thread?.path().join("schedstat");
            let text = fs::read_to_string(&path)?;
            sum += text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).context("no such time")?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Computes for about so many microseconds.
#[task]
fn computes(micros: u64) -> u64 {
    let steps = micros * 500;
    black_box((0..steps).fold(steps, |sum, step| black_box(sum.wrapping_mul(6_364_136_223_846_793_005) ^ step)))
}

/// More workers than cores, all of them busy; and a round trip when every core computes something else.
pub(crate) fn busy(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(5000);
    let few = procs::pool().workers(WORKERS).build()?;
    let many = procs::pool().workers(8).build()?;
    let compute = |pool: &taskloom::Pool<procs::Procs>, n: usize| {
        let handles = (0..n).map(|_| pool.submit(computes::task(200))).collect::<Result<Vec<_>, _>>()?;
        Ok(handles.into_iter().try_for_each(|handle| handle.join().map(drop))?)
    };
    let plain = procs::pool().workers(8).shared_memory(false).build()?;
    let ours = Contender::new("", tasks, |n| compute(&many, n));
    let peers = [
        Contender::new("2 workers", tasks, |n| compute(&few, n)),
        // As much, but for what times show on a shared machine.
        Contender::new("8 without shared memory", tasks, |n| compute(&plain, n)).must(Bound::AtLeast(0.95)),
    ];
    let mut rows = in_turn("P11", "procs, 8 workers computing", Unit::Rate, plan.rounds(), ours, peers)?;
    let small = plan.tasks(100_000);
    let ours = Contender::new("", small, |n| submit_and_join(&many, n));
    let peer =
        [Contender::new("8 without shared memory", small, |n| submit_and_join(&plain, n)).must(Bound::AtLeast(1.0))];
    rows.extend(in_turn("P11", "procs, 8 workers, a handle each", Unit::Rate, plan.rounds(), ours, peer)?);
    drop((few, many, plain));

    let _burning = Burning::start();
    let trips = plan.tasks(2000);
    let pool = procs::pool().workers(1).build()?;
    let procspawn = peer_pool(1)?;
    let ours = Contender::new("", trips, |n| one_by_one(&pool, n));
    let peer = [Contender::new("procspawn", trips, |n| peer_one_by_one(&procspawn, n))];
    rows.extend(in_turn("", "procs, round trip, all cores busy", Unit::Time, plan.rounds(), ours, peer)?);
    let pool = threads::pool().workers(1).build()?;
    let ours = Contender::new("", trips, |n| one_by_one(&pool, n));
    let peer = [Contender::new("rayon::spawn, one-shots", trips, rayon_one_by_one)];
    rows.extend(in_turn("", "threads, round trip, all cores busy", Unit::Time, plan.rounds(), ours, peer)?);
    Ok(rows)
}

/// A thread on each core that computes all the time.
struct Burning(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Burning {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let burn = |over: Arc<AtomicBool>| {
            while !over.load(Ordering::Relaxed) {
                black_box((0..1000_u64).sum::<u64>());
            }
        };
        let threads = (0..cores())
            .map(|_| {
                let over = over.clone();
                thread::spawn(move || burn(over))
            })
            .collect();
        Self(over, threads)
    }
}

impl Drop for Burning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        // They compute, and do not panic.
        self.1.drain(..).for_each(|thread| drop(thread.join()));
    }
}
