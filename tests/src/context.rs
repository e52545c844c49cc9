//! What a task knows and tells.

use std::{collections::BTreeSet, time::Duration};

use taskloom::{Backend, Event, Handle, Kind, Policy, Pool, Retry, State, TaskError, Until, wait};

use crate::{
    harness::{Harness, Init, Setup, aside, at_once},
    journal::{Events, block_at, records},
    scratch::{Scratch, eventually, lines},
    tasks::{
        End, Known, burns, double, ends, floods, insists, knows, knows_together, logs, logs_and_dies, notes_worker,
        reports, reports_late, until_told, waits,
    },
};

/// Each thing that the context tells, against what is known otherwise.
pub fn context_same<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let setup = Setup::workers(2).init(Init::Makes(scratch.path("init"), 77)).events(&events);
    let pool = setup.build::<H>();
    let workers = pool.capabilities().workers;

    let alone = pool.submit(knows::task(1)).expect("accepted");
    let id = alone.id();
    let alone = alone.join().expect("runs");
    assert_eq!((alone.id, alone.index, alone.attempt, alone.cancelled), (id, 0, 1, false));
    assert_eq!(alone.state, Some(77));

    let again = pool.with(Policy::new().retry(Retry::failures(2)));
    let third = again.submit(knows::task(3)).expect("accepted").join().expect("runs");
    assert_eq!((third.attempt, third.index), (3, 0));

    for chunk in [1, 4] {
        let mapped = pool.with(Policy::new().chunk(chunk)).map((0..20).map(|_| knows::task(1)));
        let mapped: Vec<Known> = mapped.map(|known| known.expect("runs")).collect();
        assert!(mapped.iter().map(|known| known.index).eq(0..20));
        assert_eq!(mapped.iter().map(|known| known.id).collect::<BTreeSet<_>>().len(), 20);
        assert!(mapped.iter().all(|known| (known.slot as usize) < workers && known.state == Some(77)));
    }

    // All workers at the same time: each has a number and a place of its own.
    let gate = scratch.gate("together");
    let together = (0..workers).map(|_| pool.submit(knows_together::task(gate.clone(), workers)).expect("accepted"));
    let together: Vec<Known> =
        together.collect::<Vec<_>>().into_iter().map(|handle| handle.join().expect("runs")).collect();
    assert_eq!(together.iter().map(|known| known.slot).collect::<BTreeSet<_>>(), (0..workers as u32).collect());
    assert_eq!(together.iter().map(|known| known.worker).collect::<BTreeSet<_>>().len(), workers);

    // Told by a limit on time, on every backend.
    let gate = scratch.gate("told");
    let limited = pool.with(Policy::new().timeout(Duration::from_millis(20)));
    let told = limited.submit(until_told::task(gate, 1)).expect("accepted").join();
    assert!(matches!(told, Err(TaskError::TimedOut(_))), "it saw that it shall stop: {told:?}");

    let reported = pool.submit(reports::task(3)).expect("accepted");
    let reported_id = reported.id();
    assert_eq!(reported.join().expect("runs"), 3);
    pool.join();
    let progress: Vec<(u64, u64)> = events
        .of(reported_id)
        .into_iter()
        .filter_map(|event| match event {
            Event::Progress { done, total, .. } => Some((done, total)),
            _ => None,
        })
        .collect();
    assert_eq!(progress, [(1, 3), (2, 3), (3, 3)]);
    let started = |event: &Event| matches!(event, Event::Started { worker, attempt: 1, .. } if *worker == alone.worker);
    assert!(events.of(id).iter().any(started), "the task and the events name the same worker");
}

/// The seeds of three submissions, of a map of five, and of the second attempt of another submission, at seed 42.
const SEEDS: [u64; 9] = [
    0x6310_bf04_d820_7f46,
    0x93be_8420_bb55_b94c,
    0x0684_a9e5_6565_7c2e,
    0x2ce0_2c4e_e4d2_ea09,
    0x5d39_6f90_8f79_bb0b,
    0xeaa5_c89f_d05a_b3ee,
    0xd920_a727_84fd_f4e7,
    0xe696_9079_b6cf_b235,
    0xe8da_a970_75f9_d9e8,
];

