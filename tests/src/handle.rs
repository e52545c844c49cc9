//! Waiting, looking, cancelling.

use std::{
    collections::BTreeSet,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, Weak, mpsc::channel},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use taskloom::{
    Backend, Cancel, Finished, Handle, Kind, Policy, Pool, Retry, State, TaskError, Until, View, Waited, as_completed,
    wait,
};

use crate::{
    harness::{Harness, Setup, at_once},
    journal::{Events, records},
    scratch::{Scratch, eventually, lines},
    tasks::{
        End, double, ends, insists, knows, marks, publish, second_attempt_waits, sums, until_told, waits,
        waits_then_ends,
    },
};

/// Awaits on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// What of an outcome can be compared.
fn shown(outcome: Result<u64, TaskError>) -> Result<u64, (Kind, String)> {
    outcome.map_err(|error| (error.kind(), error.to_string()))
}

/// A road from a handle to its outcome.
type Road = fn(Handle<u64>) -> Result<u64, TaskError>;

const ROADS: [(&str, Road); 6] = [
    ("join", Handle::join),
    ("try_join", |mut handle| {
        loop {
            if let Some(outcome) = handle.try_join() {
                return outcome;
            }
            thread::yield_now();
        }
    }),
    ("join_timeout", |mut handle| {
        loop {
            if let Some(outcome) = handle.join_timeout(Duration::from_millis(1)) {
                return outcome;
            }
        }
    }),
    ("join_timeout without end", |mut handle| handle.join_timeout(Duration::MAX).expect("there is no end")),
    ("join_deadline", |mut handle| {
        let far = Instant::now() + Duration::from_secs(3600);
        handle.join_deadline(far).expect("far away")
    }),
    ("await", |handle| block_on(handle)),
];

/// Each road, to each kind of outcome, before and after it is there.
pub fn handle_roads<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    for (name, road) in ROADS {
        for end in [End::Value, End::Error, End::Panic] {
            let before = pool.submit(ends::task(end, 7)).expect("accepted").join();
            let expected = shown(before);
            assert_eq!(expected.is_ok(), end == End::Value);

            let done = pool.submit(ends::task(end, 7)).expect("accepted");
            wait([&done], Until::All, None);
            assert_eq!(shown(road(done)), expected, "{name} after {end:?}");

            if !at_once(&pool) {
                let gate = scratch.gate(&format!("{name} {end:?}"));
                let held = pool.submit(waits_then_ends::task(gate.clone(), end, 7)).expect("accepted");
                gate.wait_for(1);
                let waiting = thread::spawn(move || shown(road(held)));
                gate.open();
                assert_eq!(waiting.join().expect("does not panic"), expected, "{name} before {end:?}");
            }
        }
    }
    // An outcome is given away once.
    let mut taken = pool.submit(double::task(1)).expect("accepted");
    assert_eq!(taken.join_timeout(Duration::MAX).expect("there is no end").expect("runs"), 2);
    let again = catch_unwind(AssertUnwindSafe(|| taken.try_join()));
    assert!(again.is_err(), "taken twice");
}

/// Waiting in vain, in every way, costs nothing but time.
pub fn handle_wait_again<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    if at_once(&pool) {
        let mut done = pool.submit(double::task(1)).expect("accepted");
        assert_eq!(done.join_timeout(Duration::ZERO).expect("nothing to wait for").expect("runs"), 2);
        return;
    }
    let gate = scratch.gate("held");
    let mut held = pool.submit(waits::task(gate.clone(), 7)).expect("accepted");
    let short = Duration::from_millis(20);
    let at_least = |wait: &mut dyn FnMut()| {
        let start = Instant::now();
        wait();
        assert!(start.elapsed() >= short, "came back after {:?}", start.elapsed());
    };
    for _ in 0..2 {
        assert!(held.try_join().is_none());
        at_least(&mut || assert!(held.join_timeout(short).is_none()));
        at_least(&mut || assert!(held.join_deadline(Instant::now() + short).is_none()));
        at_least(&mut || assert_eq!(wait([&held], Until::All, Some(short)).pending, [0]));
        at_least(&mut || assert!(as_completed([&held]).timeout(short).next().is_none()));
        assert!(held.join_deadline(Instant::now()).is_none());
        let mut polled = pin!(&mut held);
        assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    gate.open();
    assert_eq!(held.join_timeout(Duration::MAX).expect("there is no end").expect("runs"), 7);
}

