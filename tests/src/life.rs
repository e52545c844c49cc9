//! From build to drop.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use taskloom::{
    AsIs, Backend, Cancel, Event, Handle, Kind, Policy, Pool, Retry, State, TaskError, TrySubmitError, Until, View,
    as_completed, wait,
};

use crate::{
    harness::{Aside, Harness, Init, Setup, aside, at_once},
    journal::{Events, records},
    misdeeds,
    process::{Holdings, cpu_time, descendants, in_own_process},
    scratch::{Gate, Scratch, eventually, lines, touch},
    tasks::{
        End, double, drops_pool, ends, hand_over, insists, knows, leaves_grandchild, length, many_bytes, marks, prints,
        reads_input, reports, until_told, waits,
    },
    workers::output_is_captured,
};

fn kind<T>(outcome: &Result<T, TaskError>) -> Kind {
    outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded)
}

/// Everything accepted is finished: queued, running, and between two attempts.
pub fn life_join<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(2).build::<H>();
    let (gate, held) = held(&scratch, &pool);
    let again = pool.with(Policy::new().retry(Retry::failures(1).backoff(Duration::from_millis(20))));
    let retried = again.submit(knows::task(2)).expect("accepted");
    let handles: Vec<_> =
        (0..100).map(|n| pool.submit(marks::task(file.clone(), End::Value, n)).expect("accepted")).collect();
    drop(pool.submit(marks::task(file.clone(), End::Value, 100)).expect("accepted"));
    thread::scope(|scope| {
        let joining = scope.spawn(|| pool.join());
        scope.spawn(|| pool.join());
        gate.open();
        joining.join().expect("does not panic");
    });
    assert_eq!(pool.open_tasks(), 0);
    assert_eq!(lines(&file).len(), 101, "also the one that nobody waits for");
    assert!(handles.iter().all(Handle::is_finished) && retried.is_finished());
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().expect("runs"), number);
    }
    assert_eq!(retried.join().expect("runs").attempt, 2);
    assert_eq!(held.handle().join().expect("runs"), 7);
    pool.join();
    pool.cancel_all(Duration::ZERO);
    pool.join();
}

/// A task that runs until its gate is opened or it is told to stop.
fn held<B: Backend>(scratch: &Scratch, pool: &Pool<B>) -> (Gate, Aside<u64>) {
    let gate = scratch.gate("held");
    let held = aside(pool, waits::task(gate.clone(), 7));
    gate.wait_for(1);
    (gate, held)
}

/// Fills the one worker and its queue: what runs, and what waits.
fn filled<B: Backend>(scratch: &Scratch, pool: &Pool<B>, queued: u64) -> (Aside<u64>, Vec<Handle<u64>>) {
    let (_, running) = held(scratch, pool);
    let queued = if at_once(pool) { 0 } else { queued };
    let file = scratch.path("bodies");
    let submit = |number| pool.submit(marks::task(file.clone(), End::Value, number)).expect("accepted");
    (running, (0..queued).map(submit).collect())
}