/// The same numbers on every backend and with any number of workers.
pub fn context_seed<H: Harness>() {
    for workers in [1, 2, 4] {
        let pool = Setup::workers(workers).seed(42).build::<H>();
        assert_eq!(seeds(&pool), SEEDS, "with {workers} workers");
    }
    let other = seeds(&Setup::workers(2).seed(43).build::<H>());
    assert!(other.iter().all(|seed| !SEEDS.contains(seed)), "another seed, other numbers");
    assert_eq!(SEEDS.iter().collect::<BTreeSet<_>>().len(), SEEDS.len(), "all are different");
}

fn seeds<B: Backend>(pool: &Pool<B>) -> Vec<u64> {
    let alone: Vec<_> = (0..3).map(|_| pool.submit(knows::task(1)).expect("accepted")).collect();
    let mapped: Vec<_> = pool.with(Policy::new().chunk(2)).map((0..5).map(|_| knows::task(1))).collect();
    let again = pool.with(Policy::new().retry(Retry::failures(1)));
    let second = again.submit(knows::task(2)).expect("accepted").join();
    let all = alone.into_iter().map(Handle::join).chain(mapped).chain([second]);
    all.map(|known| known.expect("runs").seed).collect()
}

/// Records arrive at this program's logger, whole and in order, and no others; a flood is its own task's problem.
pub fn context_log<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(2).build::<H>();
    let unwanted = scratch.path("formatted");
    let label = |number: u64| format!("{} {number}", scratch.path("label").display());
    let tasks: Vec<_> =
        (0..4).map(|number| pool.submit(logs::task(label(number), 50, unwanted.clone())).expect("accepted")).collect();
    wait(&tasks, Until::All, None);
    if pool.capabilities().isolates {
        let text = label(99);
        let dying = pool.submit(logs_and_dies::task(text.clone())).expect("accepted");
        let id = dying.id();
        assert!(matches!(dying.join(), Err(TaskError::Crashed(_))));
        eventually("what was flushed before the crash arrives", || {
            records(|record| record.message == text).iter().any(|record| {
                (record.task, record.level, &record.target[..]) == (Some(id), log::Level::Warn, "tests::dying")
            })
        });
    }
    pool.join();
    for (number, handle) in (0..).zip(tasks) {
        let (label, id) = (label(number), handle.id());
        assert_eq!(handle.join().expect("runs"), 50);
        let mine = records(|record| record.target == "tests::order" && record.message.starts_with(&label));
        let expected: Vec<String> = (0..50).map(|record| format!("{label} {record}")).collect();
        assert_eq!(mine.iter().map(|record| &record.message).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert!(mine.iter().all(|record| record.task == Some(id) && record.level == log::Level::Info));
    }
    assert!(!unwanted.exists(), "a record that nobody wants is not even written down");

    flood::<H>();
}

/// The logger takes nothing for a while: the task that floods it waits, everybody and everything else goes on.
fn flood<H: Harness>() {
    const COUNT: u32 = 20_000;
    let scratch = Scratch::new();
    let (gate, file) = (scratch.gate("logger"), scratch.path("noted"));
    block_at(gate.clone());
    let pool = Setup::workers(2).build::<H>();
    let flooding = aside(&pool, floods::task(COUNT, file.clone()));
    gate.wait_for(1);
    for number in 0..20 {
        assert_eq!(pool.submit(double::task(number)).expect("accepted").join().expect("runs"), 2 * number);
    }
    if !at_once(&pool) {
        let held = scratch.gate("cancelled");
        let view = pool.with(Policy::new().grace(Duration::from_millis(10)));
        let stopped = view.submit(insists::task(held.clone(), 7)).expect("accepted");
        held.wait_for(1);
        eventually("it is known to run", || stopped.state() == State::Running);
        stopped.cancel();
        if !pool.capabilities().kills {
            held.open();
        }
        assert_eq!(stopped.join().is_err(), pool.capabilities().kills, "supervision goes on");
    }
    // It notes every thousandth record that it got rid of: whatever is kept for the logger on the way is bounded.
    let mut before = usize::MAX;
    eventually("the flood is held up", || {
        let now = lines(&file).len();
        assert!(now < COUNT as usize / 1000, "all of the flood is on its way, and nobody takes it");
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, now) == now
    });
    gate.open();
    assert_eq!(flooding.handle().join().expect("runs"), COUNT);
    pool.join();
    let label = |record: &crate::journal::Record| record.message.split(' ').nth(1).and_then(|n| n.parse::<u32>().ok());
    let flood = records(|record| record.target == crate::journal::BLOCKED_TARGET);
    assert!(flood.iter().map(label).eq((0..COUNT).map(Some)), "all of it arrives, in order");
}

