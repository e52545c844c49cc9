//! Limits on time, and further attempts.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use taskloom::{
    Backend, Cancel, Clock, Event, Handle, Kind, Policy, Pool, Retry, State, TaskError, TimedOut, TrySubmitError, View,
    as_completed,
};

use crate::{
    crash::{is_whole, lacks_isolation},
    harness::{Aside, Harness, Setup, aside, at_once},
    journal::Events,
    process::lives,
    scratch::{Gate, Scratch, eventually, lines},
    tasks::{
        End, double, insists,
        limits::{comes_late, ends_until, never_ends, notes_both_ends, overruns_if},
        marks, second_attempt_waits, until_told, waits, whoami,
    },
};

const SHORT: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);

/// Which limit an outcome tells of.
#[track_caller]
fn timed_out<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> TimedOut {
    match outcome {
        Err(TaskError::TimedOut(which)) => *which,
        other => panic!("{other:?} is no time-out"),
    }
}

#[track_caller]
fn is_about<T: std::fmt::Debug>(outcome: Result<T, TaskError>, clock: Clock, limit: Duration) {
    let told = timed_out(outcome);
    assert_eq!((told.clock, told.limit), (clock, limit));
}

/// One of the pool's only worker that runs until its gate is opened. Not where tasks run at submission: they hold nobody.
fn held<B: Backend>(scratch: &Scratch, pool: &Pool<B>) -> (Gate, Option<Aside<u64>>) {
    let gate = scratch.gate("held");
    if at_once(pool) {
        return (gate, None);
    }
    let held = aside(pool, waits::task(gate.clone(), 7));
    gate.wait_for(1);
    (gate, Some(held))
}

/// Counted from the start of the body, for each item of a map by itself.
pub fn limits_timeout<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    let limited = pool.with(Policy::new().timeout(SHORT).grace(HOUR));
    let (start, gate) = (Instant::now(), scratch.gate("told"));
    let told = timed_out(limited.submit(until_told::task(gate.clone(), 7)).expect("accepted").join());
    assert_eq!((told.clock, told.limit, told.attempt), (Clock::Running, SHORT, 1));
    assert!(start.elapsed() >= SHORT && gate.came() == 1);

    // What waits for its turn has not begun to use its time.
    let (door, held) = held(&scratch, &pool);
    let gate = scratch.gate("behind");
    let behind = aside(&limited, until_told::task(gate.clone(), 7));
    thread::sleep(3 * SHORT);
    let start = Instant::now();
    door.open();
    is_about(behind.handle().join(), Clock::Running, SHORT);
    assert!(gate.came() == 1 && (held.is_none() || start.elapsed() >= SHORT));
    assert!(held.is_none_or(|held| held.handle().join().is_ok()));

    let limit = 6 * SHORT;
    let chunked = pool.with(Policy::new().timeout(limit).grace(HOUR).chunk(4));
    let outcomes: Vec<_> = chunked.map((0..4).map(|number| overruns_if::task(number, 2))).collect();
    for (number, outcome) in (0..).zip(outcomes) {
        if number == 2 {
            is_about(outcome, Clock::Running, limit)
        } else {
            assert_eq!(outcome.expect("in time"), number)
        }
    }

    for endless in [Duration::MAX, Duration::MAX - Duration::from_nanos(1)] {
        let gate = scratch.gate("endless");
        let unlimited = pool.with(Policy::new().timeout(endless).queue_timeout(endless).deadline(endless));
        let running = aside(&unlimited, waits::task(gate.clone(), 7));
        gate.wait_for(1);
        thread::sleep(SHORT / 2);
        gate.open();
        assert_eq!(running.handle().join().expect("no limit"), 7);
    }
}