/// Observers on several threads see states in their order and in agreement with each other.
pub fn handle_state<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let pool = Setup::workers(1).events(&events).build::<H>();
    if at_once(&pool) {
        let done = pool.submit(double::task(1)).expect("accepted");
        assert_eq!((done.state(), done.is_finished()), (State::Finished, true));
    } else {
        quicken(&pool);
        let gates = [scratch.gate("first"), scratch.gate("second")];
        let handles = gates.each_ref().map(|gate| pool.submit(waits::task(gate.clone(), 7)).expect("accepted"));
        gates[0].wait_for(1);
        eventually("the first is known to run", || handles[0].state() == State::Running);
        // The one worker is busy: the second has not begun, wherever it waits.
        assert_eq!(handles[1].state(), State::Queued);
        assert!(!handles[0].is_finished() && !handles[1].is_finished());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| observe(&handles[1], || gates[1].came() > 0));
            }
            gates[0].open();
            gates[1].wait_for(1);
            eventually("the second is known to run", || handles[1].state() == State::Running);
            gates[1].open();
        });
        wait(&handles, Until::All, None);
        assert!(handles.iter().all(|handle| handle.state() == State::Finished));
    }
    let known = pool.submit(knows::task(1)).expect("accepted");
    let id = known.id();
    assert!(known.name().ends_with("::knows"), "{}", known.name());
    assert_eq!(known.join().expect("runs").id, id, "the task knows the same id");
    let other = pool.submit(double::task(1)).expect("accepted");
    assert_ne!(other.id(), id);
    pool.join();
    assert!(!events.of(id).is_empty(), "and so do the events");
}

/// Runs some quick tasks: a backend that sends tasks ahead does so now.
fn quicken<B: Backend>(pool: &Pool<B>) {
    let quick: Vec<_> = (0..50).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();
    assert_eq!(wait(&quick, Until::All, None).done.len(), 50);
}

/// Looks at a handle until its task is finished.
fn observe(handle: &Handle<u64>, begun: impl Fn() -> bool) {
    let rank = |state| match state {
        State::Queued => 0,
        State::Running => 1,
        _ => 2,
    };
    let mut last = 0;
    while last < 2 {
        let finished_before = handle.is_finished();
        let now = rank(handle.state());
        assert!(now >= last, "went back from {last} to {now}");
        assert!(!finished_before || now == 2, "finished, and then not");
        assert!(now < 2 || (handle.is_finished() && begun()), "finished without having begun");
        last = now;
        thread::yield_now();
    }
}

