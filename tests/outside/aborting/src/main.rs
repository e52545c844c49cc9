//! Built with `panic = "abort"`: a panic ends the process in which it happens, and is its task's outcome all the same.

use std::{panic::panic_any, thread};

use taskloom_core::{Handle, Panic, Policy, TaskError, task};

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

const PLACE: u32 = line!() + 4;

#[task]
fn panics(text: String) -> u64 {
    panic!("{text}")
}

#[task]
fn panics_at(n: u64, bad: u64) -> u64 {
    assert_ne!(n, bad);
    n
}

#[task]
fn panics_with_number() -> u64 {
    panic_any(42_u64)
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[task]
fn panics_with_bomb() -> u64 {
    panic_any(Bomb)
}

#[task]
fn prints_and_panics() -> u64 {
    println!("a line");
    eprint!("an error");
    panic!("enough")
}

#[task]
fn panics_elsewhere() -> u64 {
    thread::spawn(|| panic!("in a thread of its own")).join().map_or(1, |()| 2)
}

fn panic_of(handle: Handle<u64>) -> Panic {
    match handle.join() {
        Err(TaskError::Panicked(panic)) => *panic,
        other => panic!("{other:?} is no panic"),
    }
}

fn main() -> Result<(), TaskError> {
    assert!(cfg!(panic = "abort"));
    taskloom_procs::init();
    let pool = taskloom_procs::pool().workers(2).build()?;
    let before: Vec<_> = (0..20).map(|n| pool.submit(double::task(n)).unwrap()).collect();
    let panicking = pool.submit(panics::task("the glass is empty".to_owned()))?;
    let odd = [pool.submit(panics_with_number::task())?, pool.submit(panics_with_bomb::task())?];
    let behind: Vec<_> = (20..40).map(|n| pool.submit(double::task(n)).unwrap()).collect();

    let panic = panic_of(panicking);
    assert_eq!(panic.message, "the glass is empty");
    let place = panic.place.expect("the hook saw it");
    assert!(place.contains(&format!("main.rs:{PLACE}:")), "{place}");
    assert!(panic.backtrace.contains("aborting::panics"), "{}", panic.backtrace);
    for handle in odd {
        let panic = panic_of(handle);
        assert_eq!(panic.message, "a panic payload that is no text");
        assert!(panic.place.is_some() && panic.backtrace.contains("aborting::panics_with"));
    }
    for (n, handle) in before.into_iter().chain(behind).enumerate() {
        assert_eq!(handle.join()?, 2 * n as u64);
    }

    // A thread that the task started is not the task: its panic aborts the worker.
    let elsewhere = pool.submit(panics_elsewhere::task())?.join();
    let Err(TaskError::Crashed(death)) = elsewhere else { panic!("{elsewhere:?} is no crash") };
    assert_eq!(death.signal, Some(6));
    assert!(death.stderr.iter().any(|line| line.contains("in a thread of its own")), "{:?}", death.stderr);

    // The rest of a chunk runs elsewhere.
    let chunked = pool.with(Policy::new().chunk(10));
    let outcomes: Vec<_> = chunked.map((0..20).map(|n| panics_at::task(n, 3))).collect();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert!(n != 3 && value == n as u64),
            Err(error) => assert!(n == 3 && matches!(error, TaskError::Panicked(_)), "{n}: {error}"),
        }
    }
    pool.join();

    // What was printed before comes with the outcome.
    let pool = taskloom_procs::pool().workers(1).capture_output(true).build()?;
    let (sender, output) = std::sync::mpsc::channel();
    let panicking = pool.submit(prints_and_panics::task())?;
    panicking.on_done(move |finished| sender.send(finished.output.clone()).expect("somebody waits"));
    assert_eq!(panic_of(panicking).message, "enough");
    let output = output.recv().expect("a callback is called").expect("it has printed");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a line\n"[..], &b"an error"[..]));
    println!("aborting: every panic is its task's");
    Ok(())
}
