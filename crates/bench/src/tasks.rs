//! The tasks that are measured: next to nothing, so that what is left is the way there and back.

use taskloom::task;

/// Gives its argument plus one.
#[task]
pub(crate) fn next(n: u64) -> u64 {
    n + 1
}