/// Every handle has its outcome when it returns; from anywhere, and again.
pub fn life_cancel_all<H: Harness>() {
    let grace = Duration::from_secs(20);
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    let (running, queued) = filled(&scratch, &pool, 50);
    pool.cancel_all(grace);
    assert_eq!(pool.open_tasks(), 0, "every task has its outcome");
    for handle in queued {
        assert!(handle.is_finished());
        assert!(matches!(handle.join(), Err(TaskError::Cancelled)));
    }
    assert_eq!(running.handle().join().expect("what it returns when it is told to stop"), 7);
    assert!(lines(&scratch.path("bodies")).is_empty(), "nothing queued has started");
    // Again, and from another thread.
    pool.cancel_all(grace);
    thread::scope(|scope| scope.spawn(|| pool.cancel_all(grace)).join()).expect("does not panic");
    pool.join();

    // With a full queue, in which somebody waits for room.
    if !at_once(&pool) {
        let scratch = Scratch::new();
        let pool = Setup::workers(1).queue_items(3).build::<H>();
        let (running, queued) = filled(&scratch, &pool, 3);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.submit(double::task(1)).map(drop));
            assert!(matches!(pool.try_submit(double::task(1)), Err(TrySubmitError::Full(_))));
            pool.cancel_all(grace);
            assert!(matches!(waiting.join().expect("does not panic"), Err(TaskError::Closed) | Ok(())));
        });
        assert_eq!(pool.open_tasks(), 0);
        assert!(queued.into_iter().all(|handle| kind(&handle.join()) == Kind::Cancelled));
        assert_eq!(running.handle().join().expect("what it returns"), 7);
    }

    // One that rests before its next attempt is nobody's but the clock's.
    if !at_once(&pool) {
        let events = Events::default();
        let pool = Setup::workers(1).events(&events).build::<H>();
        let hour = Duration::from_secs(3600);
        let again = pool.with(Policy::new().retry(Retry::failures(1).backoff(hour).longest_backoff(hour)));
        let resting = again.submit(ends::task(End::Error, 1)).expect("accepted");
        let rests = |event: &Event| matches!(event, Event::Retrying { .. });
        eventually("it rests", || events.of(resting.id()).iter().any(rests));
        pool.cancel_all(grace);
        assert_eq!(pool.open_tasks(), 0);
        assert!(matches!(resting.join(), Err(TaskError::Cancelled)));
    }

    // A task that does not listen is stopped, or left alone, when its time is over.
    let pool = Setup::workers(1).build::<H>();
    let gate = scratch.gate("insists");
    let insisting = aside(&pool, insists::task(gate.clone(), 7));
    gate.wait_for(1);
    if at_once(&pool) {
        // It has somebody else's thread: it ends when it returns.
        gate.open();
        pool.cancel_all(grace);
        assert_eq!(insisting.handle().join().expect("what it returns"), 7);
    } else {
        let (start, grace) = (Instant::now(), Duration::from_millis(50));
        pool.cancel_all(grace);
        assert!(start.elapsed() >= grace, "it had its time");
        assert_eq!(pool.open_tasks(), 0);
        assert!(matches!(insisting.handle().join(), Err(TaskError::Cancelled)));
        gate.open();
    }

    broken_pool_ends::<H>();
}

/// A pool whose workers cannot be replaced any more.
fn broken_pool_ends<H: Harness>() {
    let scratch = Scratch::new();
    let stop = scratch.path("stop");
    let pool = Setup::workers(1).init(Init::MakesUntil(scratch.path("tries"), stop.clone())).build::<H>();
    touch(&stop);
    let end = if pool.capabilities().isolates { End::Exit(1) } else { End::Panic };
    let last = pool.submit(ends::task(end, 1)).expect("accepted");
    let behind: Vec<_> = (0..5).map(|number| pool.submit(double::task(number))).collect();
    assert!(last.join().is_err());
    pool.cancel_all(Duration::ZERO);
    assert!(behind.iter().flatten().all(Handle::is_finished));
    pool.join();
    pool.cancel_all(Duration::ZERO);
}

/// After either end nothing is accepted; what cannot be accepted is given back.
pub fn life_closed<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).queue_items(2).build::<H>();
    if at_once(&pool) {
        // Nothing ever waits, so there is always room.
        let taken = (0..20).map(|number| pool.try_submit(double::task(number)));
        assert!(taken.collect::<Result<Vec<_>, _>>().is_ok());
    } else {
        let (gate, running) = held(&scratch, &pool);
        let running = running.handle();
        eventually("it is known to run, and takes no room", || running.state() == State::Running);
        let queued = [1, 2].map(|number| pool.try_submit(double::task(number)).expect("there is room"));
        let back = pool.try_submit(double::task(21)).expect_err("there is no room");
        assert!(matches!(back, TrySubmitError::Full(_)), "{back:?}");
        let task = back.into_task();
        gate.open();
        // Waits until there is room again.
        assert_eq!(pool.submit::<_, AsIs>(task).expect("accepted").join().expect("runs"), 42);
        assert_eq!(running.join().expect("runs"), 7);
        assert_eq!(queued.map(|handle| handle.join().expect("runs")), [2, 4]);
        ends_full::<H>();
    }
    pool.join();
    is_closed(&pool);

    let pool = Setup::workers(1).build::<H>();
    let view = View::clone(&pool);
    pool.cancel_all(Duration::ZERO);
    is_closed(&pool);
    drop(pool);
    is_closed(&view);
}

/// A pool that ends while its queue is full says that it is closed: who is told that it is full tries again.
fn ends_full<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).queue_items(2).build::<H>();
    let (gate, running) = held(&scratch, &pool);
    let running = running.handle();
    eventually("it is known to run, and takes no room", || running.state() == State::Running);
    let queued = [1, 2].map(|number| pool.try_submit(double::task(number)).expect("there is room"));
    let view = View::clone(&pool);
    let end = thread::spawn(move || view.join());
    eventually("it is closed", || matches!(pool.try_submit(double::task(3)), Err(TrySubmitError::Closed(_))));
    gate.open();
    end.join().expect("does not panic");
    assert_eq!(queued.map(|handle| handle.join().expect("runs")), [2, 4]);
}