/// Counted from the submission, until the body begins.
pub fn limits_queue_timeout<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(1).build::<H>();
    // Tasks that are known to be short are given to a worker ahead of their turn.
    assert!(pool.map((0..100).map(double::task)).all(|result| result.is_ok()));
    let (door, held) = held(&scratch, &pool);
    if held.is_some() {
        let limited = pool.with(Policy::new().queue_timeout(SHORT));
        let start = Instant::now();
        let submit = |number| limited.submit(marks::task(file.clone(), End::Value, number)).expect("accepted");
        let late: Vec<_> = (0..5).map(submit).collect();
        for outcome in late.into_iter().map(Handle::join) {
            is_about(outcome, Clock::Queued, SHORT);
        }
        assert!(start.elapsed() >= SHORT && !door.is_open(), "while they still could not begin");
    }
    door.open();
    assert!(held.is_none_or(|held| held.handle().join().is_ok()));

    // Who has begun may take longer.
    let (limit, gate, start) = (10 * SHORT, scratch.gate("begun"), Instant::now());
    let begun = aside(&pool.with(Policy::new().queue_timeout(limit)), waits::task(gate.clone(), 7));
    gate.wait_for(1);
    thread::sleep((2 * limit).saturating_sub(start.elapsed()));
    gate.open();
    assert_eq!(begun.handle().join().expect("it began in time"), 7);
    pool.join();
    assert!(lines(&file).is_empty(), "what waited too long never starts");
}

/// Counted from the submission to the outcome, whatever the task does meanwhile: waits, runs, or is tried again.
pub fn limits_deadline<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(1).build::<H>();
    let limited = |policy: Policy| pool.with(policy.deadline(SHORT).grace(HOUR));
    let (door, held) = held(&scratch, &pool);
    if held.is_some() {
        let start = Instant::now();
        let late = limited(Policy::new()).submit(marks::task(file.clone(), End::Value, 1)).expect("accepted");
        is_about(late.join(), Clock::Deadline, SHORT);
        assert!(start.elapsed() >= SHORT && !door.is_open());
    }
    door.open();
    assert!(held.is_none_or(|held| held.handle().join().is_ok()));

    let (start, gate) = (Instant::now(), scratch.gate("running"));
    let running = limited(Policy::new()).submit(until_told::task(gate.clone(), 7)).expect("accepted");
    is_about(running.join(), Clock::Deadline, SHORT);
    assert!(start.elapsed() >= SHORT);

    // Short attempts one after the other, and one with a long rest behind it: that there may be more changes nothing.
    for backoff in [Duration::from_millis(1), HOUR] {
        let file = scratch.path(&format!("attempts {backoff:?}"));
        let retry = Retry::any(u32::MAX).backoff(backoff).longest_backoff(backoff);
        let start = Instant::now();
        let again = ends_until::task(file.clone(), End::Error, u32::MAX);
        is_about(limited(Policy::new().retry(retry)).submit(again).expect("accepted").join(), Clock::Deadline, SHORT);
        assert!(start.elapsed() >= SHORT);
        assert!(lines(&file).len() <= 1 || backoff < HOUR);
    }
    pool.join();
    assert!(lines(&file).is_empty(), "what waited too long never starts");
}

/// The worker, which ignores SIGTERM, and its child.
pub fn limits_kill<H: Harness>() {
    let scratch = Scratch::new();
    let grace = SHORT;
    let pool = Setup::workers(1).build::<H>();
    let (worker, process) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    if !pool.capabilities().kills {
        // It is told to stop like everywhere, and keeps its thread if it does.
        let told =
            pool.with(Policy::new().timeout(SHORT).grace(HOUR)).submit(until_told::task(scratch.gate("told"), 7));
        is_about(told.expect("accepted").join(), Clock::Running, SHORT);
        assert_eq!(pool.submit(whoami::task()).expect("accepted").join().expect("runs"), (worker, process));
        // If it does not, it is left behind, or waited for: `limits.abandon`.
        assert_ne!(pool.capabilities().abandons, at_once(&pool), "{:?}", pool.capabilities());
        return;
    }
    // By its own limit, by its deadline, and by hand.
    let ways = [Policy::new().timeout(SHORT), Policy::new().deadline(20 * SHORT), Policy::new()];
    let mut before = process;
    for (way, policy) in ways.into_iter().enumerate() {
        let file = scratch.path(&way.to_string());
        let start = Instant::now();
        let endless = pool.with(policy.grace(grace)).submit(never_ends::task(file.clone())).expect("accepted");
        eventually("it runs, or has run", || lines(&file).len() == 1 || endless.is_finished());
        match way {
            2 => {
                assert_eq!(endless.cancel(), Cancel::Requested);
                assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
                assert!(start.elapsed() >= grace);
            }
            _ => {
                timed_out(endless.join());
                assert!(start.elapsed() >= SHORT + grace, "it had its time");
            }
        }
        // A process that had no time to begin has left nothing either.
        let noted = lines(&file).first().cloned().unwrap_or_default();
        let gone: Vec<u32> = noted.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        assert!(gone.first().is_none_or(|worker| !lives(*worker)), "the outcome comes when the worker is dead");
        eventually("its child has ended", || !gone.iter().any(|pid| lives(*pid)));
        let now = pool.submit(whoami::task()).expect("accepted").join().expect("runs").1;
        assert_ne!(now, before);
        before = now;
    }
}

