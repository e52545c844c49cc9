//! One task, one outcome.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Debug,
    os::unix::ffi::OsStringExt,
    panic::catch_unwind,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use taskloom::{
    AsIs, Backend, Cancel, Capabilities, Clock, CodecError, CodecStage, Data, Event, Handle, Job, Kind, Policy, Pool,
    Portable, PortableTask, Retry, Settings, Shutdown, State, Stop, Task, TaskError, Until, View, assert_round_trip,
    backend_api::Hub, wait,
};

use crate::{
    crash::lacks_isolation,
    harness::{Harness, Setup, at_once, through_bytes},
    journal::Events,
    scratch::{Scratch, eventually, lines},
    tasks::{
        End, PANIC_PLACE, catches_its_panic, counts_and_ends, counts_and_waits, double, echo_endless, echo_flat,
        echo_json, echo_os_string, echo_path, echo_shifting, echo_untagged, ends, fails_with_anyhow, fails_with_box,
        fails_with_text, gives_moody, gives_panics_when_read, gives_panics_when_written, gives_unreadable,
        gives_unwritable, last_words, live_counted, marks, panics, panics_with_bomb, panics_with_number,
        reads_forgetful, recounts, returns_cancelled, returns_time_out, takes_panics_when_read,
        takes_panics_when_written, takes_unreadable, takes_unwritable, until_told, waits, whoami,
    },
    values::{
        Counted, Endless, Flat, Forgetful, Moody, PanicsWhenRead, PanicsWhenWritten, Shifting, Unreadable, Untagged,
        Unwritable,
    },
};

/// The ends that a task can have on this backend without harm to the test.
fn possible_ends(isolates: bool) -> Vec<End> {
    let mut ends = vec![End::Value, End::Error, End::Panic];
    if isolates {
        ends.extend([End::Exit(3), End::Signal(libc::SIGKILL)]);
    }
    ends
}

fn kind_of(end: End) -> Kind {
    match end {
        End::Value => Kind::Succeeded,
        End::Error => Kind::Failed,
        End::Panic => Kind::Panicked,
        End::Exit(_) | End::Signal(_) => Kind::Crashed,
    }
}

fn kind<T>(outcome: &Result<T, TaskError>) -> Kind {
    outcome.as_ref().map_or_else(TaskError::kind, |_| Kind::Succeeded)
}

/// Every task has exactly one outcome by three counts, and looking, cancelling or ending the pool does not change it.
pub fn outcome_once<H: Harness>() {
    let events = Events::default();
    let pool = Setup::workers(2).events(&events).build::<H>();
    let possible = possible_ends(pool.capabilities().isolates);
    let called: Arc<Mutex<Vec<u64>>> = Arc::default();
    let submit = |number: u64| {
        let end = possible[number as usize % possible.len()];
        let handle = pool.submit(ends::task(end, number)).expect("accepted");
        let called = called.clone();
        handle.on_done(move |finished| called.lock().expect("not poisoned").push(finished.task));
        if number.is_multiple_of(7) {
            handle.cancel();
        }
        (end, handle)
    };
    let tasks: Vec<(End, Handle<u64>)> = (0..30).map(submit).collect();
    assert_eq!(wait(&tasks, Until::All, None).done.len(), 30);

    let first: Vec<Kind> = tasks.iter().map(|(_, handle)| handle.summary().expect("measured").kind).collect();
    for (_, handle) in &tasks {
        assert_eq!(handle.cancel(), Cancel::TooLate);
        assert_eq!(handle.state(), State::Finished);
    }
    pool.join();
    let mut finished: BTreeMap<u64, Vec<Kind>> = BTreeMap::new();
    for event in events.all() {
        if let Event::Finished(done) = event {
            finished.entry(done.task).or_default().push(done.kind);
        }
    }
    assert_eq!(finished.len(), tasks.len());
    assert_eq!(called.lock().expect("not poisoned").len(), tasks.len());
    for (number, ((end, handle), first)) in tasks.into_iter().zip(first).enumerate() {
        assert_eq!(finished[&handle.id()], [first], "task {number} finished once");
        assert_eq!(called.lock().expect("not poisoned").iter().filter(|&&id| id == handle.id()).count(), 1);
        let outcome = handle.join();
        assert_eq!(kind(&outcome), first, "task {number}");
        assert!(first == kind_of(end) || (number % 7 == 0 && first == Kind::Cancelled), "task {number}: {first:?}");
        assert!(outcome.is_err() || outcome.is_ok_and(|value| value == number as u64));
    }
}