fn is_closed<B: Backend>(view: &View<B>) {
    assert!(matches!(view.submit(double::task(1)), Err(TaskError::Closed)));
    let back = view.try_submit(double::task(21)).expect_err("closed");
    assert!(matches!(back, TrySubmitError::Closed(_)), "{back:?}");
    let elsewhere = taskloom::inline::pool().build().expect("an inline pool can be built");
    assert_eq!(elsewhere.submit::<_, AsIs>(back.into_task()).expect("accepted").join().expect("runs"), 42);
    let mapped: Vec<_> = view.map((0..5).map(double::task)).collect();
    assert!(!mapped.is_empty() && mapped.iter().all(|result| matches!(result, Err(TaskError::Closed))), "{mapped:?}");
}

/// A pool that goes out of scope, in each way, resolves every handle.
pub fn life_dropped<H: Harness>() {
    type Way<B> = fn(Pool<B>);
    let ways: [(&str, Way<H::Backend>); 4] = [
        ("dropped", drop),
        ("by a panic", |pool| {
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _pool = pool;
                panic!("out of here")
            }));
            assert!(unwound.is_err());
        }),
        ("by a question mark", |pool| {
            let leave = move || -> Result<(), String> {
                let _pool = pool;
                Err("out of here")?;
                Ok(())
            };
            assert!(leave().is_err());
        }),
        ("on another thread", |pool| thread::spawn(move || drop(pool)).join().expect("does not panic")),
    ];
    for (name, way) in ways {
        let scratch = Scratch::new();
        let pool = Setup::workers(1).build::<H>();
        let (running, queued) = filled(&scratch, &pool, 20);
        way(pool);
        for handle in queued {
            assert!(handle.is_finished(), "{name}");
            assert!(matches!(handle.join(), Err(TaskError::Cancelled)), "{name}");
        }
        assert_eq!(running.handle().join().expect("what it returns when it is told to stop"), 7, "{name}");
        assert!(lines(&scratch.path("bodies")).is_empty(), "{name}: nothing queued has started");
    }

    // One that does not listen.
    let scratch = Scratch::new();
    let grace = Duration::from_millis(50);
    let pool = Setup::workers(1).drop_grace(grace).build::<H>();
    let gate = scratch.gate("insists");
    let insisting = aside(&pool, insists::task(gate.clone(), 7));
    gate.wait_for(1);
    let (start, here) = (Instant::now(), at_once(&pool));
    drop(pool);
    assert!(start.elapsed() >= grace, "it had its time");
    if here {
        // Nobody can take its thread away: what it returns is its outcome.
        gate.open();
        assert_eq!(insisting.handle().join().expect("what it returns"), 7);
    } else {
        assert!(matches!(insisting.handle().join(), Err(TaskError::Cancelled)));
        gate.open();
    }

    own_task_drops_its_pool::<H>();
}

/// The last owner of a pool is a task of it.
fn own_task_drops_its_pool<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    if pool.capabilities().encodes {
        assert!(!pool.capabilities().nests, "a task elsewhere has no way to own its pool");
        return;
    }
    let (view, done) = (View::clone(&pool), scratch.path("done"));
    let key = hand_over(pool.into_any());
    let last = view.submit(drops_pool::task(key, done.clone())).expect("accepted");
    eventually("the task goes on", || done.exists());
    assert!(matches!(kind(&last.join()), Kind::Succeeded | Kind::Cancelled));
    assert!(matches!(view.submit(double::task(1)), Err(TaskError::Closed)));
}

/// Uses all that a pool has.
fn work_hard<B: Backend>(pool: &Pool<B>, scratch: &Scratch) {
    let limited = pool.with(Policy::new().timeout(Duration::from_secs(3600)).deadline(Duration::from_secs(3600)));
    let again = pool.with(Policy::new().retry(Retry::any(1).backoff(Duration::from_millis(1))));
    let sum: u64 = pool.map((0..200).map(double::task)).map(|result| result.expect("runs")).sum();
    assert_eq!(sum, 199 * 200);
    assert_eq!(pool.map_unordered((0..3).map(|_| many_bytes::task(1 << 20))).count(), 3);
    let mut handles = vec![
        limited.submit(double::task(1)).expect("accepted"),
        again.submit(ends::task(End::Error, 1)).expect("accepted"),
        pool.submit(ends::task(End::Panic, 1)).expect("accepted"),
        pool.submit(reports::task(10)).expect("accepted"),
    ];
    if pool.capabilities().isolates {
        handles.push(again.submit(ends::task(End::Exit(1), 1)).expect("accepted"));
    }
    let file = scratch.path("bodies");
    let queued: Vec<_> =
        (0..10).map(|n| pool.submit(marks::task(file.clone(), End::Value, n)).expect("accepted")).collect();
    for handle in &queued {
        handle.cancel();
    }
    handles.extend(queued);
    assert_eq!(as_completed(&handles).count(), handles.len());
    drop(pool.map((0..100).map(double::task)).next());
}

