//! What befalls the process that the pool belongs to.

use std::{
    env,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use taskloom::{Backend, Policy, Pool, TaskError};

use crate::{
    harness::{Harness, Setup, aside, at_once},
    misdeeds,
    process::{alone, descendants, in_own_process, is_alone, lives, state, this_program},
    scratch::{Gate, Scratch, eventually, lines},
    tasks::{
        End, double, ends,
        limits::never_ends,
        parent::{goes_on, surroundings},
        waits, whoami,
    },
};

/// A process that goes on beside the test. Killed when the test has no use for it any more.
struct Beside(Child);

impl Beside {
    /// Runs `body` in a process that has nothing else to do, where `folder` is the temporary one; `None` there.
    fn start(folder: &Path, set_up: impl FnOnce(&mut Command), body: impl FnOnce()) -> Option<Self> {
        if is_alone() {
            body();
            return None;
        }
        let mut command = alone(&this_program(), folder);
        set_up(command.stdin(Stdio::null()).stdout(Stdio::null()));
        Some(Self(command.spawn().expect("a test program can be started again")))
    }

    fn signal(&self, signal: i32) {
        assert!(misdeeds::send(self.0.id(), signal));
    }

    /// It says on standard error what went wrong.
    fn ends_well(mut self) {
        let status = self.0.wait().expect("a child can be waited for");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // If it has ended, that is all right too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a process beside the test meets it.
fn gate(name: &str) -> Gate {
    Gate::at(&env::temp_dir(), name)
}

/// Busy workers, with children that ignore SIGTERM, and idle ones.
pub fn life_orphans<H: Harness>() {
    let isolates = Setup::workers(1).build::<H>().capabilities().isolates;
    // A busy machine may keep a process that is dead already from being gone.
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let scratch = Scratch::new();
        let Some(mut parent) = Beside::start(&scratch.path(""), |_| (), parent_with_orphans::<H>) else { return };
        scratch.gate("ready").wait_for(1);
        let processes: Vec<u32> = lines(&scratch.path("processes")).iter().filter_map(|pid| pid.parse().ok()).collect();
        assert_eq!(processes.len(), if isolates { 5 } else { 0 }, "{processes:?}");
        assert!(processes.iter().all(|pid| lives(*pid)));
        let start = Instant::now();
        parent.0.kill().expect("it lives");
        eventually("all are gone", || !processes.iter().any(|pid| lives(*pid)));
        fastest = fastest.min(start.elapsed());
        parent.0.wait().expect("a child can be waited for");
        if fastest <= Duration::from_secs(1) {
            return;
        }
    }
    panic!("never within a second: {fastest:?}");
}

fn parent_with_orphans<H: Harness>() {
    let pool = Setup::workers(3).build::<H>();
    let file = env::temp_dir().join("busy");
    if pool.capabilities().isolates {
        let busy = [(), ()].map(|()| pool.submit(never_ends::task(file.clone())).expect("accepted"));
        eventually("two are busy", || lines(&file).len() == busy.len());
    } else {
        assert_eq!(pool.submit(double::task(2)).expect("accepted").join().expect("runs"), 4);
    }
    let processes: Vec<String> = descendants().iter().map(u32::to_string).collect();
    std::fs::write(env::temp_dir().join("processes"), processes.join("\n")).expect("the file can be written");
    gate("ready").arrive();
    gate("never").pass(|| false);
}

/// The terminal sends it to the whole group in its foreground.
pub fn life_interrupt<H: Harness>() {
    let scratch = Scratch::new();
    let group = |command: &mut Command| {
        command.process_group(0);
    };
    let Some(parent) = Beside::start(&scratch.path(""), group, interrupted_parent::<H>) else { return };
    for count in 1..=2 {
        scratch.gate("ready").wait_for(count);
        misdeeds::send_to_group(parent.0.id(), libc::SIGINT);
    }
    parent.ends_well();
}

fn interrupted_parent<H: Harness>() {
    misdeeds::count(libc::SIGINT);
    let pool = Setup::workers(1).build::<H>();
    let worker = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    let (ready, running) = (gate("ready"), gate("running"));
    // Busy at the first, idle at the second.
    let handle = aside(&pool, waits::task(running.clone(), 7));
    running.wait_for(1);
    ready.arrive();
    eventually("the parent hears it", || misdeeds::counted() == 1);
    running.open();
    assert_eq!(handle.handle().join().expect("nobody else hears it"), 7);
    ready.arrive();
    eventually("the parent hears it again", || misdeeds::counted() == 2);
    assert_eq!(pool.submit(whoami::task()).expect("accepted").join().expect("runs"), worker);
}

const LIMIT: Duration = Duration::from_millis(1500);

/// Stopped for longer than all limits, and not blamed for it. What runs in processes of its own runs on meanwhile.
pub fn life_paused<H: Harness>() {
    let scratch = Scratch::new();
    let isolates = Setup::workers(1).build::<H>().capabilities().isolates;
    let Some(parent) = Beside::start(&scratch.path(""), |_| (), paused_parent::<H>) else { return };
    scratch.gate("ready").wait_for(1);
    parent.signal(libc::SIGSTOP);
    let stopped = || state(Path::new(&format!("/proc/{}", parent.0.id()))).is_some_and(|state| state == "T");
    eventually("it is stopped", stopped);
    let start = Instant::now();
    scratch.gate("first").open();
    if isolates {
        scratch.gate("second").wait_for(1);
    }
    thread::sleep((LIMIT + LIMIT / 3).saturating_sub(start.elapsed()));
    assert!(stopped());
    parent.signal(libc::SIGCONT);
    scratch.gate("held").open();
    parent.ends_well();
}

fn paused_parent<H: Harness>() {
    let pool = Setup::workers(2).build::<H>();
    let limited = pool.with(Policy::new().timeout(LIMIT).deadline(LIMIT).queue_timeout(LIMIT));
    let (held, first) = (gate("held"), gate("first"));
    let running = aside(&limited, waits::task(held.clone(), 7));
    let going_on = aside(&limited, goes_on::task(first.clone(), gate("second")));
    held.wait_for(1);
    first.wait_for(1);
    let queued = (!at_once(&pool)).then(|| limited.submit(double::task(4)).expect("accepted"));
    gate("ready").arrive();
    assert_eq!(going_on.handle().join().expect("not blamed for the pause"), 7);
    assert_eq!(running.handle().join().expect("not blamed for the pause"), 7);
    assert!(queued.is_none_or(|queued| queued.join().expect("not blamed for the pause") == 8));
}

/// Says to the test that this is the first process of a namespace.
const FIRST: &str = "TASKLOOM_TESTS_FIRST_PROCESS";

/// What the system does not let us see.
const NOT_RUN: &str = "not run:";

/// A program may treat its children, its directory, its environment and its threads as it likes.
pub fn life_hostile_parent<H: Harness>() {
    let written = in_own_process("", || {
        if env::var_os(FIRST).is_some() {
            assert_eq!(std::process::id(), 1);
            return works(&Setup::workers(2).build::<H>());
        }
        misdeeds::ignore(libc::SIGCHLD);
        works(&Setup::workers(2).build::<H>());
        misdeeds::heed(libc::SIGCHLD);
        somebody_else_waits::<H>();
        moves_away::<H>();
        is_left_by_its_builder::<H>();
        is_copied::<H>();
        assert_eq!(descendants(), [0; 0]);
        is_first();
    });
    for line in written.iter().flat_map(|written| written.stderr.lines()).filter(|line| line.starts_with(NOT_RUN)) {
        // Past libtest's capture, which shows nothing of a test that passes.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Tasks run, one that dies says so, and the pool ends.
fn works<B: Backend>(pool: &Pool<B>) {
    let sum: u64 = pool.map((0..100).map(double::task)).map(|result| result.expect("runs")).sum();
    assert_eq!(sum, 99 * 100);
    if pool.capabilities().isolates {
        for end in [End::Exit(3), End::Signal(libc::SIGKILL)] {
            let outcome = pool.submit(ends::task(end, 1)).expect("accepted").join();
            assert!(matches!(outcome, Err(TaskError::Crashed(_))), "{outcome:?}");
        }
    }
    assert_eq!(pool.submit(double::task(2)).expect("accepted").join().expect("runs"), 4);
    pool.join();
}

/// A loop that takes the status of every child, as the first process of a container has.
fn somebody_else_waits<H: Harness>() {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                misdeeds::wait_for_any_child();
            }
        });
        for _ in 0..3 {
            works(&Setup::workers(2).build::<H>());
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Directory and environment are those of the build for workers that come later too; threads have what the process has.
fn moves_away<H: Harness>() {
    let (scratch, variable) = (Scratch::new(), "TASKLOOM_TESTS_MOVED".to_owned());
    let pool = Setup::workers(1).build::<H>();
    let before = env::current_dir().expect("there is one");
    let place = scratch.path("").canonicalize().expect("it is there");
    env::set_current_dir(&place).expect("one may go there");
    misdeeds::set_variable(&variable, "yes");
    let ask = || pool.submit(surroundings::task(variable.clone())).expect("accepted").join().expect("runs");
    if pool.capabilities().isolates {
        let (first, ..) = ask();
        assert!(pool.submit(ends::task(End::Exit(1), 1)).expect("accepted").join().is_err());
        let (second, directory, value) = ask();
        assert_ne!(first, second);
        assert_eq!((directory, value), (before.clone(), None));
    } else {
        assert_eq!(ask(), (std::process::id(), place, Some("yes".to_owned())));
    }
    env::set_current_dir(before).expect("one may go back");
    works(&pool);
}

/// The thread that built the pool is gone, and its workers are not.
fn is_left_by_its_builder<H: Harness>() {
    let run = |pool: &Pool<H::Backend>| pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    let build = move || {
        let pool = Setup::workers(1).build::<H>();
        let worker = run(&pool);
        (pool, worker)
    };
    let (pool, worker) = thread::spawn(build).join().expect("does not panic");
    // What comes with the end of a thread comes a moment later.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(run(&pool), worker, "not a replacement");
    works(&pool);
}

/// Dropped in a copy of the process, the pool neither hangs nor harms the original's.
fn is_copied<H: Harness>() {
    let pool = Setup::workers(2).metrics().build::<H>();
    // The notifier's thread, and the clock's, are not in the copy either.
    pool.on_event(|_| ());
    let limited = pool.with(Policy::new().deadline(Duration::from_secs(3600)));
    let worker = limited.submit(whoami::task()).expect("accepted").join().expect("runs");
    let Some(copy) = misdeeds::fork() else {
        drop(limited);
        pool.cancel_all(Duration::ZERO);
        drop(pool);
        misdeeds::quick_exit(7);
    };
    let ended = misdeeds::ends_within(copy, Duration::from_secs(30));
    if !ended {
        // It would hold this test's output open.
        misdeeds::send(copy.unsigned_abs(), libc::SIGKILL);
    }
    assert!(ended, "the copy hangs");
    let same = (0..20).map(|_| limited.submit(whoami::task()).expect("accepted").join().expect("runs"));
    assert!(same.into_iter().any(|now| now == worker), "the workers are still there");
    works(&pool);
}

/// Process 1 of a namespace of its own, where the system lets us make one.
fn is_first() {
    let mut command = alone(&this_program(), &env::temp_dir());
    command.env(FIRST, "1").stdin(Stdio::null()).stdout(Stdio::null());
    let start = move || -> io::Result<_> {
        // For the children of this thread alone.
        misdeeds::new_process_namespace()?;
        command.status()
    };
    match thread::spawn(start).join().expect("does not panic") {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(why) => eprintln!("{NOT_RUN} a pool in process 1, because the system allows no namespace ({why})"),
    }
}