/// Bodies count themselves while neighbours fail, panic and die: none counts twice, those that succeeded once.
pub fn outcome_runs<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(2).build::<H>();
    let possible = possible_ends(pool.capabilities().isolates);
    let end = |number: u64| if number % 10 == 3 { possible[number as usize / 10 % possible.len()] } else { End::Value };
    let handles: Vec<_> =
        (0..60).map(|number| pool.submit(marks::task(file.clone(), end(number), number)).expect("accepted")).collect();
    let chunked = pool.with(Policy::new().chunk(5));
    let mapped: Vec<_> = chunked.map((60..120).map(|number| marks::task(file.clone(), end(number), number))).collect();
    let outcomes: Vec<_> = handles.into_iter().map(Handle::join).chain(mapped).collect();
    pool.join();

    let mut bodies: BTreeMap<u64, u32> = BTreeMap::new();
    for line in lines(&file) {
        *bodies.entry(line.parse().expect("a number")).or_default() += 1;
    }
    for (number, outcome) in (0..120).zip(&outcomes) {
        assert_eq!(kind(outcome), kind_of(end(number)), "task {number}: {outcome:?}");
        assert_eq!(bodies.get(&number), Some(&1), "task {number} ran once");
    }
}

/// Each way to end is made to happen and is called by its name; impostors are not believed.
pub fn outcome_kinds<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(2).build::<H>();
    let join = |handle: Result<Handle<u64>, TaskError>| handle.expect("accepted").join();

    assert_eq!(kind(&join(pool.submit(returns_time_out::task()))), Kind::Failed);
    assert_eq!(kind(&join(pool.submit(returns_cancelled::task()))), Kind::Failed);
    assert_eq!(kind(&join(pool.submit(ends::task(End::Error, 1)))), Kind::Failed);
    assert_eq!(kind(&join(pool.submit(ends::task(End::Panic, 1)))), Kind::Panicked);

    let limit = Duration::from_millis(50);
    let gate = scratch.gate("overruns");
    let overran = join(pool.with(Policy::new().timeout(limit)).submit(until_told::task(gate, 1)));
    let TaskError::TimedOut(timed_out) = overran.expect_err("too slow") else { panic!("not a time-out") };
    assert_eq!((timed_out.clock, timed_out.limit), (Clock::Running, limit));

    let gate = scratch.gate("busy");
    if at_once(&pool) {
        let done = pool.submit(double::task(1)).expect("accepted");
        assert_eq!(done.cancel(), Cancel::TooLate, "a task has run before anybody could cancel it");
    } else {
        let busy: Vec<_> =
            (0..2).map(|number| pool.submit(waits::task(gate.clone(), number)).expect("accepted")).collect();
        gate.wait_for(2);
        let queued = pool.submit(double::task(1)).expect("accepted");
        queued.cancel();
        assert_eq!(kind(&queued.join()), Kind::Cancelled);
        gate.open();
        assert!(busy.into_iter().map(Handle::join).all(|outcome| outcome.is_ok()));
    }

    if pool.capabilities().isolates {
        for (end, code, signal) in
            [(End::Exit(0), Some(0), None), (End::Signal(libc::SIGTERM), None, Some(libc::SIGTERM))]
        {
            let TaskError::Crashed(death) = join(pool.submit(ends::task(end, 1))).expect_err("died") else {
                panic!("not a crash")
            };
            assert_eq!((death.exit_code, death.signal), (code, signal));
        }
    } else {
        lacks_isolation(&pool);
    }
    assert!(matches!(forgotten(), Err(TaskError::Lost(_))), "a backend that lets go of a task has lost it");
}

