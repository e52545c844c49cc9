//! What the facade adds: every backend under one name, and the same words for each.

#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use taskloom::{Context, Event, TaskError, task};

#[cfg(feature = "procs")]
taskloom::test_support!();

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task(state)]
fn factor(of: u64) -> u64 {
    of
}

#[task]
fn times_state(cx: &Context, n: u64) -> Option<u64> {
    cx.state::<u64>().map(|factor| factor * n)
}

/// A task of generic type, whose instances are registered under this crate's name.
#[task]
fn longest<T: AsRef<str>>(words: Vec<T>) -> usize {
    words.iter().map(|word| word.as_ref().len()).max().unwrap_or(0)
}

taskloom::register!(longest<String>);

fn available() -> impl Iterator<Item = &'static str> {
    taskloom::backends().iter().filter(|(_, available)| *available).map(|(name, _)| *name)
}

#[test]
fn a_task_runs_on_every_backend_there_is() -> Result<(), TaskError> {
    for name in available() {
        let pool = taskloom::pool(name)?.workers(2).build()?;
        assert_eq!(pool.capabilities().name, name);
        let doubled: Result<Vec<u64>, _> = pool.map((0..100).map(double::task)).collect();
        assert_eq!(doubled?, (0..100).map(double).collect::<Vec<_>>(), "{name}");
        assert_eq!(pool.submit(longest::task(vec!["a".to_owned(), "bcd".to_owned()]))?.join()?, 3, "{name}");
    }
    Ok(())
}

#[test]
fn options_reach_the_builder_that_was_chosen() -> Result<(), TaskError> {
    for name in available() {
        let finished = Arc::new(AtomicUsize::new(0));
        let counting = finished.clone();
        let pool = taskloom::pool(name)?
            .workers(2)
            .init(factor::task(7))
            .on_event(move |event| {
                counting.fetch_add(usize::from(matches!(event, Event::Finished(_))), Ordering::Relaxed);
            })
            .build()?;
        let handle = pool.submit(times_state::task(6))?;
        assert_eq!(handle.join()?, Some(42), "{name}");
        pool.join();
        assert_eq!(finished.load(Ordering::Relaxed), 1, "{name}");
    }
    Ok(())
}

#[test]
fn a_closure_that_cannot_leave_is_refused_at_run_time() -> Result<(), TaskError> {
    for name in available() {
        let pool = taskloom::pool(name)?.workers(1).build()?;
        match pool.submit(|| 1) {
            Ok(handle) => assert_eq!(handle.join()?, 1, "{name}"),
            Err(error) => {
                assert_eq!(name, "procs");
                assert!(matches!(error, TaskError::Unsupported(_)), "{error}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_registry_that_is_in_use_takes_no_more_tasks() {
    assert_eq!(taskloom::Registry::get().find("double").map(|(_, def)| def.params().len()).unwrap(), 1);
    assert!(matches!(taskloom::init_with([]), Err(TaskError::Start(_))));
}
