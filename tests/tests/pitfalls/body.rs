//! What tasks do in their worker that nobody expects: they fork, set timers, start processes, read terminals, hold locks.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use taskloom::{Context, Event, TaskError, task};
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
        return Ok((std::process::id(), misdeeds::ends_within(copy, Duration::from_secs(1))));
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