/// The outcome of a task whose backend lets go of it.
fn forgotten() -> Result<u64, TaskError> {
    struct Careless;
    impl Backend for Careless {
        fn capabilities(&self) -> Capabilities {
            Capabilities::new("careless", 1)
        }
        fn submit(&self, job: Job) {
            drop(job);
        }
        fn stop(&self, _: u64, _: Stop) {}
        fn shutdown(&self, _: Shutdown) {}
    }
    Pool::new(Hub::new(Settings::default()), Careless).submit(double::task(1))?.join()
}

/// Chains of causes arrive whole, and read well in one line.
pub fn outcome_error<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    let missing = "No such file or directory (os error 2)";
    let cases: [(Handle<u64>, &str, &[&str]); 3] = [
        (
            pool.submit(fails_with_anyhow::task(scratch.path("missing"))).expect("accepted"),
            "starting",
            &["reading the settings", missing],
        ),
        (pool.submit(fails_with_text::task("no luck".to_owned())).expect("accepted"), "no luck", &[]),
        (pool.submit(fails_with_box::task()).expect("accepted"), "the roof leaks", &["a tile is loose"]),
    ];
    for (handle, message, causes) in cases {
        let error = handle.join().expect_err("fails");
        let TaskError::Failed(failure) = &error else { panic!("{error:?} is not the task's own error") };
        assert_eq!(failure.message, message);
        assert_eq!(failure.causes().collect::<Vec<_>>(), causes);
        let error = anyhow::Error::from(error);
        let sources: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
        assert_eq!(sources, causes, "the sources are the causes");
        let expected = [&["task failed", message][..], causes].concat().join(": ");
        assert_eq!(format!("{error:#}"), expected);
    }
}

/// A panic says what, where and how it came there; one that the task caught says nothing.
pub fn outcome_panic<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let text = "the glass is empty".to_owned();
    let error = pool.submit(panics::task(text.clone())).expect("accepted").join().expect_err("panics");
    let TaskError::Panicked(panic) = error else { panic!("{error:?} is not a panic") };
    assert_eq!(panic.message, text);
    let place = panic.place.expect("the hook saw it");
    let (file, line) = PANIC_PLACE;
    assert!(place.starts_with(&format!("{file}:{line}:")), "{place} is not {file}:{line}");
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted == "0") {
        assert_eq!(panic.backtrace, "", "the user wants none");
    } else {
        assert!(panic.backtrace.contains("tasks::panics"), "{}", panic.backtrace);
    }

    let caught = pool.submit(catches_its_panic::task(false)).expect("accepted").join();
    assert_eq!(caught.expect("not an outcome"), 1);
    let caught = pool.submit(catches_its_panic::task(true)).expect("accepted").join();
    assert!(matches!(caught, Err(TaskError::Failed(failure)) if failure.message == "heard"));
}

/// Odd payloads become that task's panic; the worker, its neighbours and the pool go on.
pub fn outcome_payload<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let before = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    let odd = [
        pool.submit(panics_with_number::task()),
        pool.submit(panics_with_bomb::task(0)),
        pool.submit(panics_with_bomb::task(1)),
        pool.submit(panics_with_bomb::task(3)),
    ];
    let neighbour = pool.submit(double::task(4));
    for handle in odd {
        let error = handle.expect("accepted").join().expect_err("panics");
        let TaskError::Panicked(panic) = error else { panic!("{error:?} is not a panic") };
        assert!(!panic.message.is_empty(), "it is said that the payload is no text");
        assert!(panic.place.is_some());
    }
    assert_eq!(neighbour.expect("accepted").join().expect("unharmed"), 8);
    let mapped = pool.map((0..4).map(panics_with_bomb::task)).map(|outcome| kind(&outcome));
    assert!(mapped.eq([Kind::Panicked; 4]));
    assert_eq!(pool.submit(whoami::task()).expect("accepted").join().expect("runs"), before, "the same worker");
}

