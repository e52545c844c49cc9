//! One worker's end is one task's outcome.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use taskloom::{Backend, Death, Event, Handle, Policy, Pool, Retry, TaskError, View};

use crate::{
    harness::{Harness, Init, Setup},
    journal::Events,
    misdeeds,
    process::{in_own_process, is_stuck, state, threads_called},
    scratch::{Scratch, eventually, lines, touch},
    tasks::{
        End, Misdeed,
        bulk::{gives_held, marks_text, measures},
        commits, dies_once, double, ends, gives_or_dies, insists, knows, knows_together, waits, whoami,
    },
    values::Held,
};

/// What a backend promises that does not isolate: it says so, and accepts to retry after what cannot happen there.
pub(crate) fn lacks_isolation<B: Backend + ?Sized>(view: &View<B>) {
    let capabilities = view.capabilities();
    assert!(!capabilities.isolates && !capabilities.kills && !capabilities.limits_memory, "{capabilities:?}");
    let careful = view.with(Policy::new().retry(Retry::crashes(3)));
    let known = careful.submit(knows::task(1)).expect("accepted").join().expect("runs");
    assert_eq!(known.attempt, 1);
    let failed = careful.submit(knows::task(2)).expect("accepted").join();
    assert!(matches!(failed, Err(TaskError::Failed(failure)) if failure.message == "attempt 1"), "never retried");
}

/// A worker goes down with one task, while another task runs beside it and more wait behind it: the one is `Crashed`, the
/// others succeed, and the pool is whole again.
fn one_task_crashes<H: Harness>(misdeed: Misdeed) -> Option<Death> {
    let scratch = Scratch::new();
    let pool = Setup::workers(2).build::<H>();
    if !pool.capabilities().isolates {
        lacks_isolation(&pool);
        return None;
    }
    let gate = scratch.gate("neighbour");
    let neighbour = pool.submit(waits::task(gate.clone(), 5)).expect("accepted");
    gate.wait_for(1);
    let before: Vec<_> = (0..5).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();
    let culprit = pool.submit(commits::task(misdeed)).expect("accepted");
    let behind: Vec<_> = (5..10).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();

    let error = culprit.join().expect_err("its worker dies");
    let TaskError::Crashed(death) = error else { panic!("{error:?} is not a crash") };
    for (number, handle) in before.into_iter().chain(behind).enumerate() {
        assert_eq!(handle.join().expect("unharmed"), 2 * number as u64);
    }
    gate.open();
    assert_eq!(neighbour.join().expect("unharmed"), 5);
    is_whole(&scratch, &pool, 2);
    Some(*death)
}

/// So many workers run at the same time.
pub(crate) fn is_whole<B: Backend>(scratch: &Scratch, pool: &Pool<B>, workers: usize) {
    let gate = scratch.gate("whole");
    let together: Vec<Handle<_>> =
        (0..workers).map(|_| pool.submit(knows_together::task(gate.clone(), workers)).expect("accepted")).collect();
    let slots: BTreeSet<u32> = together.into_iter().map(|handle| handle.join().expect("runs").slot).collect();
    assert_eq!(slots.len(), workers, "replacements have the places of those before them");
}

fn status(death: &Death) -> (Option<i32>, Option<i32>) {
    (death.signal, death.exit_code)
}

/// By SIGSEGV.
pub fn crash_segv<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::WildPointer) {
        assert_eq!(status(&death), (Some(libc::SIGSEGV), None));
    }
}

