//! The command line over one task, without the backend `procs`.

use taskloom::task;

/// Doubles a number.
#[task]
fn double(n: u64) -> u64 {
    2 * n
}

fn main() {
    taskloom_cli::main()
}
