//! Few descriptors and many blobs. Alone in its binary, for the limit is the whole process's.

mod support;

use support::*;
use taskloom_core::{Blob, task};

taskloom_procs::test_support!();

const LIMIT: u64 = 1024;

#[task]
fn ends(blob: Blob) -> (u8, u8, usize) {
    (blob[0], blob[blob.len() - 1], blob.len())
}

fn open() -> usize {
    descriptors().iter().filter(|name| name.contains("taskloom-blob")).count()
}

#[test]
fn a_thousand_blobs_leave_descriptors_to_others() {
    within(120, || {
        let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
        // SAFETY: `limit` outlives the call, which reads it and nothing else.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let pool = workers(2);
        let blobs: Vec<_> = (0..1000_usize)
            .map(|n| {
                let mut bytes = vec![0; 1 << 20];
                (bytes[0], bytes[(1 << 20) - 1]) = (n as u8, (n / 256) as u8);
                Blob::from(bytes)
            })
            .collect();
        // All of them are held all the time: those without memory of their own are copied.
        for _ in 0..2 {
            let results = pool.map(blobs.iter().map(|blob| ends::task(blob.clone())));
            for (result, n) in results.zip(0_usize..) {
                assert_eq!(result.unwrap(), (n as u8, (n / 256) as u8, 1 << 20));
            }
        }
        let share = open();
        assert!(share > 100 && share as u64 <= LIMIT / 4, "{share} descriptors");
        drop(blobs);
        eventually("all of them are closed", || open() == 0);
        assert!(pool.submit(ends::task(vec![7; 2 << 20].into())).unwrap().join().is_ok());
    });
}
