//! What you will see: twelve tasks, three of which end badly, each in its own way. Every other one succeeds, and the
//! program is there to tell what became of the three.
//!
//! ```sh
//! cargo run -p taskloom-examples --bin 02_crash
//! ```
//!
//! The idea: in a worker process a crash is the outcome of one task. `TaskError` says which kind of end it was, and its
//! record says the rest: worker, signal or exit code, place of a panic, last words on standard error.
//!
//! On threads the same program would end at the fourth task, and nobody would be told: that is what processes are for.

use taskloom::{TaskError, procs, task};

/// Some numbers are worse than others.
#[task]
fn risky(n: u64) -> Result<u64, String> {
    match n {
        3 => {
            eprintln!("task {n} is about to abort");
            std::process::abort()
        }
        5 => panic!("task {n} found a bug"),
        7 => Err(format!("task {n} does not like its input")),
        _ => Ok(n * n),
    }
}

fn main() -> Result<(), TaskError> {
    taskloom::init();

    let pool = procs::pool().workers(2).build()?;
    for (n, outcome) in (0..).zip(pool.map((0..12).map(risky::task))) {
        match outcome {
            Ok(square) => println!("{n:>2}: {square}"),
            // The worker died. It has been replaced already.
            Err(TaskError::Crashed(death)) => {
                let last = death.stderr.last().map_or("nothing", String::as_str);
                println!("{n:>2}: its worker {}; it last said: {last}", death.how());
            }
            // The worker caught it, and goes on.
            Err(TaskError::Panicked(panic)) => {
                println!("{n:>2}: panicked at {}: {}", panic.place.as_deref().unwrap_or("?"), panic.message);
            }
            // The task's own word.
            Err(TaskError::Failed(failure)) => println!("{n:>2}: failed: {failure}"),
            Err(other) => println!("{n:>2}: {other}"),
        }
    }
    Ok(())
}
