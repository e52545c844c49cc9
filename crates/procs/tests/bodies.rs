//! Long byte strings on their way: nothing is lost of them when a submission is refused, an attempt fails or a worker dies.

mod support;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use support::*;
use taskloom_core::{Context, Policy, Retry, TrySubmitError, task};

taskloom_procs::test_support!();

/// Bytes that differ from place to place, and from seed to seed.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Both, behind each other.
#[task]
fn join(first: Vec<u8>, number: u64, second: String) -> Vec<u8> {
    [&first, &number.to_le_bytes()[..], second.as_bytes()].concat()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Picture {
    name: String,
    rows: Vec<ByteBuf>,
    #[serde(with = "serde_bytes")]
    index: Vec<u8>,
}

#[task]
fn turned(mut picture: Picture) -> Picture {
    picture.rows.reverse();
    picture
}

/// Ends its worker unless this is the third attempt.
#[task]
fn third_time(cx: &Context, bytes: Vec<u8>) -> Vec<u8> {
    if cx.attempt() < 3 {
        std::process::abort();
    }
    bytes
}

#[test]
fn a_task_that_finds_no_room_comes_back_whole() {
    within(60, || {
        let pool = taskloom_procs::pool().workers(1).queue_bytes(3 << 20).build().unwrap();
        let nap = pool.submit(nap::task(300)).unwrap();
        let (first, second) = (bytes(1, 2 << 20), "ä".repeat(1 << 19));
        let accepted = pool.try_submit(join::task(first.clone(), 1, second.clone())).unwrap();
        let refused = pool.try_submit(join::task(first.clone(), 2, second.clone()));
        let Err(TrySubmitError::Full(back)) = refused else { panic!("3 MiB are there, and 3 MiB more do not fit") };
        for (handle, number) in [(accepted, 1_u64), (pool.submit(back).unwrap(), 2)] {
            let expected = [&first, &number.to_le_bytes()[..], second.as_bytes()].concat();
            assert!(handle.join().unwrap() == expected, "task {number}");
        }
        nap.join().unwrap();
    });
}

/// Most memory that this worker has ever had, after it got these bytes.
#[task]
fn most_held(bytes: Vec<u8>) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 7));
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[task]
fn sevens(length: usize) -> Vec<u8> {
    vec![7; length]
}

#[test]
fn a_worker_holds_a_large_value_once() {
    const MIB: u64 = 1 << 20;
    within(60, || {
        let large = vec![7; 64 * MIB as usize];
        let pool = workers(1);
        let before = pool.submit(most_held::task(Vec::new())).unwrap().join().unwrap();
        // The kernel counts with a small error.
        let argument = pool.submit(most_held::task(large.clone())).unwrap().join().unwrap() - before;
        assert!((60 * MIB..72 * MIB).contains(&argument), "an argument took {} KiB", argument >> 10);
        // Again, with another worker: what was highest once remains so.
        let pool = workers(1);
        let before = pool.submit(most_held::task(Vec::new())).unwrap().join().unwrap();
        assert!(pool.submit(sevens::task(large.len())).unwrap().join().unwrap() == large);
        let result = pool.submit(most_held::task(Vec::new())).unwrap().join().unwrap() - before;
        assert!((60 * MIB..72 * MIB).contains(&result), "a result took {} KiB", result >> 10);
    });
}

#[test]
fn nested_bytes_arrive_as_they_were() {
    within(60, || {
        let pool = workers(2);
        let lengths = [0, 1, 32_767, 32_768, 131_072, 131_073, 3_000_000];
        let rows = lengths.iter().enumerate().map(|(seed, &length)| bytes(seed as u64, length).into()).collect();
        let picture = Picture { name: "x".repeat(100_000), rows, index: bytes(9, 100_000) };
        let mut expected = picture.clone();
        expected.rows.reverse();
        assert!(pool.submit(turned::task(picture)).unwrap().join().unwrap() == expected);
    });
}

#[test]
fn every_attempt_has_all_bytes() {
    within(60, || {
        let pool = workers(1);
        let view = pool.with(Policy::new().retry(Retry::crashes(3)));
        let long = bytes(5, 10 << 20);
        assert!(view.submit(third_time::task(long.clone())).unwrap().join().unwrap() == long);
    });
}

#[test]
fn chunks_of_long_and_short_bytes_arrive_in_order() {
    within(60, || {
        let pool = workers(2);
        let length = |n: u64| [10, 40_000, 32_768, 0, 200_000][n as usize % 5];
        for view in [pool.with(Policy::new()), pool.with(Policy::new().chunk(7))] {
            let results = view.map((0..100).map(|n| echo::task(bytes(n, length(n)))));
            for (result, n) in results.zip(0..) {
                assert!(result.unwrap() == bytes(n, length(n)), "input {n}");
            }
        }
    });
}
