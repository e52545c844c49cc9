//! P4: large values, there and back.

use std::{sync::Mutex, time::Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use taskloom::{Blob, Pool, procs, task};

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn},
    pingpong::Channels,
    python,
};

/// What a worker hands over: made before the time is taken.
static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[task]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[derive(Serialize, Deserialize)]
struct Nested {
    name: String,
    bytes: ByteBuf,
}

#[task]
fn nested_length(nested: Nested) -> usize {
    nested.bytes.len() + nested.name.len()
}

/// Looks at no more than its ends: the pages of the others are not the way there.
#[task]
fn blob_length(blob: Blob) -> usize {
    blob.len() + usize::from(blob.first() != blob.last())
}

#[task]
fn keep(size: usize) {
    *KEPT.lock().expect("nobody panics with it") = vec![7; size];
}

#[task]
fn hand_over() -> Vec<u8> {
    std::mem::take(&mut KEPT.lock().expect("nobody panics with it"))
}

/// Values of one size as arguments and as results. Making them is not counted, on either side.
pub(crate) fn large(plan: &Plan) -> Result<Vec<Row>> {
    const SIZE: usize = 64 << 20;
    let times = plan.tasks(20).max(4);
    let (rounds, unit) = (plan.rounds(), Unit::Bytes(SIZE));
    let pool = procs::pool().workers(1).build()?;
    let channels = Channels::start(SIZE)?;

    let plain = Contender::timed("", times, |n| {
        each(n, || Ok(vec![7; SIZE]), |bytes| Ok(pool.submit(length::task(bytes))?.join()? == SIZE))
    });
    let peers = [to_channel(&channels, SIZE, times), python::contender("Pool, argument", SIZE, times)];
    let mut rows = in_turn("P4", "procs, 64 MiB argument, Vec<u8>", unit, rounds, plain, peers)?;

    let nested = Contender::timed("", times, |n| {
        let make = || Ok(Nested { name: "64 MiB".to_owned(), bytes: ByteBuf::from(vec![7; SIZE]) });
        each(n, make, |nested| Ok(pool.submit(nested_length::task(nested))?.join()? == SIZE + 6))
    });
    let peers = [to_channel(&channels, SIZE, times)];
    rows.extend(in_turn("P4", "procs, 64 MiB argument, nested ByteBuf", unit, rounds, nested, peers)?);

    let result = Contender::timed("", times, |n| {
        let make = || Ok(pool.submit(keep::task(SIZE))?.join()?);
        each(n, make, |()| Ok(pool.submit(hand_over::task())?.join()?.len() == SIZE))
    });
    let from_channel = Contender::timed("ipc-channel, Vec<u8>", times, |n| {
        // An answer to more than a byte comes when the next large value is ready.
        each(n, || channels.trip(vec![1; 2]), |_| Ok(channels.trip(vec![1])?.len() == SIZE))
    });
    let peers = [owned_goals(from_channel), python::contender("Pool, result", SIZE, times)];
    rows.extend(in_turn("P4", "procs, 64 MiB result, Vec<u8>", unit, rounds, result, peers)?);

    let filled =
        Contender::timed("", times, |n| each(n, || Ok(vec![7; SIZE]), |bytes| passed(&pool, &Blob::from(bytes))));
    let peers = [to_channel(&channels, SIZE, times).must(Bound::AtLeast(10.0)).no_aim()];
    rows.extend(in_turn("P4", "procs, 64 MiB as Blob, made and passed", unit, rounds, filled, peers)?);

    let [small, large] = [1 << 10, if plan.quick { 1 << 28 } else { 1 << 30 }].map(|size| Blob::from(vec![7; size]));
    // Written for the workers once, and then passed on.
    ensure!(passed(&pool, &large)?, "the blob arrives whole");
    let passes = plan.tasks(2000);
    let pass = |blob: &Blob, n: usize| each(n, || Ok(()), |()| passed(&pool, blob));
    let what = format!("procs, Blob of {} MiB passed on", large.len() >> 20);
    let ours = Contender::timed("", passes, |n| pass(&large, n));
    let peers = [Contender::timed("Blob of 1 KiB", passes, |n| pass(&small, n)).aim(Bound::AtMost(1.2))];
    rows.extend(in_turn("P4", &what, Unit::Time, rounds, ours, peers)?);
    Ok(rows)
}

fn passed(pool: &Pool<procs::Procs>, blob: &Blob) -> Result<bool> {
    Ok(pool.submit(blob_length::task(blob.clone()))?.join()? == blob.len())
}

fn to_channel(channels: &Channels, size: usize, times: usize) -> Contender<'_> {
    owned_goals(Contender::timed("ipc-channel, Vec<u8>", times, move |n| {
        each(n, || Ok(vec![7; size]), |bytes| Ok(channels.trip(bytes)?.len() == 1))
    }))
}

fn owned_goals(peer: Contender<'_>) -> Contender<'_> {
    peer.must(Bound::AtLeast(4.0)).aim(Bound::AtLeast(10.0))
}

/// Seconds that `pass` takes for so many of what `make` gives, which is not counted. Nor is one that goes before them, whoever
/// passes it: it takes pages that nobody has had for a while, and how long a virtual machine's host takes to find those is another matter.
fn each<V>(n: usize, make: impl Fn() -> Result<V>, pass: impl Fn(V) -> Result<bool>) -> Result<f64> {
    let mut seconds = 0.0;
    for nth in 0..=n {
        let value = make()?;
        let start = Instant::now();
        ensure!(pass(value)?, "the value arrives whole");
        if nth > 0 {
            seconds += start.elapsed().as_secs_f64();
        }
    }
    Ok(seconds)
}
