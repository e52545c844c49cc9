//! Many inputs, one result each.

use std::{
    cell::Cell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use taskloom::{Kind, Policy, TaskError, View};

use crate::{
    harness::{Harness, Setup, at_once},
    scratch::{Scratch, eventually, lines},
    tasks::{End, double, echo, ends, knows, late_if_early, many_bytes, marks, marks_and_waits, waits},
};

/// Results that can be compared.
fn shown<T>(outcome: Result<T, TaskError>) -> Result<T, (Kind, String)> {
    outcome.map_err(|error| (error.kind(), error.to_string()))
}

/// One of seven fails, one of eleven panics.
fn end_of(number: u64) -> End {
    match number {
        n if n % 7 == 3 => End::Error,
        n if n % 11 == 5 => End::Panic,
        _ => End::Value,
    }
}

/// What input `number` should give; the text of errors is not compared here.
fn kind_of(number: u64) -> Result<u64, Kind> {
    match end_of(number) {
        End::Value => Ok(number),
        End::Error => Err(Kind::Failed),
        _ => Err(Kind::Panicked),
    }
}

fn kinds(outcomes: impl Iterator<Item = Result<u64, TaskError>>) -> Vec<Result<u64, Kind>> {
    outcomes.map(|outcome| outcome.map_err(|error| error.kind())).collect()
}

/// Slow inputs before quick ones: the order is still that of the inputs.
pub fn map_order<H: Harness>() {
    let pool = Setup::workers(3).build::<H>();
    let results: Vec<u64> =
        pool.map((0..200).map(late_if_early::task)).collect::<Result<_, _>>().expect("none of them fails");
    assert!(results.into_iter().eq((0..200).map(|number| 2 * number)));

    let results = kinds(pool.map((0..100).map(|number| ends::task(end_of(number), number))));
    assert_eq!(results, (0..100).map(kind_of).collect::<Vec<_>>());
    let indices = pool.map((0..50).map(|_| knows::task(1))).map(|known| known.expect("runs").index);
    assert!(indices.eq(0..50), "tasks know their places");

    let mut sized = pool.map((0..10).map(double::task));
    assert_eq!(sized.size_hint(), (10, Some(10)));
    assert_eq!(sized.next().expect("there are ten").expect("runs"), 0);
    assert_eq!(sized.size_hint(), (9, Some(9)));
    assert_eq!(sized.by_ref().count(), 9);
    assert!(sized.next().is_none() && sized.next().is_none(), "the end is the end");
}

/// The same results, however they come.
pub fn map_unordered<H: Harness>() {
    let pool = Setup::workers(3).build::<H>();
    // Many inputs give the same result: each counts.
    let input = || (0..150).map(|number| ends::task(end_of(number % 50), number % 50));
    let count = |results: Vec<Result<u64, (Kind, String)>>| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        results.into_iter().for_each(|result| *counts.entry(format!("{result:?}")).or_default() += 1);
        counts
    };
    let ordered = count(pool.map(input()).map(shown).collect());
    assert_eq!(ordered.values().sum::<u32>(), 150);
    for view in [View::clone(&pool), pool.with(Policy::new().chunk(1)), pool.with(Policy::new().chunk(40))] {
        assert_eq!(count(view.map_unordered(input()).map(shown).collect()), ordered);
    }
    if at_once(&pool) {
        return;
    }
    // They come as they finish: the first input is the last to come.
    let scratch = Scratch::new();
    let gate = scratch.gate("first");
    let others = scratch.gate("others");
    others.open();
    let input = (0..10).map(|number| waits::task(if number == 0 { gate.clone() } else { others.clone() }, number));
    let mut results = pool.with(Policy::new().chunk(1)).map_unordered(input);
    let early: Vec<u64> = results.by_ref().take(9).map(|number| number.expect("runs")).collect();
    assert!(!early.contains(&0), "{early:?}");
    gate.open();
    assert_eq!(results.map(|number| number.expect("runs")).collect::<Vec<_>>(), [0]);
}

/// Errors, panics and, where there can be any, crashes disturb nobody in the same chunk or in another.
pub fn map_error<H: Harness>() {
    let pool = Setup::workers(2).build::<H>();
    let expected: Vec<_> = (0..60).map(kind_of).collect();
    for chunk in [None, Some(1), Some(3), Some(60)] {
        let policy = chunk.map_or(Policy::new(), |chunk| Policy::new().chunk(chunk));
        let results = kinds(pool.with(policy).map((0..60).map(|number| ends::task(end_of(number), number))));
        assert_eq!(results, expected, "chunks of {chunk:?}");
    }
    if pool.capabilities().isolates {
        let chunked = pool.with(Policy::new().chunk(10));
        let end = |number| if number % 20 == 7 { End::Exit(1) } else { End::Value };
        let results = kinds(chunked.map((0..40).map(|number| ends::task(end(number), number))));
        for (number, result) in (0..).zip(results) {
            assert_eq!(result, if number % 20 == 7 { Err(Kind::Crashed) } else { Ok(number) });
        }
    }
}