/// By SIGKILL, from the task itself and from elsewhere.
pub fn crash_kill<H: Harness>() {
    let Some(death) = one_task_crashes::<H>(Misdeed::Signal(libc::SIGKILL)) else { return };
    assert_eq!(status(&death), (Some(libc::SIGKILL), None));

    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    let (worker, pid) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    let gate = scratch.gate("running");
    let running = pool.submit(insists::task(gate.clone(), 1)).expect("accepted");
    gate.wait_for(1);
    let behind = pool.submit(double::task(1)).expect("accepted");
    assert!(misdeeds::send(pid, libc::SIGKILL));
    let error = running.join().expect_err("killed");
    let TaskError::Crashed(death) = error else { panic!("{error:?} is not a crash") };
    assert_eq!((death.worker, death.pid, death.signal), (worker, pid, Some(libc::SIGKILL)));
    assert_eq!(behind.join().expect("unharmed"), 2);
}

/// By SIGABRT.
pub fn crash_abort<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::Abort) {
        assert_eq!(status(&death), (Some(libc::SIGABRT), None));
    }
}

/// By the guard page: Rust's handler says so and aborts.
pub fn crash_stack_overflow<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::StackOverflow) {
        assert!(matches!(status(&death), (Some(libc::SIGABRT | libc::SIGSEGV), None)), "{death:?}");
        assert!(death.stderr.iter().any(|line| line.contains("overflowed its stack")), "{:?}", death.stderr);
    }
}

/// With code 0, which is no success.
pub fn crash_exit0<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::Exit(0)) {
        assert_eq!(status(&death), (None, Some(0)));
    }
}

/// With code 3.
pub fn crash_exit3<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::Exit(3)) {
        assert_eq!(status(&death), (None, Some(3)));
    }
}

/// Without any cleaning up.
pub fn crash_quick_exit<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::QuickExit(4)) {
        assert_eq!(status(&death), (None, Some(4)));
    }
}

/// The worker cannot report any more.
pub fn crash_close_all_fds<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::CloseAll) {
        assert!(death.pid > 0);
    }
}

/// The parent understands nothing any more, or the worker finds that it would; who finds it says so.
pub fn crash_garbage<H: Harness>() {
    if let Some(death) = one_task_crashes::<H>(Misdeed::Garbage) {
        let told = death.stderr.iter().any(|line| line.contains("overwritten"));
        assert!(death.verdict.contains("garbage") || told, "{death:?}");
    }
}

/// A stopped worker would wait for ever; the supervisor notices and says so. A terminal cannot stop a worker: what it reads
/// is not one.
pub fn crash_stopped<H: Harness>() {
    let Some(death) = one_task_crashes::<H>(Misdeed::Signal(libc::SIGSTOP)) else { return };
    assert!(death.verdict.contains("stopped"), "{death:?}");

    let pool = Setup::workers(1).build::<H>();
    let read = pool.submit(commits::task(Misdeed::ReadInput)).expect("accepted").join();
    assert_eq!(read.expect("nothing to read, nothing to wait for"), 0);
}

/// Results, small and large, that left the worker before it was killed.
pub fn crash_result_first<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    let chunked = pool.with(Policy::new().chunk(8));
    for size in [1, 1 << 20] {
        let outcomes: Vec<_> = chunked.map((0..8).map(|item| gives_or_dies::task(size, item == 5))).collect();
        for (item, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(bytes) => assert!(item != 5 && bytes.len() == size, "{item}"),
                Err(error) => assert!(item == 5 && matches!(error, TaskError::Crashed(_)), "{item}: {error}"),
            }
        }
    }
}

/// Whoever was behind the crash has its first attempt; the one that crashed has its second.
pub fn crash_behind<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    // Alone, without any retries.
    let gate = scratch.gate("culprit");
    let culprit = pool.submit(insists::task(gate.clone(), 1)).expect("accepted");
    gate.wait_for(1);
    let behind: Vec<_> = (0..5).map(|_| pool.submit(knows::task(1)).expect("accepted")).collect();
    let dying = pool.submit(ends::task(End::Exit(1), 1)).expect("accepted");
    let more: Vec<_> = (0..5).map(|_| pool.submit(knows::task(1)).expect("accepted")).collect();
    gate.open();
    assert_eq!(culprit.join().expect("runs"), 1);
    assert!(matches!(dying.join(), Err(TaskError::Crashed(_))));
    for handle in behind.into_iter().chain(more) {
        assert_eq!(handle.join().expect("runs").attempt, 1);
    }
    // In one chunk with it.
    let again = pool.with(Policy::new().chunk(10).retry(Retry::crashes(1)));
    let outcomes = again.map((0..10).map(|item| dies_once::task(item == 3)));
    let attempts: Vec<u32> = outcomes.map(|outcome| outcome.expect("runs").attempt).collect();
    assert_eq!(attempts, [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]);
}