/// For each kind of task its events, and for every task their order.
pub fn context_events<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let pool = Setup::workers(2).events(&events).build::<H>();
    let again = pool.with(Policy::new().retry(Retry::failures(1)));
    let mut tasks = vec![
        (
            pool.submit(reports::task(2)).expect("accepted"),
            Kind::Succeeded,
            "queued started1 progress progress finished1",
        ),
        (pool.submit(ends::task(End::Error, 1)).expect("accepted"), Kind::Failed, "queued started1 finished1"),
        (pool.submit(ends::task(End::Panic, 1)).expect("accepted"), Kind::Panicked, "queued started1 finished1"),
        (
            again.submit(ends::task(End::Error, 1)).expect("accepted"),
            Kind::Failed,
            "queued started1 retrying1 started2 finished2",
        ),
    ];
    if pool.capabilities().isolates {
        let dying = pool.submit(ends::task(End::Exit(1), 1)).expect("accepted");
        tasks.push((dying, Kind::Crashed, "queued started1 finished1"));
    }
    if !at_once(&pool) {
        wait(tasks.iter().map(|(handle, ..)| handle), Until::All, None);
        let gate = scratch.gate("busy");
        let busy = [1, 2].map(|number| pool.submit(waits::task(gate.clone(), number)).expect("accepted"));
        gate.wait_for(2);
        let cancelled = pool.submit(double::task(1)).expect("accepted");
        cancelled.cancel();
        wait([&cancelled], Until::All, None);
        gate.open();
        tasks.push((cancelled, Kind::Cancelled, "queued finished0"));
        tasks.extend(busy.map(|handle| (handle, Kind::Succeeded, "queued started1 finished1")));

        // One that was left behind reports when it has long been over.
        let (gate, reported) = (scratch.gate("late"), scratch.gate("reported"));
        let brief = pool.with(Policy::new().timeout(Duration::from_millis(50)).grace(Duration::ZERO));
        let late = brief.submit(reports_late::task(gate.clone(), reported.clone())).expect("accepted");
        wait([&late], Until::All, None);
        gate.open();
        if pool.capabilities().abandons {
            reported.wait_for(1);
        }
        tasks.push((late, Kind::TimedOut, "queued started1 finished1"));
    }
    let mapped: Vec<_> = pool.with(Policy::new().chunk(3)).map((0..10).map(double::task)).collect();
    assert!(mapped.iter().all(Result::is_ok));
    pool.join();

    for (handle, kind, story) in tasks {
        let told = events.of(handle.id());
        assert_eq!(told.iter().map(word).collect::<Vec<_>>().join(" "), story);
        let Some(Event::Finished(finished)) = told.last() else { panic!("{told:?} does not end") };
        let Some(Event::Queued { name, .. }) = told.first() else { panic!("{told:?} does not begin") };
        assert_eq!((finished.kind, &finished.name[..], &name[..]), (kind, handle.name(), handle.name()));
        let started = told.iter().rev().find_map(|event| match event {
            Event::Started { worker, .. } => Some(*worker),
            _ => None,
        });
        assert_eq!(finished.worker, started);
        let outcome = handle.join();
        assert_eq!(
            outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded),
            kind,
            "events and outcome agree"
        );
        assert_eq!(finished.error, outcome.err().map(|error| error.to_string()).unwrap_or_default());
    }
    // The tasks of the map, one after the other.
    let all = events.all();
    let ids: BTreeSet<u64> = all.iter().filter_map(Event::task).collect();
    let in_map = ids.iter().map(|id| events.of(*id)).filter(|told| {
        matches!(told.last(), Some(Event::Finished(finished)) if finished.name.ends_with("::double") && finished.kind == Kind::Succeeded)
    });
    let indices: Vec<u64> = in_map
        .map(|told| {
            assert_eq!(told.iter().map(word).collect::<Vec<_>>(), ["queued", "started1", "finished1"]);
            match told.first() {
                Some(Event::Queued { index, .. }) => *index,
                _ => unreachable!("its first word is `queued`"),
            }
        })
        .collect();
    assert!(indices.into_iter().eq(0..10));
}

