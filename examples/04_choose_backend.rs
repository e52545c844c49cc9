//! What you will see: the primes below 50000 counted in ten pieces, on the backend that you name, and what that backend
//! can do. The pieces and the sum are the same on each.
//!
//! ```sh
//! cargo run -p taskloom-examples --bin 04_choose_backend            # threads
//! cargo run -p taskloom-examples --bin 04_choose_backend -- procs
//! ```
//!
//! The idea: `taskloom::pool(name)` chooses while the program runs. What a backend cannot do is then an error at run
//! time, in the same words that the compiler has for a pool whose type it knows.

use std::env;

use taskloom::{TaskError, View, task};

/// How many primes there are from `from` up to, not including, `to`.
#[task]
fn primes(from: u32, to: u32) -> usize {
    let is_prime = |n: u32| n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (from..to).filter(|n| is_prime(*n)).count()
}

/// Library code takes a view of whatever pool there is.
fn count(pool: &View) -> Result<usize, TaskError> {
    let pieces = (0..10).map(|piece| primes::task(piece * 5000, (piece + 1) * 5000));
    let mut sum = 0;
    for (piece, found) in pool.map(pieces).enumerate() {
        let found = found?;
        println!("piece {piece}: {found}");
        sum += found;
    }
    Ok(sum)
}

fn main() -> Result<(), TaskError> {
    taskloom::init();

    let name = env::args().nth(1).unwrap_or_else(|| "threads".to_owned());
    let pool = match taskloom::pool(&name) {
        Ok(pool) => pool.workers(2).build()?,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    println!("{} primes below 50000", count(&pool)?);

    let can = pool.capabilities();
    eprintln!(
        "backend {}, {} at a time; a crash costs {}",
        can.name,
        can.workers,
        if can.isolates { "one task" } else { "the program" }
    );
    if let Err(refused) = pool.submit(|| "a closure") {
        eprintln!("a closure: {refused}");
    }
    Ok(())
}