/// A death says who died, how, when and with which last words.
pub fn outcome_death<H: Harness>() {
    let events = Events::default();
    let pool = Setup::workers(1).events(&events).build::<H>();
    if !pool.capabilities().isolates {
        return lacks_isolation(&pool);
    }
    let work = Duration::from_millis(30);
    let again = pool.with(Policy::new().retry(Retry::crashes(1)));
    let (scratch, again_started) = (Scratch::new(), |event: &Event| matches!(event, Event::Started { attempt: 2, .. }));
    let gate = scratch.gate("second attempt");
    let handle = again.submit(last_words::task(20, gate.clone())).expect("accepted");
    // The record's time runs from when the parent hears of the start; so does this one.
    eventually("the second attempt is heard of", || events.all().iter().any(again_started));
    std::thread::sleep(work);
    gate.open();
    let error = handle.join().expect_err("dies");
    let TaskError::Crashed(death) = error else { panic!("{error:?} is not a crash") };
    pool.join();
    let started: Vec<(u32, u32)> = events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::WorkerStarted { worker, pid, .. } => Some((worker, pid)),
            _ => None,
        })
        .collect();
    assert!(started.contains(&(death.worker, death.pid)), "{death:?} is none of {started:?}");
    assert_ne!(death.pid, std::process::id());
    assert_eq!((death.signal, death.exit_code), (Some(libc::SIGKILL), None));
    assert_eq!(death.attempt, 2);
    assert!(death.wall >= work, "{:?}", death.wall);
    assert!(death.peak_memory.is_some_and(|bytes| bytes > 1 << 20), "{:?}", death.peak_memory);
    assert_eq!(death.stderr, (5..=20).map(|line| format!("line {line}")).collect::<Vec<_>>());
}

/// The `Codec` error of an outcome.
#[track_caller]
fn codec<T: Debug>(outcome: Result<T, TaskError>, stage: CodecStage, cause: &str) -> CodecError {
    let error = outcome.expect_err("cannot be carried");
    let TaskError::Codec(codec) = error else { panic!("{error:?} is no codec error") };
    assert_eq!(codec.stage, stage);
    assert!(codec.message.contains(cause), "{} does not say: {cause}", codec.message);
    *codec
}

/// Runs and joins.
#[track_caller]
fn run<B, T>(view: &View<B>, task: T) -> Result<T::Output, TaskError>
where
    B: Backend + ?Sized,
    T: PortableTask + Task<Reach = Portable>,
{
    view.submit::<T, AsIs>(task)?.join()
}

/// What cannot be written is refused where it is submitted, alone or in a map; where nothing is written it arrives.
pub fn outcome_encode<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let before = run(&pool, whoami::task()).expect("runs");
    let again = pool.with(Policy::new().retry(Retry::failures(1)));
    let refused = again.submit(takes_unwritable::task(Unwritable(7)));
    let fault = codec(refused, CodecStage::EncodeArgument, "too heavy to lift");
    assert!(fault.task.ends_with("takes_unwritable"), "{}", fault.task);

    if through_bytes::<H>(&pool) {
        let refused = pool.submit(takes_unwritable::task(Unwritable(7)));
        codec(refused, CodecStage::EncodeArgument, "too heavy to lift");
        let refused = pool.submit(takes_panics_when_written::task(PanicsWhenWritten));
        assert!(matches!(refused, Err(TaskError::Panicked(panic)) if panic.message == "dropped while writing"));
        let mapped = pool.map([0, 1, 2].map(|number| takes_unwritable::task(Unwritable(number))));
        assert_eq!(mapped.map(|outcome| kind(&outcome)).collect::<Vec<_>>(), [Kind::Codec; 3]);
    } else {
        assert_eq!(run(&pool, takes_unwritable::task(Unwritable(7))).expect("nothing is written"), 7);
        assert_eq!(run(&pool, takes_panics_when_written::task(PanicsWhenWritten)).expect("nothing is written"), 1);
    }
    assert_eq!(pool.open_tasks(), 0, "what was refused was never accepted");
    assert_eq!(run(&pool, whoami::task()).expect("runs"), before, "the same worker");
}

