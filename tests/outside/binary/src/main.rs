//! Runs a library's tasks on every backend; the library knows none of them.

use library::double;
use taskloom::{TaskError, View, inline, procs, threads};

fn sum(pool: &View) -> Result<u64, TaskError> {
    pool.map((0..100).map(double::task)).sum()
}

fn main() -> Result<(), TaskError> {
    taskloom::init();
    let sums = [
        sum(&inline::pool().build()?.any())?,
        sum(&threads::pool().workers(2).build()?.any())?,
        sum(&procs::pool().workers(2).build()?.any())?,
    ];
    println!("binary: {sums:?}");
    Ok(())
}