/// A task behind a busy worker is cancelled: who waits for it wakes at once, and it never starts.
pub fn handle_cancel<H: Harness>() {
    let scratch = Scratch::new();
    let file = scratch.path("bodies");
    let pool = Setup::workers(1).build::<H>();
    if at_once(&pool) {
        // Between two attempts nobody has it, but its submission returns after the last one.
        let again = pool.with(Policy::new().retry(Retry::failures(1).backoff(Duration::from_millis(1))));
        let done = again.submit(ends::task(End::Error, 1)).expect("accepted");
        assert_eq!((done.state(), done.cancel()), (State::Finished, Cancel::TooLate));
        return;
    }
    quicken(&pool);
    let gate = scratch.gate("busy");
    let busy = pool.submit(waits::task(gate.clone(), 7)).expect("accepted");
    gate.wait_for(1);
    let queued: Vec<_> =
        (0..5).map(|n| Arc::new(pool.submit(marks::task(file.clone(), End::Value, n)).expect("accepted"))).collect();
    // Some wait while it happens, in all ways.
    let waiting = queued.clone();
    let waiting = thread::spawn(move || {
        wait(waiting.iter().map(|handle| &**handle), Until::FirstFailed, None);
        wait(waiting.iter().map(|handle| &**handle), Until::All, None).done.len()
    });
    for handle in &queued {
        let found = handle.cancel();
        // Where tasks are sent ahead, a worker may have it already, not begun.
        let sent_ahead = pool.capabilities().encodes && found == Cancel::Requested;
        assert!(found == Cancel::Prevented || sent_ahead, "{found:?}");
    }
    assert_eq!(waiting.join().expect("does not panic"), 5, "woken although the worker is still busy");
    assert!(!busy.is_finished());
    for handle in queued {
        let handle = Arc::into_inner(handle).expect("nobody else has it now");
        assert!(matches!(handle.join(), Err(TaskError::Cancelled)));
    }
    gate.open();
    assert_eq!(busy.join().expect("unharmed"), 7);
    assert_eq!(pool.submit(marks::task(file.clone(), End::Value, 9)).expect("accepted").join().expect("runs"), 9);
    pool.join();
    assert_eq!(lines(&file), ["9"], "no cancelled task has started");
}

/// A task that runs is told; one that does not listen is killed where that can be done, and else goes on.
pub fn handle_cancel_running<H: Harness>() {
    let scratch = Scratch::new();
    let events = Events::default();
    let pool = Setup::workers(1).events(&events).build::<H>();
    if at_once(&pool) {
        let done = pool.submit(double::task(1)).expect("accepted");
        assert_eq!(done.cancel(), Cancel::TooLate, "nobody has the handle of a task that runs");
        return;
    }
    let gate = scratch.gate("listens");
    let listens = pool.submit(until_told::task(gate.clone(), 7)).expect("accepted");
    gate.wait_for(1);
    eventually("it is known to run", || listens.state() == State::Running);
    assert_eq!(listens.cancel(), Cancel::Requested);
    assert_eq!(listens.join().expect("what it returns is its outcome"), 7);

    // Each attempt is told of it, and there is no other attempt after that.
    let gate = scratch.gate("second attempt");
    let again = pool.with(Policy::new().retry(Retry::failures(5)));
    let second = again.submit(second_attempt_waits::task(gate.clone(), 7)).expect("accepted");
    gate.wait_for(1);
    eventually("it is known to run", || second.state() == State::Running);
    assert_eq!(second.cancel(), Cancel::Requested);
    assert_eq!(second.join().expect("what it returns is its outcome"), 7);

    let grace = Duration::from_millis(100);
    let gate = scratch.gate("insists");
    let insists = pool.with(Policy::new().grace(grace)).submit(insists::task(gate.clone(), 7)).expect("accepted");
    gate.wait_for(1);
    eventually("it is known to run", || insists.state() == State::Running);
    let start = Instant::now();
    assert_eq!(insists.cancel(), Cancel::Requested);
    if pool.capabilities().kills {
        assert!(matches!(insists.join(), Err(TaskError::Cancelled)));
        assert!(start.elapsed() >= grace, "killed after {:?}", start.elapsed());
        assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("another worker"), 8);
    } else {
        assert_eq!(wait([&insists], Until::All, Some(2 * grace)).pending, [0], "it goes on");
        gate.open();
        assert_eq!(insists.join().expect("what it returns is its outcome"), 7);
    }
}

/// What is done is done.
pub fn handle_cancel_done<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    for end in [End::Value, End::Error, End::Panic] {
        let expected = shown(pool.submit(ends::task(end, 7)).expect("accepted").join());
        let done = pool.submit(ends::task(end, 7)).expect("accepted");
        wait([&done], Until::All, None);
        assert_eq!(done.cancel(), Cancel::TooLate);
        assert_eq!(done.cancel(), Cancel::TooLate);
        assert_eq!(done.state(), State::Finished);
        assert_eq!(shown(done.join()), expected);
    }
    assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("the pool goes on"), 8);
}

