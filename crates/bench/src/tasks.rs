//! The tasks that are measured: next to nothing, so that what is left is the way there and back.

use anyhow::{Result, ensure};
use taskloom::{Backend, View, task};

/// Gives its argument plus one.
#[task]
pub(crate) fn next(n: u64) -> u64 {
    n + 1
}

/// A figure counts only if the work was done: the sum of what [`next`] makes of 0 to `n`.
pub(crate) fn checked(n: usize, sum: u64) -> Result<()> {
    let n = n as u64;
    ensure!(sum == n * (n + 1) / 2, "the sum of {n} results is {sum}");
    Ok(())
}

/// So many tasks, all of them open at a time, a handle each.
pub(crate) fn submit_and_join<B: Backend + ?Sized>(pool: &View<B>, n: usize) -> Result<()> {
    let handles = (0..n as u64).map(|i| pool.submit(next::task(i))).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0;
    for handle in handles {
        sum += handle.join()?;
    }
    checked(n, sum)
}

/// So many tasks, one at a time.
pub(crate) fn one_by_one<B: Backend + ?Sized>(pool: &View<B>, n: usize) -> Result<()> {
    let mut sum = 0;
    for i in 0..n as u64 {
        sum += pool.submit(next::task(i))?.join()?;
    }
    checked(n, sum)
}

/// So many tasks, as a map in chunks of automatic size.
pub(crate) fn map<B: Backend + ?Sized>(pool: &View<B>, n: usize) -> Result<()> {
    let mut sum = 0;
    for result in pool.map((0..n as u64).map(next::task)) {
        sum += result?;
    }
    checked(n, sum)
}
