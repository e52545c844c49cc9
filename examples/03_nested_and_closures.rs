//! What you will see: the size of this folder's sources, added up by a task that starts a task for each folder below,
//! and then a few closures that use what is around them.
//!
//! ```sh
//! cargo run -p taskloom-examples --bin 03_nested_and_closures
//! ```
//!
//! The idea: on a pool of this process a task is anything that can be called, and may wait for other tasks of the same
//! pool. Two workers are enough for any depth: a thread that waits in `join` lends its place to another, or runs the
//! task it waits for itself.
//!
//! Change `threads` to `inline` and it prints the same. With `procs` it does not compile: "this task cannot leave the
//! process". A closure may hold anything, and only what is written down can travel.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use taskloom::{InProcess, TaskError, View, threads};

/// Bytes of all files below a folder. One task a folder; each waits for those it started.
fn size<B: InProcess>(pool: &View<B>, folder: PathBuf) -> io::Result<u64> {
    let mut bytes = 0;
    let mut below = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            let (inner, path) = (pool.clone(), entry.path());
            below.push(pool.submit(move || size(&inner, path)).map_err(io::Error::other)?);
        } else {
            bytes += about.len();
        }
    }
    for handle in below {
        // A closure's value is returned as it is: the outer result is the pool's, the inner one the closure's own.
        bytes += handle.join().map_err(io::Error::other)??;
    }
    Ok(bytes)
}

fn main() -> Result<(), TaskError> {
    taskloom::init();

    let pool = threads::pool().workers(2).build()?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).to_owned();
    let view = pool.clone();
    match pool.submit(move || size(&view, here))?.join()? {
        Ok(bytes) => println!("this folder: {bytes} bytes"),
        Err(error) => println!("this folder cannot be read: {error}"),
    }

    // Closures may share what they like.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let closures = (1..=5).map(|n: u32| {
        let seen = seen.clone();
        move || {
            seen.lock().unwrap().push(n);
            n * n
        }
    });
    let squares: Vec<u32> = pool.map(closures).collect::<Result<_, _>>()?;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    println!("squares of {seen:?}: {squares:?}");
    Ok(())
}