/// What callbacks said, in the order in which they were called.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(u32, Finished, String)>>>);

impl Calls {
    /// Registers number `number`.
    fn register(&self, handle: &Handle<u64>, number: u32) {
        let calls = self.clone();
        handle.on_done(move |finished| {
            let thread = thread::current().name().unwrap_or_default().to_owned();
            calls.0.lock().expect("not poisoned").push((number, finished.clone(), thread));
        });
    }

    fn all(&self) -> Vec<(u32, Finished, String)> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// Callbacks are called once, in order, on the notifier thread, with how the task ended; also after the value was taken.
pub fn handle_on_done<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).build::<H>();
    for (end, kind) in [(End::Value, Kind::Succeeded), (End::Error, Kind::Failed), (End::Panic, Kind::Panicked)] {
        let gate = scratch.gate(&format!("{end:?}"));
        if at_once(&pool) {
            gate.open();
        }
        let mut handle = pool.submit(waits_then_ends::task(gate.clone(), end, 7)).expect("accepted");
        let calls = Calls::default();
        (0..20).for_each(|number| calls.register(&handle, number));
        if !at_once(&pool) {
            gate.wait_for(1);
            assert_eq!(calls.all(), [], "nothing has ended");
            gate.open();
        }
        let outcome = handle.join_timeout(Duration::MAX).expect("there is no end");
        eventually("callbacks registered before the end are called", || calls.all().len() >= 20);
        (20..25).for_each(|number| calls.register(&handle, number));
        eventually("callbacks registered after the end are called", || calls.all().len() >= 25);

        let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        for (at, (number, finished, thread)) in (0..).zip(calls.all()) {
            assert_eq!(number, at, "in order of registration");
            assert_eq!((finished.task, finished.kind), (handle.id(), kind));
            assert_eq!(finished.name, handle.name());
            assert!(number >= 20 || finished.error == error, "{} is not {error}", finished.error);
            assert_eq!(thread, "taskloom-notify");
        }
    }
    pool.join();
}

/// The panic of a callback is a log record, and the next one is called.
pub fn handle_on_done_panic<H: Harness>() {
    let pool = Setup::workers(1).build::<H>();
    let handle = pool.submit(double::task(4)).expect("accepted");
    let text = format!("callback of task {} gives up", handle.id());
    let (calls, said) = (Calls::default(), text.clone());
    calls.register(&handle, 1);
    handle.on_done(move |_| panic!("{said}"));
    calls.register(&handle, 2);
    eventually("both others are called", || calls.all().len() == 2);
    let logged = records(|record| record.message.contains(&text));
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!((logged[0].level, &logged[0].target[..]), (log::Level::Error, "taskloom"));
    assert_eq!(handle.join().expect("unharmed"), 8);
    assert_eq!(pool.submit(double::task(5)).expect("accepted").join().expect("the pool goes on"), 10);
}

