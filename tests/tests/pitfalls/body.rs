//! What tasks do in their worker that nobody expects: they fork, set timers, start processes, read terminals, hold locks.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use taskloom::{Context, Event, Handle, Registry, TaskError, Until, View, task, threads, wait};
use taskloom_tests::{
    harness::{Procs, Setup},
    journal::{Events, records},
    misdeeds,
    process::{in_own_process, lives},
    scratch::{Scratch, append_line, eventually, lines},
    tasks::{
        bulk::{many_letters, measures},
        double, reports, whoami,
    },
};

/// From now on its worker is interrupted a thousand times a second.
#[task]
fn ticks() -> u32 {
    misdeeds::tick();
    std::process::id()
}

pub(crate) fn p07_timer_signal_in_a_worker() {
    let pool = Setup::workers(1).build::<Procs>();
    let pid = pool.submit(ticks::task()).expect("accepted").join().expect("runs");
    for _ in 0..3 {
        let small: Vec<_> = (0..1000).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
        let told = pool.submit(reports::task(100)).expect("accepted");
        let size = 16 << 20;
        let up: Vec<_> = (0..3).map(|_| pool.submit(many_letters::task(size)).expect("accepted")).collect();
        let down = pool.submit(measures::task("x".repeat(size))).expect("accepted");
        for (number, handle) in (0..).zip(small) {
            assert_eq!(handle.join().expect("runs"), 2 * number);
        }
        assert_eq!(told.join().expect("runs"), 100);
        assert!(up.into_iter().all(|handle| handle.join().is_ok_and(|text| text.len() == size)));
        assert_eq!(down.join().expect("runs"), size);
    }
    assert_eq!(pool.submit(whoami::task()).expect("accepted").join().expect("runs").1, pid, "the same worker");
}

/// Reads the terminal of its session, past whatever its standard input is.
#[task]
fn reads_terminal() -> io::Result<u64> {
    let mut line = [0; 1];
    File::open("/dev/tty")?.read_exact(&mut line)?;
    Ok(1)
}

pub(crate) fn p11_task_reads_the_terminal() {
    in_own_process("", || {
        misdeeds::own_terminal();
        let pool = Setup::workers(2).build::<Procs>();
        let reading = pool.submit(reads_terminal::task()).expect("accepted");
        let neighbours: Vec<_> = (0..20).map(|n| pool.submit(double::task(n)).expect("accepted")).collect();
        let error = reading.join().expect_err("a process behind the terminal's foreground is stopped");
        let TaskError::Crashed(death) = error else { panic!("{error:?} is no crash") };
        assert!(death.verdict.contains(&format!("stopped by signal {}", libc::SIGTTIN)), "{death:?}");
        for (number, handle) in (0..).zip(neighbours) {
            assert_eq!(handle.join().expect("unharmed"), 2 * number);
        }
    });
}

/// Starts a grandchild that holds standard output and standard error, says so, and is killed or not.
#[task]
fn leaves_behind(file: PathBuf, dies: bool) -> io::Result<()> {
    let grandchild = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    append_line(&file, &grandchild.id().to_string());
    eprintln!("the last word");
    if dies {
        misdeeds::send_myself(libc::SIGKILL);
    }
    Ok(())
}

pub(crate) fn p12_worker_with_grandchildren_dies() {
    let scratch = Scratch::new();
    let file = scratch.path("grandchildren");
    let pool = Setup::workers(1).build::<Procs>();
    pool.submit(leaves_behind::task(file.clone(), false)).expect("accepted").join().expect("does not wait for it");
    let first: u32 = lines(&file)[0].parse().expect("a number");
    assert!(lives(first), "it is the worker's own business");
    let error = pool.submit(leaves_behind::task(file.clone(), true)).expect("accepted").join().expect_err("dies");
    let TaskError::Crashed(death) = error else { panic!("{error:?} is no crash") };
    assert_eq!(death.stderr.last().map(String::as_str), Some("the last word"), "though somebody holds the stream open");
    let second: u32 = lines(&file)[1].parse().expect("a number");
    eventually("their group is gone with the worker", || ![first, second].into_iter().any(lives));
    assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("a new worker runs"), 8);
}

/// What the copy of a worker does that a task has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Copied {
    Returns,
    Panics,
    Fails,
    Talks,
}

/// Forks. Both return from here: the original with its process and whether the copy has ended.
#[task]
fn forks(cx: &Context, copied: Copied) -> Result<(u32, bool), String> {
    if let Some(copy) = misdeeds::fork() {
        // A panic looks up its backtrace, which may take a while in the copy of a large program.
        return Ok((std::process::id(), misdeeds::ends_within(copy, Duration::from_secs(30))));
    }
    match copied {
        Copied::Returns => {}
        Copied::Panics => panic!("in the copy"),
        Copied::Fails => return Err("in the copy".to_owned()),
        Copied::Talks => {
            // More than a worker may say without being heard.
            for number in 0..3000 {
                log::info!("copy {number}");
                cx.progress(number, 3000);
            }
        }
    }
    Ok((0, false))
}

