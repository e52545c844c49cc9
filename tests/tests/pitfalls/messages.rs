//! What goes between parent and worker: very much, very large, cut off, or nonsense.

use std::{fs, process, thread, time::Duration};

use serde::{Deserialize, Serialize};
use taskloom::{Event, Handle, State, TaskError, TrySubmitError, task};
use taskloom_tests::{
    harness::{PlainProcs, Procs, Setup},
    journal::Events,
    misdeeds,
    scratch::{Gate, Scratch, eventually},
    tasks::{End, bulk::measures, double, insists, waits, waits_then_ends, whoami},
};

pub(crate) fn p01_ten_thousand_tasks_for_a_worker_that_sleeps() {
    let (scratch, room) = (Scratch::new(), 1000);
    let pool = Setup::workers(1).queue_items(room).build::<Procs>();
    let gate = scratch.gate("asleep");
    let sleeping = pool.submit(insists::task(gate.clone(), 7)).expect("accepted");
    eventually("it is known to run, and takes no room", || sleeping.state() == State::Running);
    let mut handles = Vec::new();
    let full = loop {
        match pool.try_submit(double::task(handles.len() as u64)) {
            Ok(handle) => handles.push(handle),
            Err(back) => break back,
        }
    };
    assert!(matches!(full, TrySubmitError::Full(_)), "{full:?}");
    // What has left for the worker, but not begun, waits too.
    assert_eq!(handles.len(), room);
    thread::scope(|scope| {
        let (pool, from) = (&pool, handles.len() as u64);
        let rest = scope.spawn(move || {
            (from..10_000).map(|n| pool.submit(double::task(n)).expect("there is room again")).collect::<Vec<_>>()
        });
        gate.open();
        handles.extend(rest.join().expect("no deadlock"));
    });
    assert_eq!(sleeping.join().expect("runs"), 7);
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().expect("runs"), 2 * number);
    }
}

/// Memory that this process uses.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("readable");
    4096 * pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number")
}

/// Leaves a thread that ends the worker when its memory has grown by so much.
#[task]
fn ends_when_large(by: usize) -> u32 {
    let before = resident();
    thread::spawn(move || {
        while resident() < before + by {
            thread::yield_now();
        }
        process::exit(7);
    });
    process::id()
}

pub(crate) fn p05_one_kind_of_end_however_it_shows() {
    let (scratch, events) = (Scratch::new(), Events::default());
    let pool = Setup::workers(1).events(&events).build::<Procs>();
    let exits_with_7 = |error| {
        let TaskError::Crashed(death) = error else { panic!("{error:?} is no crash") };
        assert_eq!((death.exit_code, death.signal), (Some(7), None), "{death:?}");
    };
    // Nothing is on its way: the parent's reader finds the end of the stream.
    let gate = scratch.gate("disconnect");
    gate.open();
    let alone = pool.submit(waits_then_ends::task(gate, End::Exit(7), 1)).expect("accepted");
    exits_with_7(alone.join().expect_err("exits"));

    // With messages that it has not read: the parent's next one is refused with a reset.
    for number in 0..200 {
        assert_eq!(pool.submit(double::task(number)).expect("accepted").join().expect("runs"), 2 * number);
    }
    let gate = scratch.gate("reset");
    let running = pool.submit(waits_then_ends::task(gate.clone(), End::Exit(7), 1)).expect("accepted");
    let behind: Vec<_> = (0..500).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
    gate.wait_for(1);
    gate.open();
    let more: Vec<_> = (500..1000).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
    exits_with_7(running.join().expect_err("exits"));
    for (number, handle) in (0..).zip(behind.into_iter().chain(more)) {
        assert_eq!(handle.join().expect("unharmed"), 2 * number);
    }

    // In the middle of a message to it: the parent's send ends with a broken pipe. The task has not begun, so it runs
    // elsewhere; who looks at the events sees the same end.
    let letters = 128 << 20;
    let cut_off = (0..10).any(|_| {
        let doomed = pool.submit(ends_when_large::task(16 << 20)).expect("accepted").join().expect("runs");
        let outcome = pool.submit(measures::task("x".repeat(letters))).expect("accepted").join();
        let end = || {
            events.all().into_iter().find_map(|event| match event {
                Event::WorkerEnded { pid, how, .. } if pid == doomed => Some(how),
                _ => None,
            })
        };
        eventually("its end is told", || end().is_some());
        assert_eq!(end().as_deref(), Some("exited with code 7"));
        // Seldom, on a busy machine, all of it has arrived before the worker ends: then it was the task that crashed.
        outcome.map(|count| assert_eq!(count, letters)).map_err(exits_with_7).is_ok()
    });
    assert!(cut_off, "every message was faster");
}

/// What a worker may send that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Nonsense {
    /// A packet that ends before its length is told.
    Short,
    /// A packet that announces more memory than there is.
    AbsurdPacket,
    /// A packet whose parts cannot be told apart.
    Undecodable,
    /// A message that announces more bytes than it has.
    AbsurdMessage,
    /// A message of which nobody knows what it says.
    UnknownRecord,
    /// A result that is said to be longer than anything.
    AbsurdResult,
    /// The result of a task that the worker was never given.
    NobodysResult,
    /// Half of a rare record.
    HalfRecord,
}