/// Callbacks use their own pool as anybody does.
pub fn handle_on_done_calls<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(1).queue_items(1).build::<H>();
    let (gate, view) = (scratch.gate("held"), View::clone(&pool));
    let (send, receive) = channel();
    let first = pool.submit(double::task(1)).expect("accepted");
    let held = gate.clone();
    first.on_done(move |_| {
        if at_once(&view) {
            held.open();
        }
        // More than there is room for: a callback does not wait for room.
        let running = view.submit(waits::task(held, 7)).expect("accepted");
        let queued: Vec<_> = (0..5).map(|number| view.submit(double::task(number)).expect("accepted")).collect();
        let found = queued.iter().map(Handle::cancel).collect::<Vec<_>>();
        send.send((running, queued, found)).expect("the test waits");
    });
    let (running, queued, found) = receive.recv().expect("called");
    for (handle, found) in queued.into_iter().zip(found) {
        match handle.join() {
            Err(TaskError::Cancelled) => assert_ne!(found, Cancel::TooLate),
            outcome => assert!(outcome.is_ok() && found != Cancel::Prevented),
        }
    }
    gate.open();
    assert_eq!(running.join().expect("runs"), 7);
    assert_eq!(first.join().expect("runs"), 2);

    // Each end of a pool, from a callback, with a task that runs.
    type Ending<B> = fn(&View<B>);
    let endings: [Ending<H::Backend>; 2] = [View::join, |view| view.cancel_all(Duration::from_secs(5))];
    for (number, ending) in endings.into_iter().enumerate() {
        let pool = Setup::workers(2).build::<H>();
        let (gate, view) = (scratch.gate(&format!("ending {number}")), View::clone(&pool));
        if at_once(&pool) {
            gate.open();
        }
        let running = pool.submit(waits::task(gate.clone(), 7)).expect("accepted");
        // Begun: a `cancel_all` would rightly cancel it before.
        gate.wait_for(1);
        let (send, receive) = channel();
        let last = pool.submit(double::task(1)).expect("accepted");
        last.on_done(move |_| {
            ending(&view);
            send.send(matches!(view.submit(double::task(1)), Err(TaskError::Closed))).expect("the test waits");
        });
        assert!(receive.recv().expect("returned"), "closed");
        gate.open();
        assert_eq!(running.join().expect("it ends by itself"), 7);
        pool.join();
    }
}

/// Three things to wait for, with and without a limit.
pub fn handle_wait<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(3).build::<H>();
    assert_eq!(wait(Vec::<Handle<u64>>::new(), Until::All, None), Waited::default(), "nothing to wait for");
    if at_once(&pool) {
        let handles = [End::Value, End::Error].map(|end| pool.submit(ends::task(end, 1)).expect("accepted"));
        for until in [Until::All, Until::FirstCompleted, Until::FirstFailed] {
            assert_eq!(wait(&handles, until, None).done, [0, 1]);
        }
        return;
    }
    let round = |name: &str, middle: End| {
        let gates = [0, 1, 2].map(|number| scratch.gate(&format!("{name} {number}")));
        let ends = [End::Value, middle, End::Value];
        let handles: Vec<_> = gates
            .iter()
            .zip(ends)
            .map(|(gate, end)| pool.submit(waits_then_ends::task(gate.clone(), end, 1)).expect("accepted"))
            .collect();
        gates.iter().for_each(|gate| gate.wait_for(1));
        (gates, handles)
    };
    let (gates, handles) = round("first", End::Value);
    for until in [Until::All, Until::FirstCompleted, Until::FirstFailed] {
        assert_eq!(wait(&handles, until, Some(Duration::ZERO)).pending, [0, 1, 2]);
        assert!(wait(&handles, until, Some(Duration::from_millis(10))).done.is_empty());
    }
    gates[1].open();
    let waited = wait(&handles, Until::FirstCompleted, None);
    assert_eq!((waited.done, waited.pending), (vec![1], vec![0, 2]));
    // A success is no failure.
    let waited = wait(&handles, Until::FirstFailed, Some(Duration::from_millis(10)));
    assert_eq!((waited.done, waited.pending), (vec![1], vec![0, 2]));
    gates[0].open();
    gates[2].open();
    assert_eq!(wait(&handles, Until::FirstFailed, None).done, [0, 1, 2], "nothing fails, and all are done");

    for middle in [End::Error, End::Panic] {
        let (gates, handles) = round(&format!("{middle:?}"), middle);
        gates[0].open();
        wait([&handles[0]], Until::All, None);
        gates[1].open();
        let waited = wait(&handles, Until::FirstFailed, None);
        assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![2]));
        gates[2].open();
        assert_eq!(wait(&handles, Until::All, None).done, [0, 1, 2]);
    }
}