pub(crate) fn p27_bare_fork_in_a_task() {
    let scratch = Scratch::new();
    let (file, events) = (scratch.path("bodies"), Events::default());
    let pool = Setup::workers(1).events(&events).build::<Procs>();
    let (_, pid) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    for copied in [Copied::Returns, Copied::Panics, Copied::Fails, Copied::Talks] {
        let outcome = pool.submit(forks::task(copied)).expect("accepted").join();
        assert_eq!(outcome.expect("what the original returns"), (pid, true), "{copied:?}: the copy ends with the body");
        let marked: Vec<_> =
            (0..50).map(|_| pool.submit(marks_process::task(file.clone())).expect("accepted")).collect();
        assert!(marked.into_iter().all(|handle| handle.join().is_ok_and(|process| process == pid)), "{copied:?}");
    }
    let bodies = lines(&file);
    assert_eq!(bodies.len(), 4 * 50, "each body ran once");
    assert!(bodies.iter().all(|process| *process == pid.to_string()), "in the original");
    pool.join();
    assert!(!events.all().iter().any(|event| matches!(event, Event::Progress { .. })), "a copy tells no progress");
    assert_eq!(records(|record| record.message.starts_with("copy ")), [], "nor anything else");
}

/// Notes in which process its body runs.
#[task]
fn marks_process(file: PathBuf) -> u32 {
    append_line(&file, &std::process::id().to_string());
    std::process::id()
}

thread_local! {
    /// A task of this thread holds the lock, and waits for its own task.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn p18_lock_held_across_a_wait() {
    type Wait = fn(Handle<u64>) -> u64;
    let ways: [(&str, Wait); 3] = [
        ("join", |own| own.join().expect("runs")),
        ("join_timeout", |mut own| own.join_timeout(Duration::MAX).expect("in time").expect("runs")),
        ("wait", |own| {
            wait([&own], Until::All, None);
            own.join().expect("runs")
        }),
    ];
    for (name, way) in ways {
        let pool = threads::pool().workers(1).build().expect("a pool of threads can be built");
        let (lock, met, view) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)), View::clone(&pool));
        let (held, seen) = (lock.clone(), met.clone());
        let holder = pool.submit(move || {
            let guard = held.lock().expect("not poisoned");
            // Before its own task, so that whoever looks for something to do finds them first.
            let foreign: Vec<_> = (0..50)
                .map(|_| {
                    let (lock, seen) = (held.clone(), seen.clone());
                    let look = move || {
                        assert!(!HOLDS.get(), "a foreign task on the stack of one that waits");
                        seen.fetch_add(usize::from(lock.try_lock().is_err()), Ordering::Relaxed);
                    };
                    view.submit(look).expect("accepted")
                })
                .collect();
            let own = view.submit(|| 7).expect("accepted");
            HOLDS.set(true);
            let value = way(own);
            HOLDS.set(false);
            drop(guard);
            (value, foreign)
        });
        let (value, foreign) = holder.expect("accepted").join().expect("no deadlock");
        assert_eq!(value, 7, "{name}");
        for handle in foreign {
            handle.join().expect("on a thread of its own");
        }
        // Where the wait lends the place to another thread, they have run beside the one that holds the lock.
        assert!(name == "join" || met.load(Ordering::Relaxed) == 50, "{name}: {met:?}");
    }
}

mod one {
    #[taskloom::task(name = "namesake")]
    pub(super) fn alike() -> u32 {
        1
    }
}

mod two {
    #[taskloom::task(name = "namesake")]
    pub(super) fn alike() -> u32 {
        2
    }
}

pub(crate) fn p21_duplicate_and_unknown_names() {
    let pool = Setup::workers(2).build::<Procs>();
    for _ in 0..20 {
        let (one, two) = (pool.submit(one::alike::task()), pool.submit(two::alike::task()));
        assert_eq!(one.expect("accepted").join().expect("runs"), 1);
        assert_eq!(two.expect("accepted").join().expect("runs"), 2);
    }
    let look_up = |name: &str| match Registry::get().find(name) {
        Err(TaskError::UnknownTask(unknown)) => unknown,
        other => panic!("{name}: {other:?}"),
    };
    let several = look_up("namesake");
    assert_eq!(several.candidates.len(), 2);
    assert!(several.candidates.iter().all(|place| place.contains(file!())), "{several:?}");
    assert!(several.candidates[0] != several.candidates[1], "they are told apart");
    let slip = look_up("forsk");
    assert!(slip.candidates.contains(&"forks".to_owned()), "{slip:?}");
    assert!(look_up("there is nothing like it").candidates.is_empty());
}