/// A task that does not listen keeps nobody waiting but its own thread.
pub fn limits_abandon<H: Harness>() {
    let scratch = Scratch::new();
    let gate = scratch.gate("stuck");
    let pool = Setup::workers(1).build::<H>();
    let strict = pool.with(Policy::new().timeout(SHORT).grace(Duration::ZERO));
    let stuck = aside(&strict, insists::task(gate.clone(), 7));
    if at_once(&pool) {
        gate.wait_for(1);
        // It has its caller's thread, which cannot be replaced: the truth comes out when it returns.
        thread::sleep(3 * SHORT);
        gate.open();
        is_about(stuck.handle().join(), Clock::Running, SHORT);
        return;
    }
    is_about(stuck.handle().join(), Clock::Running, SHORT);
    assert!(!gate.is_open(), "while it still runs, or would");
    assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("somebody else runs it"), 8);
    is_whole(&scratch, &pool, 1);
    if pool.capabilities().abandons {
        threads_run_out::<H>();
    } else {
        assert!(pool.capabilities().kills, "{:?}", pool.capabilities());
    }
    gate.open();
}

/// No more than 64 threads are left behind, unless the builder says otherwise.
fn threads_run_out<H: Harness>() {
    const CAP: usize = 64;
    let workers = 8;
    let scratch = Scratch::new();
    let gate = scratch.gate("stuck");
    let pool = Setup::workers(workers).build::<H>();
    let strict = pool.with(Policy::new().timeout(Duration::from_millis(5)).grace(Duration::ZERO));
    let stuck: Vec<_> =
        (0..CAP + workers).map(|_| strict.submit(insists::task(gate.clone(), 7)).expect("accepted")).collect();
    assert_eq!(as_completed(&stuck).count(), CAP + workers);
    gate.wait_for(CAP + workers);
    let error = pool.submit(double::task(1)).expect("accepted").join().expect_err("no thread is left");
    let TaskError::Exhausted(what) = &error else { panic!("{error:?} does not say what has run out") };
    assert_eq!(what.limit, CAP as u64);
    assert!(error.to_string().contains("abandoned"), "{error}");
    gate.open();
    eventually("threads have come back", || pool.submit(double::task(1)).expect("accepted").join().is_ok());
    assert!(stuck.into_iter().all(|handle| matches!(handle.join(), Err(TaskError::TimedOut(_)))));
}