/// One event in one word.
fn word(event: &Event) -> String {
    match event {
        Event::Queued { .. } => "queued".to_owned(),
        Event::Started { attempt, .. } => format!("started{attempt}"),
        Event::Progress { .. } => "progress".to_owned(),
        Event::Retrying { attempt, .. } => format!("retrying{attempt}"),
        Event::Finished(finished) => format!("finished{}", finished.attempt),
        other => format!("{other:?}"),
    }
}

/// Numbers that cannot be smaller than what the task did.
pub fn context_metrics<H: Harness>() {
    let scratch = Scratch::new();
    let (cpu, sleep, size) = (Duration::from_millis(60), Duration::from_millis(30), 10_000);
    // The coarsest clock is read from the scheduler, whose tick is at most 10 ms.
    let tick = Duration::from_millis(10);
    let unmeasured = Setup::workers(1).build::<H>();
    let task = unmeasured.submit(double::task(1)).expect("accepted");
    wait([&task], Until::All, None);
    assert!(task.summary().is_none(), "nobody asked");

    let pool = Setup::workers(1).metrics().build::<H>();
    let capabilities = pool.capabilities();
    let gate = scratch.gate("busy");
    let busy = aside(&pool, waits::task(gate.clone(), 1));
    gate.wait_for(1);
    let task = pool.submit(burns::task(cpu, sleep, vec![1; size])).expect("accepted");
    std::thread::sleep(sleep);
    gate.open();
    assert_eq!(busy.handle().join().expect("runs"), 1);
    wait([&task], Until::All, None);

    let finished = task.summary().expect("measured");
    assert_eq!((finished.task, finished.kind, finished.attempt), (task.id(), Kind::Succeeded, 1));
    assert!(finished.worker.is_some());
    let metrics = finished.metrics;
    assert!(metrics.wall.is_some_and(|wall| wall >= cpu.max(sleep) && wall >= sleep), "{metrics:?}");
    assert!(metrics.cpu.is_some_and(|used| used + tick >= cpu && used <= metrics.wall.unwrap_or_default() + tick));
    // Where there is one worker for all, it waited until that was free.
    assert!(metrics.queued.is_some_and(|queued| at_once(&pool) || queued >= sleep), "{metrics:?}");
    let carried = |bytes: Option<u64>| match capabilities.encodes {
        true => bytes.is_some_and(|bytes| bytes >= size as u64 && bytes < 2 * size as u64),
        false => bytes.is_none(),
    };
    assert!(carried(metrics.bytes_in) && carried(metrics.bytes_out), "{metrics:?}");
    let memory = metrics.peak_memory;
    assert!(if capabilities.isolates { memory.is_some_and(|bytes| bytes > 1 << 20) } else { memory.is_none() });
}

/// Once on each worker, before anything else; else there is no pool.
pub fn context_init<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("order");
    let pool = Setup::workers(3).init(Init::Makes(file.clone(), 5)).build::<H>();
    let workers = pool.capabilities().workers;
    let gate = scratch.gate("together");
    let together: Vec<_> =
        (0..workers).map(|_| pool.submit(knows_together::task(gate.clone(), workers)).expect("accepted")).collect();
    let used: BTreeSet<u32> = together
        .into_iter()
        .map(|handle| {
            let known = handle.join().expect("runs");
            assert_eq!(known.state, Some(5));
            known.worker
        })
        .collect();
    let noted: Vec<_> = pool.map((0..30).map(|_| notes_worker::task(file.clone()))).collect();
    assert!(noted.iter().all(Result::is_ok));
    pool.join();
    let told = lines(&file);
    for worker in used {
        let init = format!("init {worker}");
        assert_eq!(told.iter().filter(|line| **line == init).count(), 1, "once on worker {worker}");
        let at = told.iter().position(|line| *line == init);
        let first = told.iter().position(|line| *line == format!("task {worker}"));
        assert!(first.is_none_or(|first| at < Some(first)), "before its first task");
    }
    let inits = told.iter().filter(|line| line.starts_with("init")).count();
    assert_eq!(inits, workers, "{told:?}");

    let stateless = Setup::workers(1).build::<H>();
    assert_eq!(stateless.submit(knows::task(1)).expect("accepted").join().expect("runs").state, None);

    let reason = || "the weights are gone".to_owned();
    for init in [Init::Fails(reason()), Init::Panics(reason())] {
        let error = H::build(Setup::workers(2).init(init)).expect_err("there is no pool without it");
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains(&reason()), "{text}");
    }
}
