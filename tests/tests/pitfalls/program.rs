//! The program itself: how it is built and begun, where it stands, how it ends.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use taskloom::{Handle, Pool, TaskError, procs, task};
use taskloom_tests::{
    harness::{Harness, Procs, Setup},
    misdeeds, outside,
    process::{alone, in_own_copy, in_own_process, is_alone, lives, this_program},
    scratch::{Scratch, append_line, eventually, lines, touch},
    tasks::{
        End,
        bulk::{many_letters, measures},
        double, ends, leaves_grandchild, whoami,
    },
};

pub(crate) fn p08_no_descriptors_left() {
    in_own_process("", || {
        let pool = Setup::workers(2).build::<Procs>();
        let crash = || {
            let error = pool.submit(ends::task(End::Exit(1), 1)).expect("accepted").join().expect_err("exits");
            assert!(matches!(error, TaskError::Crashed(_)), "{error:?}");
        };
        // From here on none can be had; those that are open stay so.
        misdeeds::limit_descriptors(3);
        for refused in [<Procs as Harness>::build(Setup::workers(2)).err(), procs::spawn(double::task(1)).err()] {
            let refused = refused.expect("there are none for its workers");
            assert!(matches!(refused, TaskError::Start(_)) && refused.to_string().contains("`ulimit -n "), "{refused}");
        }

        let works = || {
            let size = 4 << 20;
            let up = pool.submit(many_letters::task(size)).expect("accepted");
            let down = pool.submit(measures::task("x".repeat(size))).expect("accepted");
            assert_eq!((up.join().expect("runs").len(), down.join().expect("runs")), (size, size));
        };
        works();
        crash();
        // With the other worker, as nobody can take the place of this one.
        works();
        crash();
        let error = pool.submit(double::task(1)).and_then(Handle::join).expect_err("nobody is left");
        assert!(error.to_string().contains("Too many open files"), "{error}");
        pool.join();
    });
}

pub(crate) fn p09_init_forgotten() {
    let (scratch, program) = (Scratch::new(), outside::build(env!("CARGO_TARGET_TMPDIR"), "forgotten", &[]));
    let starts = scratch.path("starts");
    let said = outside::run(Command::new(program).arg(&starts));
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), 2, "one refusal for the pool, one for the process: {said:?}");
    assert!(said.iter().all(|line| line.contains("`taskloom_procs::init();`") && line.contains("`main`")), "{said:?}");
    assert_eq!(lines(&starts), ["started"], "no worker has run the program once more");
}

pub(crate) fn p10_program_replaced_or_deleted_while_running() {
    in_own_copy(|| {
        let (program, scratch) = (this_program(), Scratch::new());
        let pool = Setup::workers(1).build::<Procs>();
        let mut pids = BTreeSet::new();
        pids.insert(a_new_worker(&pool));

        let (impostor, seen) = (program.with_extension("new"), scratch.path("seen"));
        fs::write(&impostor, format!("#!/bin/sh\necho impostor >> {}\n", seen.display())).expect("writable");
        fs::set_permissions(&impostor, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(&impostor, &program).expect("a file can be replaced while it runs");
        pids.insert(a_new_worker(&pool));
        let later = Setup::workers(1).build::<Procs>();
        pids.insert(a_new_worker(&later));

        fs::remove_file(&program).expect("a file can be deleted while it runs");
        pids.insert(a_new_worker(&pool));
        pids.insert(a_new_worker(&Setup::workers(1).build::<Procs>()));
        assert_eq!(pids.len(), 5, "each is a worker of its own");
        assert!(!seen.exists(), "the program that took the place was run");
    });
}

/// Has the one worker replaced; the new one works. Its process.
fn a_new_worker(pool: &Pool<procs::Procs>) -> u32 {
    let (_, before) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    assert!(matches!(pool.submit(ends::task(End::Exit(1), 1)).expect("accepted").join(), Err(TaskError::Crashed(_))));
    assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("a new worker runs"), 8);
    let (_, after) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    assert_ne!(before, after);
    after
}

pub(crate) fn p10_folder_deleted_while_running() {
    in_own_process("", || {
        let scratch = Scratch::new();
        let folder = scratch.path("folder");
        fs::create_dir(&folder).expect("writable");
        env::set_current_dir(&folder).expect("it is there");
        let pool = Setup::workers(1).build::<Procs>();
        fs::remove_dir(&folder).expect("empty");
        // In a folder without a name there is nothing to go back to: workers stay in it.
        assert_eq!(
            Setup::workers(1).build::<Procs>().submit(double::task(4)).expect("accepted").join().expect("runs"),
            8
        );

        let dying = pool.submit(ends::task(End::Exit(1), 1)).expect("accepted");
        let behind = pool.submit(double::task(1)).expect("accepted");
        assert!(matches!(dying.join(), Err(TaskError::Crashed(_))));
        let error = behind.join().expect_err("no worker can be where it is to be");
        let TaskError::Start(start) = error else { panic!("{error:?}") };
        assert!(start.message.contains(&folder.display().to_string()), "{start:?}");
        assert!(start.message.contains("make it again"), "{start:?}");
    });
}