/// After each way of ending, the process holds what it held before.
pub fn life_nothing_left<H: Harness>() {
    in_own_process("", || {
        let round = |end: &dyn Fn(Pool<H::Backend>)| {
            let scratch = Scratch::new();
            let events = Events::default();
            let pool = Setup::workers(3).metrics().events(&events).build::<H>();
            work_hard(&pool, &scratch);
            end(pool);
        };
        // Some things are made once per process, by the libraries below; no thread of ours is one of them.
        round(&drop);
        let ours = |now: &Holdings| now.threads.iter().any(|name| name.starts_with("taskloom"));
        let before = settled(|now| !ours(now));
        assert!(!ours(&before), "{before:?}");
        let ends: [&dyn Fn(Pool<H::Backend>); 4] =
            [&drop, &|pool| pool.join(), &|pool| pool.cancel_all(Duration::from_secs(20)), &|pool| {
                let scratch = Scratch::new();
                let (running, queued) = filled(&scratch, &pool, 20);
                drop(pool);
                assert_eq!(running.handle().join().expect("what it returns"), 7);
                drop(queued);
            }];
        for end in ends {
            round(end);
            let after = settled(|now| *now == before);
            assert_eq!(after, before);
        }
    });
}

/// What this process holds, as soon as it is as wanted, or else after a while: the last bit of a thread's life, or of a
/// child's, may be seen a moment longer than its end is known.
fn settled(wanted: impl Fn(&Holdings) -> bool) -> Holdings {
    for _ in 0..400 {
        let now = Holdings::now();
        if wanted(&now) && now == Holdings::now() {
            return now;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Holdings::now()
}

/// Ten threads, one pool.
pub fn life_shared<H: Harness>() {
    let pool = Setup::workers(3).build::<H>();
    let cancelled = AtomicUsize::new(0);
    let one = |number: u64| {
        for round in 0..5 {
            let base = 1000 * number + round;
            let handle = pool.submit(double::task(base)).expect("accepted");
            let results = pool.map((base..base + 40).map(double::task)).map(|result| result.expect("runs"));
            assert!(results.eq((base..base + 40).map(|number| 2 * number)));
            let some: Vec<_> = (0..10).map(|n| pool.submit(double::task(base + n)).expect("accepted")).collect();
            let found: Vec<Cancel> = some[..5].iter().map(Handle::cancel).collect();
            assert_eq!(wait(&some, Until::All, None).done.len(), 10);
            for (at, handle) in (0..).zip(some) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, 2 * (base + at)),
                    Err(error) => {
                        assert!(matches!(error, TaskError::Cancelled) && found[at as usize] != Cancel::TooLate);
                        cancelled.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            let mut some = pool.map_unordered((base..base + 100).map(double::task));
            assert!(some.next().expect("a hundred").is_ok());
            assert_eq!(handle.join().expect("runs"), 2 * base);
        }
    };
    thread::scope(|scope| (0..10).for_each(|number| drop(scope.spawn(move || one(number)))));
    assert!(cancelled.into_inner() <= 10 * 5 * 5);
    pool.join();
    assert_eq!(pool.open_tasks(), 0);
}

/// Counts of descriptors and threads do not depend on how many tasks have run, or are pending.
pub fn life_steady<H: Harness>() {
    in_own_process("", || {
        let pool = Setup::workers(2).queue_items(4000).queue_bytes(64 << 20).build::<H>();
        let run = |count: u64| {
            let handles: Vec<_> = (0..count).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
            for (number, handle) in (0..).zip(handles) {
                assert_eq!(handle.join().expect("runs"), 2 * number);
            }
        };
        let held = |now: &Holdings| (now.threads.len(), now.descriptors.len());
        let (size, count) = (64 << 10, 100_000);
        // The queue is bounded and its room is waited for; results that nobody has joined do not count.
        let bytes = vec![7; size];
        let run_large = |count: usize| {
            let pending: Vec<_> =
                (0..count).map(|_| pool.submit(length::task(bytes.clone())).expect("accepted")).collect();
            assert_eq!(pending.len(), count);
            assert!(pending.into_iter().all(|handle| handle.join().is_ok_and(|length| length == size)));
        };
        // Whatever is made once is made now.
        run(100);
        run_large(100);
        let before = held(&settled(|_| true));
        run(10_000);
        assert_eq!(held(&settled(|now| held(now) == before)), before);

        misdeeds::limit_descriptors(1024);
        run_large(count);
        assert_eq!(held(&settled(|now| held(now) == before)), before);
    });
}

/// While nothing is to be done, no thread of the process and no worker runs.
pub fn life_idle<H: Harness>() {
    in_own_process("", || {
        let scratch = Scratch::new();
        let pool = Setup::workers(2).metrics().build::<H>();
        work_hard(&pool, &scratch);
        // Something held by nobody that a poller would look after.
        let _clocked = pool.with(Policy::new().deadline(Duration::from_secs(3600))).submit(double::task(1));
        eventually("all is done", || pool.open_tasks() == 0);
        let used = || {
            let processes: Vec<u32> = std::iter::once(std::process::id()).chain(descendants()).collect();
            cpu_time(&processes, &own_thread_name())
        };
        // The first windows may still see the end of the work.
        let windows: Vec<Duration> = (0..8)
            .map(|_| {
                let before = used();
                thread::sleep(Duration::from_millis(700));
                used().saturating_sub(before)
            })
            .collect();
        let silent = windows.iter().filter(|used| used.is_zero()).count();
        assert!(silent >= 2, "an idle pool was at work in nearly every window: {windows:?}");
    });
}

/// The thread of the test is the one that looks, and so the one that works.
fn own_thread_name() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default().trim_end().to_owned()
}

/// What a worker reads and writes.
pub fn life_streams<H: Harness>() {
    let written = in_own_process("not for workers\n", || {
        let pool = Setup::workers(1).build::<H>();
        if pool.capabilities().isolates {
            let read = pool.submit(reads_input::task()).expect("accepted").join().expect("runs");
            assert_eq!(read, 0, "nothing is to be read, and it does not wait");
        }
        assert_eq!(pool.submit(prints::task("hello".to_owned())).expect("accepted").join().expect("runs"), 1);
        let grandchild =
            pool.submit(leaves_grandchild::task()).expect("accepted").join().expect("does not wait for it");
        assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("the worker goes on"), 8);
        if !pool.capabilities().isolates {
            // Our own child then: it would keep this process's output open.
            assert!(misdeeds::send(grandchild, libc::SIGKILL));
        }
        // Whoever reads this process's output waits until nobody holds it any more.
        drop(pool);
    });
    let Some(written) = written else { return };
    let mut out: Vec<&str> = written.stdout.lines().collect();
    out.sort_unstable();
    assert_eq!(out, ["child: hello", "out: hello"], "what the task printed, and no messages");
    assert!(written.stderr.contains("err: hello\n"), "{}", written.stderr);
    output_is_captured::<H>();
}

/// Pools that are built, used and ended print nothing, and log nothing above `Info`.
pub fn life_quiet<H: Harness>() {
    let written = in_own_process("", || {
        let ends: [fn(Pool<H::Backend>); 3] =
            [|pool| pool.join(), |pool| pool.cancel_all(Duration::from_secs(20)), drop];
        for end in ends {
            let scratch = Scratch::new();
            let pool = Setup::workers(2).build::<H>();
            let sum: u64 = pool.map((0..100).map(double::task)).map(|result| result.expect("runs")).sum();
            assert_eq!(sum, 99 * 100);
            for outcome in [End::Error, End::Panic].map(|end| pool.submit(ends::task(end, 1)).expect("accepted").join())
            {
                assert!(outcome.is_err());
            }
            if !at_once(&pool) {
                let gate = scratch.gate("told");
                let told = pool.submit(until_told::task(gate.clone(), 7)).expect("accepted");
                gate.wait_for(1);
                told.cancel();
                assert_eq!(told.join().expect("what it returns"), 7);
            }
            end(pool);
        }
        assert_eq!(records(|record| record.level <= log::Level::Warn), []);
    });
    let Some(written) = written else { return };
    assert_eq!(written.stdout, "");
    assert_eq!(written.stderr, "");
}
