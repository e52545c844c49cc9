//! Ends that nobody plans: orphans, initialisers that fail, signals that interrupt everything.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use support::*;
use taskloom_core::{Context, TaskError, task};

taskloom_procs::test_support!();

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("taskloom-edges-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Has a pool of its own, whose worker has a child; says who they are, and waits.
#[task]
fn family(path: PathBuf) -> Result<(), TaskError> {
    let pool = taskloom_procs::pool().workers(1).build()?;
    let grandchild = pool.submit(sleeper::task())?.join()?;
    let worker = pool.backend().pids()[0];
    fs::write(&path, format!("{worker} {grandchild}\n")).unwrap();
    thread::sleep(Duration::from_secs(600));
    Ok(())
}

#[task]
fn sleeper() -> u32 {
    std::process::Command::new("sleep").arg("600").spawn().unwrap().id()
}

#[task(state)]
fn number(n: u64) -> u64 {
    n
}

#[task]
fn state(cx: &Context) -> Option<u64> {
    cx.state::<u64>().copied()
}

#[task]
fn fails() -> Result<(), String> {
    Err("no model today".to_owned())
}

#[task]
fn fails_if_there(path: PathBuf) -> Result<(), String> {
    if path.exists() { Err("no model any more".to_owned()) } else { Ok(()) }
}

#[task]
fn dies() {
    eprintln!("cannot even begin");
    std::process::exit(5);
}

fn read_family(path: &Path) -> Vec<u32> {
    eventually("the family's numbers", || fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(path).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn orphans_end_with_their_groups() {
    within(60, || {
        let path = scratch("orphans");
        let pool = workers(1);
        let handle = pool.submit(family::task(path.clone())).unwrap();
        let orphans = read_family(&path);
        assert!(orphans.iter().all(|&pid| lives(pid)));
        // The parent of a pool is killed, as by the kernel: it cannot say goodbye.
        // SAFETY: takes numbers only.
        unsafe { libc::kill(pool.backend().pids()[0] as libc::pid_t, libc::SIGKILL) };
        death(handle.join());
        eventually("the end of all", || !orphans.iter().any(|&pid| lives(pid)));
        fs::remove_file(path).unwrap();
    });
}

#[test]
fn the_initialiser_runs_on_every_worker_and_every_replacement() {
    within(60, || {
        let pool = taskloom_procs::pool().workers(2).init(number::task(7)).build().unwrap();
        for _ in 0..10 {
            assert_eq!(pool.submit(state::task()).unwrap().join().unwrap(), Some(7));
            death(pool.submit(exit::task(1)).unwrap().join());
        }
    });
}

#[test]
fn the_error_of_an_initialiser_is_the_builds() {
    within(60, || {
        let error = taskloom_procs::pool().workers(2).init(fails::task()).build().unwrap_err();
        assert!(matches!(&error, TaskError::Failed(failure) if failure.message == "no model today"), "{error:?}");
        let error = taskloom_procs::pool().workers(2).init(dies::task()).build().unwrap_err();
        let TaskError::Start(start) = &error else { panic!("{error:?}") };
        assert!(start.status.as_ref().unwrap().contains("exit status: 5"), "{start:?}");
        assert_eq!(start.stderr.last().unwrap(), "cannot even begin");
    });
}

#[test]
fn waiting_tasks_fail_when_no_worker_can_be_started_any_more() {
    within(60, || {
        let path = scratch("init");
        let pool = taskloom_procs::pool().workers(1).init(fails_if_there::task(path.clone())).build().unwrap();
        let crash = pool.submit(nap_and_exit::task(200)).unwrap();
        let behind: Vec<_> = (0..10).map(|n| pool.submit(add::task(n, n)).unwrap()).collect();
        fs::write(&path, "").unwrap();
        death(crash.join());
        for handle in behind {
            let error = handle.join().unwrap_err();
            assert!(error.to_string().contains("no model any more"), "{error}");
        }
        let later = pool.submit(add::task(1, 1)).unwrap().join().unwrap_err();
        assert!(later.to_string().contains("no model any more"), "{later}");
        pool.join();
        fs::remove_file(path).unwrap();
    });
}

#[task]
fn nap_and_exit(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
    std::process::exit(1);
}

#[test]
fn an_idle_pool_uses_no_time() {
    within(60, || {
        let pool = workers(2);
        pool.submit(add::task(1, 1)).unwrap().join().unwrap();
        // The supervisor looks once more, then sleeps.
        thread::sleep(Duration::from_millis(500));
        let of = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            stat.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap()
        };
        let switches = || pool.backend().pids().into_iter().map(of).sum::<u64>();
        let before = switches();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(switches(), before);
    });
}

#[test]
fn a_pool_ends_while_its_replacement_starts() {
    within(60, || {
        for _ in 0..20 {
            let pool = workers(2);
            death(pool.submit(exit::task(1)).unwrap().join());
            let start = Instant::now();
            drop(pool);
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    });
}