/// Starts a grandchild, notes both, and sleeps.
#[task]
fn family(file: PathBuf) -> io::Result<()> {
    let grandchild = leaves_grandchild()?;
    append_line(&file, &format!("{} {grandchild}", std::process::id()));
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

pub(crate) fn p13_parent_killed() {
    if is_alone() {
        let scratch = env::temp_dir();
        let folder = scratch.parent().expect("it is in the test's folder");
        return parent_to_be_killed(folder);
    }
    let scratch = Scratch::new();
    let (folder, numbers) = (scratch.path("tmp"), scratch.path("numbers"));
    fs::create_dir(&folder).expect("writable");
    let mut parent = alone(&this_program(), &folder).stdout(Stdio::null()).spawn().expect("it can be started");
    let ready = || lines(&numbers).iter().flat_map(|line| line.split(' ')).count() == 5;
    eventually("two busy workers with a grandchild each, one idle worker", ready);
    let pids: Vec<u32> = lines(&numbers).join(" ").split(' ').map(|pid| pid.parse().expect("a number")).collect();
    assert!(pids.iter().all(|&pid| lives(pid)), "{pids:?}");

    let start = Instant::now();
    parent.kill().expect("it lives");
    parent.wait().expect("it is ours");
    eventually("the end of all", || !pids.iter().any(|&pid| lives(pid)));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let left: Vec<_> = fs::read_dir(&folder).expect("readable").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn parent_to_be_killed(folder: &Path) {
    let numbers = folder.join("numbers");
    let pool = Setup::workers(3).build::<Procs>();
    let busy = [(); 2].map(|()| pool.submit(family::task(numbers.clone())).expect("accepted"));
    eventually("both are at work", || lines(&numbers).len() == 2);
    let (_, idle) = pool.submit(whoami::task()).expect("accepted").join().expect("runs");
    append_line(&numbers, &idle.to_string());
    let _ = busy.map(|handle| handle.join());
}

pub(crate) fn p14_panic_abort_and_odd_payloads() {
    let abort = ["--config", "profile.dev.panic=\"abort\""];
    let program = outside::build(env!("CARGO_TARGET_TMPDIR"), "aborting", &abort);
    let mut command = Command::new(program);
    assert_eq!(outside::run(command.env_remove("RUST_BACKTRACE")), "aborting: every panic is its task's");
}

pub(crate) fn p25_very_long_temporary_directory() {
    if is_alone() {
        let build = || <Procs as Harness>::build(Setup::workers(1));
        let words = env::var_os("WORDS").expect("the other half sets it");
        let Some(words) = words.to_str().filter(|words| !words.is_empty()) else {
            let pool = build().expect("there is just room for a socket's name");
            return assert_eq!(pool.submit(double::task(4)).expect("accepted").join().expect("runs"), 8);
        };
        let Err(TaskError::Start(start)) = build() else { panic!("there is no room for a socket") };
        assert!(start.message.contains(words) && start.message.contains("set TMPDIR to "), "{start:?}");
        let process = procs::spawn(double::task(1)).expect("a process for one task needs no name for its socket");
        return assert_eq!(process.join().expect("runs"), 2);
    }
    let scratch = Scratch::new();
    // A folder whose path has this length: in parts, for no name may be longer than 255 bytes.
    let long = |length: usize| {
        let mut path = scratch.path("x");
        while path.as_os_str().len() < length {
            let missing = length - path.as_os_str().len();
            path = if missing == 1 { path.with_file_name("xx") } else { path.join("x".repeat(missing.min(200) - 1)) };
        }
        fs::create_dir_all(&path).expect("writable");
        path
    };
    let most = 107 - "/.tmpXXXXXX/socket".len();
    let odd = scratch.path("").join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&odd).expect("writable");
    let file = scratch.path("file");
    touch(&file);
    let cases = [
        (long(most), ""),
        (long(most + 1), "90 bytes"),
        (long(1000), "1000 bytes"),
        (odd, "is not UTF-8"),
        (scratch.path("absent"), "does not exist"),
        (file, "does not exist"),
    ];
    for (folder, words) in cases {
        let said = outside::run(alone(&this_program(), &folder).env("WORDS", words));
        assert!(said.contains("1 passed"), "{folder:?}: {said}");
    }
}

pub(crate) fn p24_force_inprocess_unified_in() {
    let (scratch, program) = (Scratch::new(), outside::build(env!("CARGO_TARGET_TMPDIR"), "inprocess", &[]));
    let starts = scratch.path("starts");
    let said = outside::run(Command::new(program).env("STARTS", &starts));
    let said: Vec<&str> = said.lines().collect();
    let [refusal, answer] = said[..] else { panic!("one refusal, and an answer: {said:?}") };
    assert!(refusal.contains("`force-inprocess`"), "{refusal}");
    assert!(refusal.contains("`cargo tree -e features -i ipc-channel`"), "{refusal}");
    assert_eq!(answer, "42", "a process for one task is reached without");
    assert_eq!(lines(&starts), ["started"; 2], "the program and that process: no worker has been started for the pool");
}