/// However many go together, the results are the same; none is not a number of tasks.
pub fn map_chunks<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(2).build::<H>();
    let inputs = 30;
    let expected: Vec<_> = pool.map((0..inputs).map(|number| ends::task(end_of(number), number))).map(shown).collect();
    for chunk in [1, 3, 30, 100] {
        let view = pool.with(Policy::new().chunk(chunk));
        let results: Vec<_> =
            view.map((0..inputs).map(|number| ends::task(end_of(number), number))).map(shown).collect();
        assert_eq!(results, expected, "chunks of {chunk}");
        let results = view.map_unordered((0..inputs).map(|number| ends::task(end_of(number), number)));
        assert_eq!(results.count(), 30, "chunks of {chunk}, as they finish");
    }
    let refused = catch_unwind(AssertUnwindSafe(|| {
        let results = pool.with(Policy::new().chunk(0)).map([marks::task(file.clone(), End::Value, 1)]);
        results.count()
    }));
    let message = refused.expect_err("refused");
    assert!(message.downcast_ref::<&str>().is_some_and(|text| text.contains("at least one task")));
    assert!(!file.exists(), "nothing has run");
}

/// Inputs are pulled when there is use for them, and not before.
pub fn map_lazy<H: Harness>() {
    let pool = Setup::workers(2).build::<H>();
    let pulled = Cell::new(0_u64);
    let counting = |number: u64| {
        pulled.set(pulled.get() + 1);
        double::task(number)
    };
    let window = 8;
    for chunk in [1, 3] {
        let view = pool.with(Policy::new().window(window).chunk(chunk));
        pulled.set(0);
        let mut results = view.map((0..).map(counting));
        assert_eq!(pulled.get(), 0, "nothing before the first `next`");
        for taken in 0..40 {
            assert_eq!(results.next().expect("endless").expect("runs"), 2 * taken);
            let ahead = pulled.get() - taken - 1;
            assert!(ahead <= window as u64, "{ahead} ahead");
        }
        drop(results);
        let mut results = view.map_unordered((0..).map(counting));
        assert_eq!(results.by_ref().take(40).count(), 40);
    }
    pulled.set(0);
    let sum: u64 = pool.map((0..).map(counting)).take(1000).map(|number| number.expect("runs")).sum();
    assert_eq!(sum, 999 * 1000, "endless, with the window that is the default");
    assert!(pulled.get() < 1_000_000, "{} pulled for 1000", pulled.get());

    slow_input::<H>();
}

/// A slow producer that waits, before it gives an input, until the task of the input before has run. A map that filled its
/// window first would pull 64 inputs before it gives a result.
fn slow_input<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(2).build::<H>();
    let pulled = Cell::new(0_usize);
    let input = (0..20_u64).map(|number| {
        eventually("the task before has run", || lines(&file).len() >= pulled.get());
        thread::sleep(Duration::from_millis(5));
        pulled.set(pulled.get() + 1);
        marks::task(file.clone(), End::Value, number)
    });
    let mut most_ahead = 0;
    for (taken, result) in pool.with(Policy::new().window(64)).map(input).enumerate() {
        assert_eq!(result.expect("runs"), taken as u64);
        most_ahead = most_ahead.max(pulled.get() - taken - 1);
    }
    // One that has run and is not yet known to have; one that was asked for meanwhile; and as much again for luck.
    assert!(most_ahead <= 4, "{most_ahead} inputs were pulled while results were ready");
}

/// The panic of an input is the caller's; what was pulled before runs, and the pool goes on.
pub fn map_input_panic<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(2).build::<H>();
    let input = (0..10).map(|number| {
        assert!(number != 5, "the file ends too early");
        marks::task(file.clone(), End::Value, number)
    });
    let mut results = pool.with(Policy::new().chunk(1)).map(input);
    let mut taken = Vec::new();
    let panic = loop {
        match catch_unwind(AssertUnwindSafe(|| results.next())) {
            Ok(result) => taken.push(result.expect("the input does not end").expect("runs")),
            Err(panic) => break panic,
        }
    };
    assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("the file ends too early")));
    assert!(taken.iter().copied().eq(0..taken.len() as u64) && taken.len() <= 5, "{taken:?}");
    drop(results);
    let results = pool.map((0..10).map(double::task)).map(|result| result.expect("runs"));
    assert!(results.eq((0..10).map(|number| 2 * number)), "the pool goes on");
    pool.join();
    assert!(lines(&file).len() <= 5);
}