/// Killed between two tasks: there is another before anybody asks.
pub fn crash_idle<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let pool = Setup::workers(2).events(&events).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    is_whole(&scratch, &pool, 2);
    let started = || {
        let pids = events.all().into_iter().filter_map(|event| match event {
            Event::WorkerStarted { pid, .. } => Some(pid),
            _ => None,
        });
        pids.collect::<Vec<_>>()
    };
    eventually("two workers have started", || started().len() == 2);
    let victim = started()[0];
    assert!(misdeeds::send(victim, libc::SIGKILL));
    eventually("a third has started", || started().len() == 3);
    let ended = |event: &Event| matches!(event, Event::WorkerEnded { pid, .. } if *pid == victim);
    eventually("the death is told", || events.all().iter().any(ended));

    let handles: Vec<_> = (0..20).map(|_| pool.submit(whoami::task()).expect("accepted")).collect();
    for handle in handles {
        assert_ne!(handle.join().expect("nothing breaks").1, victim);
    }
    is_whole(&Scratch::new(), &pool, 2);
}

/// Many megabytes.
const BULK: usize = 32 << 20;

/// Killed while the parent sends to it, and while it sends to the parent.
pub fn crash_mid_message<H: Harness>() {
    if in_own_process("", || ends_mid_argument::<H>(libc::SIGKILL)).is_some() {
        ends_mid_result::<H>(libc::SIGKILL);
    }
}

/// Nobody goes on with such a message: the worker is killed, and that is why.
pub fn crash_mid_stop<H: Harness>() {
    if in_own_process("", || ends_mid_argument::<H>(libc::SIGSTOP)).is_some() {
        ends_mid_result::<H>(libc::SIGSTOP);
    }
}

/// The task has not begun: another worker gets it, and nobody is to blame.
fn ends_mid_argument<H: Harness>(signal: i32) {
    let events = Events::default();
    let pool = Setup::workers(1).events(&events).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    let (worker, pid) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    // It reads no more.
    assert!(misdeeds::send(pid, libc::SIGSTOP));
    eventually("it is stopped", || state(Path::new(&format!("/proc/{pid}"))).is_some_and(|state| state == "T"));
    let bulk = pool.submit(measures::task("x".repeat(BULK))).expect("accepted");
    let behind = pool.submit(whoami::task()).expect("accepted");
    eventually("the rest waits for room", || threads_called("taskloom-writer").iter().any(|thread| is_stuck(thread)));
    assert!(!bulk.is_finished());
    if signal == libc::SIGKILL {
        assert!(misdeeds::send(pid, signal));
    }
    assert_eq!(bulk.join().expect("another worker gets all of it"), BULK);
    assert_ne!(behind.join().expect("unharmed").1, pid);
    pool.join();
    let how = events.all().into_iter().find_map(|event| match event {
        Event::WorkerEnded { worker: ended, how, .. } if ended == worker => Some(how),
        _ => None,
    });
    assert!(how.as_ref().is_some_and(|how| how.contains("stopped") == (signal == libc::SIGSTOP)), "{how:?}");
}