impl Nonsense {
    fn packet(self) -> Vec<u8> {
        let result = |token: u64, length: u64| {
            [&[1][..], &token.to_le_bytes(), &0_u32.to_le_bytes(), &length.to_le_bytes()].concat()
        };
        match self {
            Self::Short => vec![1, 2, 3],
            Self::AbsurdPacket => [24_u64, 1 << 40, 0].map(u64::to_ne_bytes).concat(),
            Self::Undecodable => packet(&[0xff; 64]),
            Self::AbsurdMessage => packet(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3]),
            Self::UnknownRecord => message(&[9; 20]),
            Self::AbsurdResult => message(&result(1, u64::MAX)),
            Self::NobodysResult => message(&[&result(1 << 40, 1)[..], &[0, 1]].concat()),
            Self::HalfRecord => message(&[3, 4, 200]),
        }
    }
}

/// A packet of ipc-channel: its own length, that of the message, the message.
fn packet(message: &[u8]) -> Vec<u8> {
    let lengths = [message.len() + 16, message.len()].map(usize::to_ne_bytes).concat();
    [&lengths[..], message].concat()
}

/// A message of ours that is complete: bytes with their length, no more to come, nothing attached.
fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    packet(&[&[length][..], bytes, &[0, 0]].concat())
}

/// Sends it, and waits to be found out.
#[task]
fn sends(nonsense: Nonsense, gate: Gate) -> u64 {
    misdeeds::write_to_sockets(&nonsense.packet());
    insists(gate, 1)
}

pub(crate) fn p15_undecodable_replies_and_absurd_lengths() {
    let (scratch, pool) = (Scratch::new(), Setup::workers(2).build::<PlainProcs>());
    let all = [
        Nonsense::Short,
        Nonsense::AbsurdPacket,
        Nonsense::Undecodable,
        Nonsense::AbsurdMessage,
        Nonsense::UnknownRecord,
        Nonsense::AbsurdResult,
        Nonsense::NobodysResult,
        Nonsense::HalfRecord,
    ];
    for nonsense in all {
        let gate = scratch.gate(&format!("{nonsense:?}"));
        let before: Vec<_> = (0..10).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
        let sent = pool.submit(sends::task(nonsense, gate)).expect("accepted");
        let behind: Vec<_> = (10..20).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
        let error = sent.join().expect_err("its worker is killed");
        let TaskError::Crashed(death) = error else { panic!("{nonsense:?}: {error:?} is no crash") };
        assert!(death.verdict.starts_with("it sent garbage: "), "{nonsense:?}: {death:?}");
        for (number, handle) in (0..).zip(before.into_iter().chain(behind)) {
            assert_eq!(handle.join().expect("unharmed"), 2 * number, "{nonsense:?}");
        }
    }
}

pub(crate) fn p26_large_argument() {
    let (scratch, pool) = (Scratch::new(), Setup::workers(2).build::<Procs>());
    let letters = 200 << 20;
    let gate = scratch.gate("neighbour");
    let neighbour = pool.submit(waits::task(gate.clone(), 5)).expect("accepted");
    gate.wait_for(1);
    let (_, pid) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    let large = pool.submit(measures::task("x".repeat(letters))).expect("accepted");
    let small: Vec<_> = (0..100).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
    gate.open();
    assert_eq!(neighbour.join().expect("unharmed"), 5);
    for (number, handle) in (0..).zip(small) {
        assert_eq!(handle.join().expect("unharmed"), 2 * number);
    }
    assert_eq!(large.join().expect("it arrives"), letters);
    assert!(pool.backend().pids().contains(&pid), "no worker has died of it");

    // It is more than the queue may hold, and comes alone.
    let tight = Setup::workers(1).queue_bytes(1 << 20).build::<Procs>();
    let large = tight.submit(measures::task("x".repeat(letters))).expect("accepted");
    assert_eq!(large.join().expect("it arrives"), letters);
    assert_eq!(tight.submit(double::task(4)).expect("accepted").join().expect("goes on"), 8);

    // It is more than a task may take, and costs its own task alone; half as much as a task may take arrives.
    let poor = Setup::workers(1).memory_limit(64 << 20).build::<Procs>();
    let tasks = [letters, 32 << 20].map(|letters| poor.submit(gorges::task("x".repeat(letters))).expect("accepted"));
    let small: Vec<_> = (0..20).map(|n| poor.submit(double::task(n)).expect("accepted")).collect();
    let [large, half] = tasks.map(Handle::join);
    assert!(matches!(large, Err(TaskError::OutOfMemory(_))), "{large:?}");
    assert_eq!(half.expect("it arrives"), 32 << 20);
    for (number, handle) in (0..).zip(small) {
        assert_eq!(handle.join().expect("unharmed"), 2 * number);
    }
}

/// Takes its text, and some time to be seen with it.
#[task]
fn gorges(text: String) -> usize {
    thread::sleep(Duration::from_millis(200));
    text.len()
}
