//! (a) Two tasks that wait two seconds, started together.

use std::time::Instant;

use taskloom::TaskError;
use taskloom_cli::{Stop, words};

use super::{Stage, broken, rows};

pub(super) fn run(stage: &mut Stage) -> Result<(), Stop> {
    stage.heading('a', "Two tasks of two seconds each, started together")?;
    for (backend, where_) in [("threads", "on two threads"), ("procs", "in two processes")] {
        if !rows::has(backend) {
            stage.line(&rows::not_built_in(backend))?;
            continue;
        }
        let start = Instant::now();
        pair(backend).map_err(|error| broken("the pair of tasks failed", error))?;
        stage.line(&format!("All tasks completed {where_}: {}", words::time(start.elapsed())))?;
    }
    Ok(())
}

/// One thread a task, or one fresh process: as Python's `Thread` and `Process`, with a result.
fn pair(backend: &str) -> Result<(), TaskError> {
    match backend {
        #[cfg(feature = "threads")]
        "threads" => {
            let task = |number| crate::tasks::wait_aloud::task(format!("thread {number}"), 2000);
            let (first, second) = (taskloom::threads::spawn(task(1))?, taskloom::threads::spawn(task(2))?);
            first.join()?;
            second.join()
        }
        #[cfg(feature = "procs")]
        "procs" => {
            let task = |number| crate::tasks::wait_aloud::task(format!("process {number}"), 2000);
            let (first, second) = (taskloom::procs::spawn(task(1))?, taskloom::procs::spawn(task(2))?);
            first.join()?;
            second.join()
        }
        _ => Ok(()),
    }
}