/// Each cause by itself; how often, after which rests, and as who tells it.
pub fn limits_retry<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let pool = Setup::workers(2).events(&events).build::<H>();
    let mut causes = vec![(Kind::Failed, End::Error), (Kind::Panicked, End::Panic)];
    if pool.capabilities().isolates {
        causes.push((Kind::Crashed, End::Exit(3)));
    }
    for (named, _) in &causes {
        for (kind, end) in &causes {
            let file = scratch.path(&format!("{named:?} {kind:?}"));
            let again = pool.with(Policy::new().retry(Retry::on([*named], 2)));
            let outcome = again.submit(ends_until::task(file.clone(), *end, 3)).expect("accepted").join();
            if named == kind {
                assert_eq!(outcome.expect("the third time"), 3);
                assert_eq!(lines(&file), ["1", "2", "3"]);
            } else {
                assert_eq!(outcome.expect_err("once").kind(), *kind);
                assert_eq!(lines(&file), ["1"]);
            }
        }
    }

    // All attempts fail, after rests that double and are drawn from their upper half.
    let rest = Duration::from_millis(10);
    let again = pool.with(Policy::new().retry(Retry::failures(3).backoff(rest).longest_backoff(2 * rest)));
    let start = Instant::now();
    let failing = |number| again.submit(ends_until::task(scratch.path(number), End::Error, 9)).expect("accepted");
    let handles = ["a", "b", "c", "d", "e", "f"].map(failing);
    let mut rests = Vec::new();
    for handle in handles {
        let id = handle.id();
        let finished = {
            eventually("its end", || handle.is_finished());
            handle.summary().expect("measured")
        };
        assert!(matches!(handle.join(), Err(TaskError::Failed(failure)) if failure.message == "4 is an error"));
        assert_eq!((finished.attempt, finished.kind), (4, Kind::Failed));
        eventually("its events", || events.of(id).iter().any(|event| matches!(event, Event::Finished(_))));
        let (mut started, mut retried) = (Vec::new(), Vec::new());
        for event in events.of(id) {
            match event {
                Event::Started { attempt, .. } => started.push(attempt),
                Event::Retrying { attempt, kind, after, .. } => {
                    assert_eq!(kind, Kind::Failed);
                    retried.push(attempt);
                    rests.push(after);
                    let full = if attempt == 1 { rest } else { 2 * rest };
                    assert!(after >= full / 2 && after <= full, "{after:?} after attempt {attempt}");
                }
                Event::Finished(told) => assert_eq!(told.attempt, finished.attempt),
                _ => {}
            }
        }
        assert_eq!((started, retried), (vec![1, 2, 3, 4], vec![1, 2, 3]));
    }
    assert!(start.elapsed() >= rests.iter().take(3).sum(), "it rested");
    assert!(rests.iter().collect::<BTreeSet<_>>().len() > 6, "those that fail together do not return together");

    // A cancel is meant for all attempts.
    let again = pool.with(Policy::new().retry(Retry::any(9).and(Kind::Cancelled).backoff(rest)));
    let gate = scratch.gate("second");
    let cancelled = aside(&again, second_attempt_waits::task(gate.clone(), 7));
    gate.wait_for(1);
    if at_once(&pool) {
        gate.open();
        assert_eq!(cancelled.handle().join().expect("nobody has its handle before"), 7);
    } else {
        let cancelled = cancelled.handle();
        assert_eq!(cancelled.cancel(), Cancel::Requested);
        assert_eq!(cancelled.join().expect("what it returns when it is told to stop"), 7);
        let resting = pool.with(Policy::new().retry(Retry::failures(9).backoff(HOUR).longest_backoff(HOUR)));
        let file = scratch.path("resting");
        let resting = resting.submit(ends_until::task(file.clone(), End::Error, 9)).expect("accepted");
        let retries = |event: &Event| matches!(event, Event::Retrying { .. });
        eventually("it rests", || events.of(resting.id()).iter().any(retries));
        assert_eq!((resting.state(), lines(&file).len()), (State::Queued, 1));
        assert_eq!(resting.cancel(), Cancel::Prevented);
        assert!(matches!(resting.join(), Err(TaskError::Cancelled)));
    }
}

/// The first attempt comes back while the second runs, or before it begins, or never.
pub fn limits_late<H: Harness>() {
    let scratch = Scratch::new();
    let (file, first, second) = (scratch.path("threads"), scratch.gate("first"), scratch.gate("second"));
    let events = Events::default();
    let pool = Setup::workers(2).events(&events).build::<H>();
    // The second attempt is as long as the test wants, for only its own time counts.
    let policy = Policy::new().timeout(10 * SHORT).grace(Duration::ZERO).retry(Retry::timeouts(1)).allow_overlap();
    let late = aside(&pool.with(policy), comes_late::task(file.clone(), first.clone(), second.clone()));
    first.wait_for(1);
    if at_once(&pool) {
        // Both have the same thread.
        thread::sleep(11 * SHORT);
        second.open();
        first.open();
        assert_eq!(late.handle().join().expect("the second is in time"), 2);
    } else {
        let late = late.handle();
        eventually("the second runs, or has run", || second.came() == 1 || late.is_finished());
        // Not before its worker is given up: one whose task comes back before that keeps its thread.
        let worker = events.of(late.id()).iter().find_map(|event| match event {
            Event::Started { worker, .. } => Some(*worker),
            _ => None,
        });
        let given_up =
            |event: &Event| matches!(event, Event::WorkerEnded { worker: gone, .. } if Some(*gone) == worker);
        eventually("the first has lost its worker", || events.all().iter().any(given_up));
        first.open();
        let thread = lines(&file)[0].clone();
        eventually("the first is over", || !fs::exists(Path::new("/proc").join(&thread)).unwrap_or(true));
        second.open();
        let outcome = late.join();
        // On a busy machine the second may have been late too; its result is then ignored like the first's.
        match outcome {
            Ok(attempt) => assert_eq!(attempt, 2),
            Err(error) => assert_eq!(timed_out::<u32>(Err(error)).attempt, 2),
        }
    }
    pool.join();
    assert_eq!(pool.open_tasks(), 0);
    let all = events.all();
    assert_eq!(all.iter().filter(|event| matches!(event, Event::Finished(_))).count(), 1);
    assert_eq!(all.iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 1);
}

