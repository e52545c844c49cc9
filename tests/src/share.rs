//! Values that are passed on instead of copied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taskloom::{Blob, Context, Policy, Retry, task};

use crate::harness::{Harness, Setup};

/// A place for blobs to be deep inside of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Shelf {
    /// None.
    Empty,
    /// One with a name.
    One {
        /// The name.
        name: String,
        /// The blob.
        blob: Blob,
    },
    /// Some by number.
    Many(BTreeMap<u8, Option<Vec<Blob>>>),
}

/// Gives what it has been given back, with the sum of one blob's bytes, in this attempt and not before.
#[task]
pub fn passes(cx: &Context, shelf: Shelf, blob: Blob, attempt: u32) -> Result<(Shelf, Blob, u64), String> {
    let sum = sum(&blob);
    if cx.attempt() < attempt { Err("not yet".to_owned()) } else { Ok((shelf, blob, sum)) }
}

/// Sums bytes up.
#[task]
pub fn sums(blob: Blob, from: usize) -> u64 {
    sum(&blob[from..])
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

fn blob(size: usize) -> Blob {
    (0..size).map(|at| ((at * at) >> 8) as u8).collect::<Vec<_>>().into()
}

/// Blobs of all sizes arrive as they were from wherever they are, and one that returns is the one that was given, where it is
/// shared; also in maps, and for later attempts.
pub fn share_blob<H: Harness>() {
    let pool = Setup::workers(2).build::<H>();
    let retried = pool.with(Policy::new().retry(Retry::any(1)));
    let encodes = pool.capabilities().encodes;
    for size in [0, 1, 32_767, 32_768, 1 << 20, 3 << 20] {
        let blob = blob(size);
        let expected = sum(&blob);
        let many = BTreeMap::from([(1, None), (2, Some(vec![blob.clone(), Blob::default(), blob.clone()]))]);
        let one = Shelf::One { name: "one".to_owned(), blob: blob.clone() };
        for shelf in [Shelf::Empty, one, Shelf::Many(many)] {
            for (view, attempt) in [(&*pool, 1), (&retried, 2)] {
                let handle = view.submit(passes::task(shelf.clone(), blob.clone(), attempt)).expect("accepted");
                let (same_shelf, same, total) = handle.join().expect("it only passes");
                assert!(same_shelf == shelf && same == blob && total == expected, "{size} bytes");
                let shared_from = match (encodes, H::CHECKED || attempt > 1) {
                    (true, _) => 1 << 20,
                    // What goes through bytes for another reason.
                    (false, true) => 32 << 10,
                    (false, false) => 1,
                };
                if size >= shared_from {
                    assert_eq!(same.as_ptr(), blob.as_ptr(), "{size} bytes");
                }
            }
        }
    }
    let blob = blob(1 << 20);
    let sums = pool.map((0..50).map(|at| sums::task(blob.clone(), at << 12)));
    for (result, at) in sums.zip(0..) {
        assert_eq!(result.expect("there are so many"), sum(&blob[at << 12..]));
    }
}