/// The task has run, and its result is lost; the one before it is not, nor what others do meanwhile.
fn ends_mid_result<H: Harness>(signal: i32) {
    let scratch = Scratch::new();
    let (gate, file) = (scratch.gate("reader"), scratch.path("bodies"));
    // Where events are read, results are read when they come.
    let pool = Setup::workers(2).events(&Events::default()).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    let chunk = pool.with(Policy::new().chunk(2));
    // The other worker is busy, or it would be given a part of the chunk.
    let busy = scratch.gate("other worker");
    let other = pool.submit(waits::task(busy.clone(), 3)).expect("accepted");
    busy.wait_for(1);
    // Whoever reads the first result reads no more until the gate is open, and the second does not fit.
    let both = [(Some(gate.clone()), 1), (None, BULK)].map(|(gate, size)| gives_held::task(gate, size, file.clone()));
    let outcomes: Vec<Result<Held, TaskError>> = thread::scope(|scope| {
        let mapped = scope.spawn(|| chunk.map(both).collect());
        gate.wait_for(1);
        eventually("both have run", || lines(&file).len() == 2);
        busy.open();
        assert_eq!(other.join().expect("runs"), 3);
        let thread = Path::new("/proc").join(&lines(&file)[1]);
        eventually("the rest waits for room", || is_stuck(&thread));
        let pid = lines(&file)[1].split('/').next().and_then(|pid| pid.parse().ok()).expect("a process id");
        assert!(misdeeds::send(pid, signal));
        let process = PathBuf::from(format!("/proc/{pid}"));
        eventually("it is dead or stopped", || state(&process).is_none_or(|state| state == "Z" || state == "T"));
        gate.open();
        let others: Vec<_> = (0..20).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();
        for (number, other) in (0..).zip(others) {
            assert_eq!(other.join().expect("unharmed"), 2 * number);
        }
        mapped.join().expect("does not panic")
    });
    let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map(|held| held.text.len())).collect();
    let [Ok(1), Err(TaskError::Crashed(death))] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(death.signal, Some(libc::SIGKILL));
    assert_eq!(death.verdict.contains("stopped"), signal == libc::SIGSTOP, "{death:?}");
    is_whole(&scratch, &pool, 2);
}

/// Small tasks and large ones, alone and in chunks, on pools of four sizes.
pub fn crash_storm<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    storm::<H>(1, 500, None, 11);
    storm::<H>(2, 2000, None, 12);
    storm::<H>(5, 2000, Some(20), 13);
    storm::<H>(13, 1500, None, 14);
}

fn storm<H: Harness>(workers: usize, count: u64, chunk: Option<usize>, seed: u64) {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let events = Events::default();
    let pool = Setup::workers(workers).events(&events).build::<H>();
    let size = |number: u64| if number.is_multiple_of(50) { 1 << 20 } else { 10 };
    let task = |number| marks_text::task(file.clone(), number, number.to_string().repeat(size(number)));
    let over = AtomicBool::new(false);
    let (outcomes, victims) = thread::scope(|scope| {
        let killer = scope.spawn(|| kill_some(&events, &over, seed));
        let outcomes: Vec<Result<(u64, String), TaskError>> = match chunk {
            Some(size) => pool.with(Policy::new().chunk(size)).map((0..count).map(task)).collect(),
            None => {
                let handles: Vec<_> = (0..count).map(|number| pool.submit(task(number)).expect("accepted")).collect();
                handles.into_iter().map(Handle::join).collect()
            }
        };
        over.store(true, Ordering::Relaxed);
        (outcomes, killer.join().expect("does not panic"))
    });
    pool.join();
    let bodies = lines(&file);
    let distinct: BTreeSet<&String> = bodies.iter().collect();
    assert_eq!(bodies.len(), distinct.len(), "a body ran twice");
    let mut crashed = 0;
    for (number, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok((same, text)) => {
                assert_eq!(same, number);
                assert!(text == number.to_string().repeat(size(number)), "task {number} has another's text");
                assert!(distinct.contains(&number.to_string()), "task {number} succeeded without having run");
            }
            Err(TaskError::Crashed(_)) => crashed += 1,
            Err(other) => panic!("task {number}: {other:?}"),
        }
    }
    assert!(victims > 0, "a storm without a single death shows nothing");
    assert!(crashed <= victims, "{crashed} tasks crashed by {victims} deaths");
}