/// Where an attempt that timed out cannot be ended, there is another only for those who said that they accept it.
pub fn limits_overlap<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(2).build::<H>();
    let patient = Policy::new().timeout(6 * SHORT).grace(HOUR);
    for retry in [Retry::timeouts(1), Retry::any(1)] {
        let file = scratch.path(&format!("attempts {retry:?}"));
        let again = pool.with(patient.clone().retry(retry.clone()));
        if pool.capabilities().abandons {
            is_refused(&again, &file);
            let accepted = pool.with(patient.clone().retry(retry).allow_overlap());
            let second = accepted.submit(notes_both_ends::task(file.clone(), 2)).expect("accepted").join();
            assert_eq!(second.expect("in time"), 2);
        } else {
            let second = again.submit(notes_both_ends::task(file.clone(), 2)).expect("accepted").join();
            assert_eq!(second.expect("in time"), 2);
            assert_eq!(lines(&file), ["begin 1", "end 1", "begin 2", "end 2"], "one after the other");
        }
    }
    // Neither what has no time-out nor what is not tried again after one can overlap.
    let harmless = [
        Policy::new().deadline(HOUR).queue_timeout(HOUR).retry(Retry::any(1)),
        Policy::new().timeout(HOUR).retry(Retry::failures(1)),
    ];
    for policy in harmless {
        assert_eq!(pool.with(policy).submit(double::task(2)).expect("accepted").join().expect("runs"), 4);
    }
}

fn is_refused<B: Backend>(view: &View<B>, file: &Path) {
    let task = || notes_both_ends::task(file.to_owned(), 1);
    let names_it = |error: &TaskError| {
        let TaskError::Unsupported(what) = error else { panic!("{error:?} is no refusal") };
        assert_eq!(what.backend, view.capabilities().name);
        assert!(what.operation.contains("time-out") && what.help.contains("allow_overlap"), "{error}");
    };
    names_it(&view.submit(task()).expect_err("refused"));
    let back = view.try_submit(task()).expect_err("refused");
    assert!(matches!(back, TrySubmitError::Refused(..)), "{back:?}");
    for outcome in view.map((0..3).map(|_| task())) {
        names_it(&outcome.expect_err("refused"));
    }
    assert!(lines(file).is_empty(), "nothing has run");
}

/// However often its worker dies.
pub fn limits_given_up<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("attempts");
    let pool = Setup::workers(2).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    let again = pool.with(Policy::new().retry(Retry::crashes(4)));
    let deadly = again.submit(ends_until::task(file.clone(), End::Signal(libc::SIGKILL), 9)).expect("accepted");
    let others: Vec<_> = (0..50).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();
    let error = deadly.join().expect_err("it dies each time");
    let TaskError::Crashed(death) = error else { panic!("{error:?} is no crash") };
    assert_eq!((death.attempt, death.signal), (5, Some(libc::SIGKILL)));
    assert!(!lives(death.pid));
    assert_eq!(lines(&file), ["1", "2", "3", "4", "5"]);
    for (number, other) in (0..).zip(others) {
        assert_eq!(other.join().expect("unharmed"), 2 * number);
    }
    is_whole(&scratch, &pool, 2);
}
