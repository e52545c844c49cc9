//! Measures what a task costs on worker processes: `cargo run --release -p taskloom-procs --example measure`.
//!
//! You will see the time of one warm round trip, beside that of the same bytes over a bare
//! ipc-channel, and how many small tasks with a handle each two workers do in a second.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcSender};
use taskloom_core::{Policy, TaskError, task};

#[task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn main() -> Result<(), TaskError> {
    taskloom_procs::init();
    if let Some(name) = std::env::args().nth(1) {
        pong(name);
        return Ok(());
    }

    let start = Instant::now();
    let pool = taskloom_procs::pool().workers(2).build()?;
    println!("start of 2 workers            {:>10.1?}", start.elapsed());

    let one = taskloom_procs::pool().workers(1).build()?;
    report("round trip, ipc-channel alone", bare());
    report("round trip of a task", round_trips(5000, || one.submit(add::task(1, 2))?.join().map(drop))?);
    let bytes = vec![7; 4 << 20];
    report("round trip of 4 MiB", round_trips(50, || one.submit(echo::task(bytes.clone()))?.join().map(drop))?);

    for round in 1..=3 {
        let count = 100_000;
        let start = Instant::now();
        let handles: Vec<_> = (0..count).map(|n| pool.submit(add::task(n, 1))).collect::<Result<_, _>>()?;
        let submitted = start.elapsed();
        for handle in handles {
            handle.join()?;
        }
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!("{count} tasks, 2 workers, run {round}: {rate:>8.0} a second ({submitted:.1?} to submit)");
    }
    let bytes = vec![7; 64 << 10];
    let start = Instant::now();
    let handles: Vec<_> = (0..10_000).map(|_| pool.submit(length::task(bytes.clone()))).collect::<Result<_, _>>()?;
    handles.into_iter().try_for_each(|handle| handle.join().map(drop))?;
    println!("tasks of 64 KiB, 2 workers:       {:>8.0} a second", 10_000.0 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let count = 1_000_000_u64;
    let sum: u64 = pool.map((0..count).map(|n| add::task(n, 1))).sum::<Result<u64, _>>()?;
    println!("map of {count} tasks: {:>8.0} a second (sum {sum})", count as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let view = pool.with(Policy::new().chunk(1));
    let done = view.map((0..100_000).map(|n| add::task(n, 1))).filter(Result::is_ok).count();
    println!("map of {done} tasks, chunks of 1: {:>8.0} a second", done as f64 / start.elapsed().as_secs_f64());
    pool.join();
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!("{what:<30} median {:>9.1?}, 99 % {:>9.1?}", at(50), at(99));
}

fn round_trips(count: usize, mut trip: impl FnMut() -> Result<(), TaskError>) -> Result<Vec<Duration>, TaskError> {
    (0..count / 10).try_for_each(|_| trip())?;
    (0..count)
        .map(|_| {
            let start = Instant::now();
            trip().map(|()| start.elapsed())
        })
        .collect()
}

/// The same over ipc-channel with nothing around it.
fn bare() -> Vec<Duration> {
    let (server, name) = IpcOneShotServer::<(IpcSender<Vec<u8>>, IpcSender<IpcSender<Vec<u8>>>)>::new().unwrap();
    let mut child = Command::new("/proc/self/exe").arg(name).spawn().unwrap();
    let (_, (to, give)) = server.accept().unwrap();
    let (back, from) = ipc::channel().unwrap();
    give.send(back).unwrap();
    let times = round_trips(5000, || {
        to.send(vec![1; 40]).unwrap();
        from.recv().unwrap();
        Ok(())
    });
    drop(to);
    child.wait().unwrap();
    times.unwrap_or_default()
}

fn pong(name: String) {
    let (to, from) = ipc::channel::<Vec<u8>>().unwrap();
    let (give, given) = ipc::channel().unwrap();
    IpcSender::connect(name).unwrap().send((to, give)).unwrap();
    let back: IpcSender<Vec<u8>> = given.recv().unwrap();
    while let Ok(bytes) = from.recv() {
        back.send(bytes).unwrap();
    }
}