/// What cannot be read is that task's error, in whichever attempt it is read first.
pub fn outcome_decode_arg<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let before = run(&pool, whoami::task()).expect("runs");
    let broken = "the seal of 7 is broken";
    let odd = pool.submit(takes_unreadable::task(Unreadable(7))).expect("accepted");
    let neighbour = pool.submit(double::task(4)).expect("accepted");
    if through_bytes::<H>(&pool) {
        codec(odd.join(), CodecStage::DecodeArgument, broken);
        let panicked = run(&pool, takes_panics_when_read::task(PanicsWhenRead));
        assert!(matches!(panicked, Err(TaskError::Panicked(panic)) if panic.message == "dropped while reading"));
    } else {
        assert!(matches!(odd.join(), Err(TaskError::Failed(failure)) if failure.message == "read 7"));
        // The second attempt has what was written before the first.
        let again = pool.with(Policy::new().retry(Retry::failures(1)));
        codec(run(&again, takes_unreadable::task(Unreadable(7))), CodecStage::DecodeArgument, broken);
    }
    assert_eq!(neighbour.join().expect("unharmed"), 8);
    assert_eq!(run(&pool, whoami::task()).expect("runs"), before, "the same worker");
}

/// A result that cannot be written is that task's error.
pub fn outcome_encode_result<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let before = run(&pool, whoami::task()).expect("runs");
    let odd = pool.submit(gives_unwritable::task(7)).expect("accepted");
    let neighbour = pool.submit(double::task(4)).expect("accepted");
    if through_bytes::<H>(&pool) {
        codec(odd.join(), CodecStage::EncodeResult, "too heavy to lift");
        let panicked = run(&pool, gives_panics_when_written::task());
        assert!(matches!(panicked, Err(TaskError::Panicked(panic)) if panic.message == "dropped while writing"));
    } else {
        assert_eq!(odd.join().expect("nothing is written"), Unwritable(7));
        assert_eq!(run(&pool, gives_panics_when_written::task()).expect("nothing is written"), PanicsWhenWritten);
    }
    assert_eq!(neighbour.join().expect("unharmed"), 8);
    assert_eq!(run(&pool, whoami::task()).expect("runs"), before, "the same worker");
}

/// A result that cannot be read is that task's error.
pub fn outcome_decode_result<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let before = run(&pool, whoami::task()).expect("runs");
    let odd = pool.submit(gives_unreadable::task(7)).expect("accepted");
    let neighbour = pool.submit(double::task(4)).expect("accepted");
    if through_bytes::<H>(&pool) {
        codec(odd.join(), CodecStage::DecodeResult, "the seal of 7 is broken");
        let panicked = run(&pool, gives_panics_when_read::task());
        assert!(matches!(panicked, Err(TaskError::Panicked(panic)) if panic.message == "dropped while reading"));
    } else {
        assert_eq!(odd.join().expect("nothing is read"), Unreadable(7));
        assert_eq!(run(&pool, gives_panics_when_read::task()).expect("nothing is read"), PanicsWhenRead);
    }
    assert_eq!(neighbour.join().expect("unharmed"), 8);

    // Many of a map's results are read at once: each has its own outcome all the same.
    let bytes = through_bytes::<H>(&pool);
    let results: Vec<_> = pool.map((0..300).map(gives_moody::task)).collect();
    assert_eq!(results.len(), 300);
    for (number, result) in (0..).zip(results) {
        match number % 10 {
            3 if bytes => {
                let Err(TaskError::Panicked(panic)) = result else { panic!("{number}: {result:?}") };
                assert_eq!(panic.message, format!("dropped {number} while reading"));
            }
            7 if bytes => {
                codec(result, CodecStage::DecodeResult, &format!("{number} is not for reading"));
            }
            _ => assert_eq!(result.expect("readable"), Moody(number)),
        }
    }
    assert_eq!(run(&pool, whoami::task()).expect("runs"), before, "the same worker");
}

