//! Tasks that tell in which surroundings they run, and that have pools of their own.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use taskloom::{TaskError, task};

use crate::scratch::{Gate, append_line};

/// Waits at the first gate, and then comes to the second.
#[task]
pub fn goes_on(first: Gate, second: Gate) -> u64 {
    first.pass(|| false);
    second.arrive();
    7
}

/// Its process, its directory, and that variable.
#[task]
pub fn surroundings(variable: String) -> Result<(u32, PathBuf, Option<String>), std::io::Error> {
    Ok((std::process::id(), std::env::current_dir()?, std::env::var(variable).ok()))
}

/// Builds a pool inside this task, whose task does the same, and so on: how many there are, at most `most`, and the
/// limit that forbids the next, if one does.
#[task]
pub fn nests(backend: String, most: u32) -> Result<(u32, Option<u64>), TaskError> {
    if most == 0 {
        return Ok((0, None));
    }
    let pool = match taskloom::pool(&backend)?.workers(1).build() {
        Err(TaskError::Exhausted(what)) => return Ok((0, Some(what.limit))),
        built => built?,
    };
    let (more, limit) = pool.submit(nests::task(backend, most - 1))?.join()?;
    Ok((more + 1, limit))
}

/// Nests so deep, notes each process, and waits at the innermost for the gate, whatever it is told. With a child there,
/// where that is nobody else's.
#[task]
pub fn nests_and_waits(backend: String, depth: u32, file: PathBuf, gate: Gate, child: bool) -> Result<u64, TaskError> {
    append_line(&file, &std::process::id().to_string());
    if depth > 0 {
        let pool = taskloom::pool(&backend)?.workers(1).build()?;
        return pool.submit(nests_and_waits::task(backend, depth - 1, file, gate, child))?.join();
    }
    if child && let Ok(child) = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn() {
        append_line(&file, &child.id().to_string());
    }
    gate.pass(|| false);
    Ok(7)
}