/// Ends workers at random until it is over: most are killed, some stopped. How many.
fn kill_some(events: &Events, over: &AtomicBool, seed: u64) -> usize {
    // xorshift (Marsaglia 2003): the same storm each time, as far as timing allows.
    let mut random = seed;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut victims = 0;
    while !over.load(Ordering::Relaxed) && victims < 25 {
        thread::sleep(Duration::from_millis(2 + next(20)));
        let mut alive = BTreeSet::new();
        for event in events.all() {
            match event {
                Event::WorkerStarted { pid, .. } => drop(alive.insert(pid)),
                Event::WorkerEnded { pid, .. } => drop(alive.remove(&pid)),
                _ => {}
            }
        }
        let Some(pid) = alive.iter().nth(next(alive.len().max(1) as u64) as usize) else { continue };
        let signal = if victims % 8 == 7 { libc::SIGSTOP } else { libc::SIGKILL };
        victims += usize::from(misdeeds::send(*pid, signal));
    }
    victims
}

/// Whatever keeps workers from starting is told to who builds, or to who waits.
pub fn crash_no_worker<H: Harness>() {
    if in_own_process("", without_descriptors::<H>).is_none() {
        return;
    }
    let reason = "no space for the model".to_owned();
    let refused = H::build(Setup::workers(2).init(Init::Fails(reason.clone()))).expect_err("no worker can start");
    assert!(all_of(&refused).contains(&reason), "{}", all_of(&refused));

    let scratch = Scratch::new();
    let (tries, stop) = (scratch.path("tries"), scratch.path("stop"));
    let pool = Setup::workers(1).init(Init::MakesUntil(tries.clone(), stop.clone())).build::<H>();
    if pool.capabilities().isolates {
        let refused = H::build(Setup::workers(2).init(Init::Exits(9))).expect_err("no worker can start");
        assert!(matches!(&refused, TaskError::Start(start) if format!("{start:?}").contains('9')), "{refused:?}");

        touch(&stop);
        let dying = pool.submit(ends::task(End::Exit(1), 1)).expect("accepted");
        let waiting: Vec<_> = (0..5).map(|number| pool.submit(double::task(number))).collect();
        assert!(matches!(dying.join(), Err(TaskError::Crashed(_))));
        for handle in waiting {
            let error = handle.and_then(Handle::join).expect_err("nobody is left to run it");
            assert!(all_of(&error).contains("the licence has expired"), "{}", all_of(&error));
        }
        let tried = lines(&tries).len();
        assert!(tried < 50, "{tried} tries are a loop");
    } else {
        lacks_isolation(&pool);
    }
}

/// There are no descriptors left for workers. Where none are needed, all is well.
fn without_descriptors<H: Harness>() {
    // The number of the next descriptor is the number of those in use, if there are no gaps.
    let next =
        std::fs::File::open("/dev/null").map(|file| std::os::fd::AsRawFd::as_raw_fd(&file)).expect("one is left");
    misdeeds::limit_descriptors(next.unsigned_abs().into());
    match H::build(Setup::workers(2)) {
        Ok(pool) => {
            assert!(!pool.capabilities().isolates, "a process cannot be started without descriptors");
            assert_eq!(pool.submit(double::task(2)).expect("accepted").join().expect("runs"), 4);
        }
        Err(error) => assert!(matches!(error, TaskError::Start(_) | TaskError::Exhausted(_)), "{error:?}"),
    }
}

/// An error with everything that it knows.
fn all_of(error: &TaskError) -> String {
    format!("{:#} {error:?}", anyhow::Error::from(error.clone()))
}
