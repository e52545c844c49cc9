//! One thread for one task, as Python's `Thread`.

mod common;

use std::{sync::mpsc::channel, thread, time::Duration};

use common::{Gate, until, watched};
use taskloom_core::{Cancel, TaskError, Until, task, task_fn, wait};
use taskloom_threads::spawn;

/// A task like any other.
#[task]
fn double(n: u64) -> u64 {
    n * 2
}

#[test]
fn a_task_or_a_closure_runs_on_a_fresh_thread() {
    let here = thread::current().id();
    assert_eq!(spawn(double::task(4)).unwrap().join().unwrap(), 8);
    assert_ne!(spawn(move || thread::current().id()).unwrap().join().unwrap(), here);
    assert_eq!(spawn(task_fn(|cx| cx.attempt())).unwrap().join().unwrap(), 1);
}

#[test]
fn it_is_alive_until_its_task_has_ended() {
    watched("it_is_alive_until_its_task_has_ended", || {
        let gate = Gate::default();
        let door = gate.clone();
        let mut thread = spawn(move || door.pass()).unwrap();
        assert!(thread.is_alive());
        assert!(thread.try_join().is_none());
        assert!(thread.join_timeout(Duration::from_millis(5)).is_none());
        gate.open();
        thread.join_timeout(Duration::MAX).unwrap().unwrap();
        assert!(!thread.is_alive());
    });
}

#[test]
fn its_thread_is_named_after_the_task() {
    #[task]
    fn named() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }
    let thread = spawn(named::task()).unwrap();
    assert!(thread.name().ends_with("named"));
    assert_eq!(thread.join().unwrap().as_deref(), Some("named-0"));
}

#[test]
fn it_can_be_asked_to_stop_and_tells_when_it_has() {
    watched("it_can_be_asked_to_stop", || {
        let (started, has_started) = channel();
        let thread = spawn(task_fn(move |cx| {
            started.send(()).unwrap();
            until(|| cx.is_cancelled());
            "stopped"
        }))
        .unwrap();
        has_started.recv().unwrap();
        assert_eq!(thread.cancel(), Cancel::Requested);
        let (told, was_told) = channel();
        thread.on_done(move |finished| told.send(finished.task).unwrap());
        let id = thread.id();
        assert_eq!(thread.join().unwrap(), "stopped");
        assert_eq!(was_told.recv().unwrap(), id);
    });
}

#[test]
fn a_dropped_one_runs_on() {
    watched("a_dropped_one_runs_on", || {
        let (done, is_done) = channel();
        let gate = Gate::default();
        let door = gate.clone();
        drop(spawn(move || {
            door.pass();
            done.send(()).unwrap();
        }));
        gate.open();
        is_done.recv().unwrap();
    });
}

#[test]
fn a_panic_is_its_outcome() {
    assert!(matches!(spawn(|| panic!("here")).unwrap().join(), Err(TaskError::Panicked(_))));
}

#[test]
fn threads_can_be_waited_for_together() {
    watched("threads_can_be_waited_for_together", || {
        let threads = [1_u64, 2, 3].map(|n| spawn(double::task(n)).unwrap());
        assert_eq!(wait(&threads, Until::All, None).done, [0, 1, 2]);
    });
}

#[test]
fn one_waits_for_another_and_starts_more() {
    watched("one_waits_for_another_and_starts_more", || {
        let sum = spawn(|| {
            let parts: Vec<_> = (0..10_u64).map(|n| spawn(double::task(n)).unwrap()).collect();
            parts.into_iter().map(|part| part.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum.unwrap().join().unwrap(), 90);
    });
}