/// In order of finishing, each once, letting go of what it gave; what is ready when the time is up is still given.
pub fn handle_as_completed<H: Harness>() {
    let scratch = Scratch::new();
    let pool = Setup::workers(3).build::<H>();
    let keys: Vec<Arc<usize>> = (0..3).map(Arc::new).collect();
    let weak: Vec<Weak<usize>> = keys.iter().map(Arc::downgrade).collect();
    let gates = [0, 1, 2].map(|number| scratch.gate(&format!("{number}")));
    if at_once(&pool) {
        gates.iter().for_each(crate::scratch::Gate::open);
    }
    let handles = gates.iter().map(|gate| pool.submit(waits::task(gate.clone(), 1)).expect("accepted"));
    let mut completed = as_completed(keys.into_iter().zip(handles));
    let order = if at_once(&pool) { [0, 1, 2] } else { [2, 0, 1] };
    for (given, at) in order.into_iter().enumerate() {
        assert_eq!(completed.pending(), 3 - given);
        gates[at].open();
        let (key, handle) = completed.next().expect("one is done");
        assert_eq!(*key, at);
        assert_eq!(handle.join().expect("runs"), 1);
        drop(key);
        assert!(weak[at].upgrade().is_none(), "nothing is kept of what was given");
        assert_eq!(weak.iter().filter(|key| key.upgrade().is_some()).count(), 2 - given);
    }
    assert!(completed.next().is_none());
    assert_eq!(completed.pending(), 0);

    // Duplicates, and some that were finished before.
    let done: Vec<_> = (0..3).map(|number| pool.submit(double::task(number)).expect("accepted")).collect();
    wait(&done[..1], Until::All, None);
    let twice = as_completed(done.iter().chain(&done));
    let ids: Vec<u64> = twice.map(Handle::id).collect();
    assert_eq!(ids.len(), 3, "each once");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), done.iter().map(Handle::id).collect::<Vec<_>>().iter().collect());
    assert_eq!(ids[0], done[0].id(), "finished ones first");

    // The time is up from the beginning.
    wait(&done, Until::All, None);
    let gate = scratch.gate("late");
    if at_once(&pool) {
        assert_eq!(as_completed(&done).deadline(Instant::now()).count(), 3);
        return;
    }
    let late: Vec<_> = (0..2).map(|_| pool.submit(waits::task(gate.clone(), 1)).expect("accepted")).collect();
    gate.wait_for(2);
    let mut completed = as_completed(late.iter().chain(&done)).deadline(Instant::now());
    assert_eq!(completed.by_ref().count(), 3, "what is ready");
    assert_eq!(completed.pending(), 2, "what is not");
    let limit = Duration::from_millis(20);
    let start = Instant::now();
    let mut completed = as_completed(&late).timeout(limit);
    assert!(completed.next().is_none() && start.elapsed() >= limit);
    assert_eq!(completed.pending(), 2);
    gate.open();
    assert_eq!(as_completed(&late).count(), 2, "a time-out took nothing away");
}

/// A task waits for one that waits for another, within one pool of one worker and between two such pools.
pub fn handle_nested<H: Harness>() {
    let pools = [(); 2].map(|()| Setup::workers(1).build::<H>());
    if !pools[0].capabilities().nests {
        let capabilities = pools[0].capabilities();
        assert!(capabilities.encodes, "only what runs elsewhere cannot reach its own pool: {capabilities:?}");
        return;
    }
    let keys = pools.each_ref().map(|pool| publish(pool.any()));
    let depth = 20;
    for limited in [false, true] {
        for (here, there) in [(keys[0], keys[0]), (keys[0], keys[1])] {
            let sums = (0..3).map(|_| pools[0].submit(sums::task(here, there, depth, limited)).expect("accepted"));
            for sum in sums.collect::<Vec<_>>() {
                assert_eq!(sum.join().expect("no deadlock"), depth * (depth + 1) / 2);
            }
        }
    }
}