/// Values arrive as they were or not at all.
pub fn outcome_faithful<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let bytes = through_bytes::<H>(&pool);
    let map = BTreeMap::from([("one".to_owned(), 1)]);

    carried_or_refused(&pool, bytes, echo_untagged::task(Untagged::Text("5".to_owned())), &Untagged::Text("5".into()));
    let flat = Flat { name: "flat".to_owned(), rest: map };
    carried_or_refused(&pool, bytes, echo_flat::task(flat.clone()), &flat);
    let shifting = Shifting { first: None, second: Some(2) };
    carried_or_refused(&pool, bytes, echo_shifting::task(shifting.clone()), &shifting);
    let endless = Endless(BTreeMap::from([(1, 2), (3, 4)]));
    carried_or_refused(&pool, bytes, echo_endless::task(endless.clone()), &endless);
    let json = serde_json::json!({"a": [1, null, 2.5]});
    carried_or_refused(&pool, bytes, echo_json::task(json.clone()), &json);

    let odd = OsString::from_vec(b"caf\xe9/\xff\xfe".to_vec());
    assert!(odd.to_str().is_none());
    assert_eq!(run(&pool, echo_os_string::task(odd.clone())).expect("carried"), odd);
    assert_eq!(run(&pool, echo_path::task(PathBuf::from(&odd))).expect("carried"), PathBuf::from(&odd));

    // A part that says itself that it stays behind: the bytes do not show it, a round trip does.
    let forgetful = Forgetful { kept: 1, forgotten: 2 };
    let seen = run(&pool, reads_forgetful::task(forgetful.clone())).expect("carried");
    assert_eq!(seen, if bytes { (1, 0) } else { (1, 2) }, "the same in checked mode as in another process");
    let caught = catch_unwind(|| assert_round_trip(&forgetful)).expect_err("comes back different");
    assert!(caught.downcast_ref::<String>().is_some_and(|text| text.contains("came back different")));
    assert_round_trip(&Forgetful { kept: 1, forgotten: 0 });
}

/// Runs a task that gives back what it was given: equal, or, through bytes, a `Codec` error.
#[track_caller]
fn carried_or_refused<B, T>(view: &View<B>, through_bytes: bool, task: T, value: &T::Output)
where
    B: Backend + ?Sized,
    T: PortableTask + Task<Reach = Portable, Output: PartialEq + Debug + Data>,
{
    match run(view, task) {
        Ok(back) => assert!(!through_bytes && back == *value, "{value:?} became {back:?}"),
        Err(error) => assert!(through_bytes && error.kind() == Kind::Codec, "{value:?}: {error}"),
    }
}

/// Whatever becomes of tasks, their arguments and results do not outlive their use.
pub fn outcome_drop<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    let gone = |when: &str| {
        eventually(&format!("nothing is alive {when}"), || Counted::live() == 0);
        assert_eq!(run(&pool, live_counted::task()).expect("runs"), 0, "in the worker, {when}");
    };

    assert_eq!(run(&pool, recounts::task(Counted::new(1))).expect("runs").number(), 2);
    gone("after a result was taken");

    let detached = pool.submit(recounts::task(Counted::new(1))).expect("accepted");
    drop(detached);
    eventually("the detached task is done", || pool.open_tasks() == 0);
    gone("after a task nobody waits for");

    let kept: Vec<_> = [End::Error, End::Panic]
        .map(|end| pool.submit(counts_and_ends::task(Counted::new(1), end)).expect("accepted"))
        .into();
    assert_eq!(wait(&kept, Until::All, None).done, [0, 1]);
    gone("after tasks that failed, although their handles are kept");

    if !at_once(&pool) {
        let gate = scratch.gate("held");
        let running = pool.submit(counts_and_waits::task(Counted::new(1), gate.clone())).expect("accepted");
        gate.wait_for(1);
        let queued = pool.submit(recounts::task(Counted::new(2))).expect("accepted");
        queued.cancel();
        wait([&queued], Until::All, None);
        // In this process the task that runs owns one; elsewhere that one is in the worker.
        let mine = usize::from(!pool.capabilities().encodes);
        eventually("the argument of the cancelled task is gone", || Counted::live() == mine);
        gate.open();
        assert_eq!(running.join().expect("runs"), 1);
        gone("after a cancel");
    }

    let mut some = pool.map((0..50).map(|number| recounts::task(Counted::new(number))));
    assert_eq!(some.next().expect("there is one").expect("runs").number(), 1);
    drop(some);
    eventually("the abandoned map is done", || pool.open_tasks() == 0);
    gone("after a map that was abandoned");
}