/// Left half way: what has not started never does, nobody waits for what has, and the pool goes on. A map that is told to
/// cancel the rest does the same, and still gives what has started.
pub fn map_abandon<H: Harness>() {
    let scratch = Scratch::new();
    for chunk in [1, 4, 100] {
        for (ordered, dropped) in [(true, true), (false, true), (true, false), (false, false)] {
            let name = format!("{chunk} {ordered} {dropped}");
            let pool = Setup::workers(1).build::<H>();
            let (gate, open) = (scratch.gate(&name), scratch.gate(&format!("{name} open")));
            let here = at_once(&pool);
            let file = scratch.path(&name);
            // The first task waits until some inputs have been pulled. The second is held, so that those behind it are
            // queued when the map is dropped.
            let input = (0..100).map(|number| {
                if here || number == 3 {
                    open.open();
                }
                let gate = if number == 1 && !here { &gate } else { &open };
                marks_and_waits::task(file.clone(), gate.clone(), number)
            });
            let view = pool.with(Policy::new().chunk(chunk).window(50.max(chunk)));
            let mut results = if ordered { view.map(input) } else { view.map_unordered(input) };
            assert_eq!(results.next().expect("the first").expect("runs"), 0);
            if !here {
                gate.wait_for(1);
            }
            let started = lines(&file).len();
            // Does not wait for the task that is held: the gate is closed.
            let results = if dropped {
                drop(results);
                None
            } else {
                results.cancel_rest();
                Some(results)
            };
            // Nor does the cancelling: what was sent to the busy worker already is taken back.
            eventually("only what runs is open", || pool.open_tasks() == usize::from(!here));
            gate.open();
            if let Some(results) = results {
                let (given, cancelled): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
                assert!(given.into_iter().map(Result::unwrap).eq((!here).then_some(1)), "{name}");
                assert!(cancelled.iter().all(|result| matches!(result, Err(TaskError::Cancelled))), "{cancelled:?}");
                assert_eq!(here, cancelled.is_empty(), "{name}");
            }
            let known = pool.submit(knows::task(1)).expect("accepted").join().expect("the pool goes on");
            assert_eq!(known.attempt, 1);
            eventually("what runs is done", || pool.open_tasks() == 0);
            pool.join();
            assert_eq!(lines(&file).len(), started, "chunks of {chunk}: nothing has started since");
        }
    }
}

/// Odd shapes of input and result.
pub fn map_edges<H: Harness>() {
    let pool = Setup::workers(4).build::<H>();
    for view in [View::clone(&pool), pool.with(Policy::new().chunk(3))] {
        assert_eq!(view.map(std::iter::empty().map(double::task)).count(), 0, "no input");
        assert_eq!(view.map_unordered(std::iter::empty().map(double::task)).count(), 0, "no input");
        let one: Vec<_> = view.map([double::task(4)]).map(|result| result.expect("runs")).collect();
        assert_eq!(one, [8], "fewer inputs than workers");

        let sizes = (0..20).map(|number| if number == 7 { 9 << 20 } else { number });
        let giant: Vec<usize> = view
            .map(sizes.clone().map(|size| echo::task(vec![1; size])))
            .map(|back| back.expect("runs").len())
            .collect();
        assert!(giant.into_iter().eq(sizes), "one giant among small ones");

        let results = view.map((0..6).map(|number| many_bytes::task((5 << 20) + number)));
        for (number, result) in results.enumerate() {
            let bytes = result.expect("runs");
            assert_eq!(bytes.len(), (5 << 20) + number, "results of megabytes");
            assert!(bytes.iter().all(|&byte| byte == 7));
        }
    }
}

/// One input is held: everything else comes, wherever it stood, as long as a worker is idle.
pub fn map_fair<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(2).build::<H>();
    if at_once(&pool) {
        assert_eq!(pool.capabilities().workers, 1, "no other worker can be idle");
        return;
    }
    let open = scratch.gate("open");
    open.open();
    // Quick ones first, so that chunks have grown when the slow one comes.
    for (name, policy) in [("automatic", Policy::new()), ("fixed", Policy::new().chunk(20))] {
        let gate = scratch.gate(name);
        let input =
            (0..1000).map(|number| waits::task(if number == 700 { gate.clone() } else { open.clone() }, number));
        let mut results = pool.with(policy).map_unordered(input);
        let early: Vec<u64> = results.by_ref().take(999).map(|number| number.expect("runs")).collect();
        assert!(!early.contains(&700), "{name}");
        // Its worker may have begun it this very moment.
        gate.wait_for(1);
        gate.open();
        assert_eq!(results.next().expect("the last").expect("runs"), 700);
        assert!(results.next().is_none());
    }

    // All in one chunk, and nothing else that could bring the other worker here.
    let gate = scratch.gate("first");
    let input = (0..20).map(|number| waits::task(if number == 0 { gate.clone() } else { open.clone() }, number));
    let mut results = pool.with(Policy::new().chunk(20)).map_unordered(input);
    assert!(results.by_ref().take(19).all(|number| number.expect("runs") > 0));
    gate.open();
    assert_eq!(results.next().expect("the last").expect("runs"), 0);
}
