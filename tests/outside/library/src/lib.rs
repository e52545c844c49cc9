//! Tasks in a library, for whoever runs them.

use taskloom::task;

/// Gives twice the number.
#[task]
pub fn double(n: u64) -> u64 {
    2 * n
}
