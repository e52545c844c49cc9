//! Blobs: filled once, looked at where they are, and gone with their last holder.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};
use support::*;
use taskloom_core::{Blob, Context, Policy, Retry, State, TrySubmitError, task};

taskloom_procs::test_support!();

const MIB: usize = 1 << 20;

/// What each test sees of this process is its own.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blob(seed: u64, length: usize) -> Blob {
    let byte = |at: u64| ((at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..length as u64).map(byte).collect::<Vec<_>>().into()
}

/// Descriptors of blobs' memory that this process has.
fn open() -> usize {
    descriptors().iter().filter(|name| name.contains("taskloom-blob")).count()
}

/// Mappings and descriptors of blobs' memory that a process has.
fn held_by(process: u32) -> (usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let is_blobs = |file: fs::DirEntry| {
        fs::read_link(file.path()).is_ok_and(|name| name.to_string_lossy().contains("taskloom-blob"))
    };
    (
        maps.lines().filter(|line| line.contains("taskloom-blob")).count(),
        files.map(is_blobs).filter(|is_blobs| *is_blobs).count(),
    )
}

/// Mappings of blobs' memory that this process has.
fn mapped() -> usize {
    held_by(std::process::id()).0
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

/// Sum of the bytes, and this worker's mappings and descriptors of blobs.
#[task]
fn looked_at(blob: Blob) -> (u64, usize, usize) {
    (sum(&blob), mapped(), open())
}

#[task]
fn held() -> (usize, usize) {
    (mapped(), open())
}

/// Where it lies there.
#[task]
fn lies(blob: Blob) -> usize {
    blob.as_ptr() as usize
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Deep {
    Nothing,
    One { name: String, blob: Blob },
    Many(BTreeMap<u8, Option<Vec<Blob>>>),
}

/// Gives everything back, and a blob of its own.
#[task]
fn back(deep: Vec<Deep>) -> (Vec<Deep>, Blob) {
    (deep, vec![9; 3 * MIB].into())
}

/// Aborts at first.
#[task]
fn second_time(cx: &Context, blob: Blob) -> u64 {
    if cx.attempt() == 1 {
        std::process::abort();
    }
    sum(&blob)
}

/// Keeps the first blob for the worker's life, and gives that back.
#[task]
fn first(blob: Blob) -> Blob {
    static FIRST: Mutex<Option<Blob>> = Mutex::new(None);
    FIRST.lock().unwrap().get_or_insert(blob).clone()
}

/// Passes a blob on, to a worker of a worker.
#[task]
fn deeper(blob: Blob) -> Result<(u64, Blob), taskloom_core::TaskError> {
    let pool = taskloom_procs::pool().workers(1).build()?;
    let (same, _) = pool.submit(back::task(vec![Deep::One { name: String::new(), blob }]))?.join()?;
    let [Deep::One { blob, .. }] = &same[..] else { panic!("it came back as it was") };
    Ok((sum(blob), blob.clone()))
}

#[test]
fn what_is_passed_on_again_lies_where_it_lay() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let place = |blob: &Blob| pool.submit(lies::task(blob.clone())).unwrap().join().unwrap();
        let (one, other) = (blob(1, 3 * MIB), blob(2, 20 * MIB));
        let places = [place(&one), place(&other)];
        assert_ne!(places[0], places[1]);
        for _ in 0..3 {
            assert_eq!([place(&one), place(&other)], places);
        }
        // More than a worker keeps: the oldest is mapped anew, and all are what they were.
        let many: Vec<_> = (0..70).map(|n| blob(n, MIB)).collect();
        for blob in many.iter().chain([&one, &other]) {
            let (sum_there, ..) = pool.submit(looked_at::task(blob.clone())).unwrap().join().unwrap();
            assert_eq!(sum_there, sum(blob));
        }
        let kept = pool.submit(held::task()).unwrap().join().unwrap().0;
        assert!((64..75).contains(&kept), "{kept} mappings");
        drop((one, other, many));
        eventually("all are forgotten", || pool.submit(held::task()).unwrap().join().unwrap() == (0, 0));
    });
}

#[test]
fn a_blob_is_filled_once_and_freed_with_its_last_holder() {
    let _alone = alone();
    within(60, || {
        let pool = workers(2);
        let blob = blob(1, 5 * MIB);
        let expected = sum(&blob);
        assert_eq!((open(), mapped()), (0, 0));
        for _ in 0..3 {
            let results = pool.map((0..20).map(|_| looked_at::task(blob.clone())));
            for result in results {
                // No descriptor there, and one here for all of them.
                assert_eq!(result.unwrap(), (expected, 1, 0));
            }
            assert_eq!((open(), mapped()), (1, 0));
        }
        // Whoever was given it keeps it for the next task, until it is gone here.
        let held = || pool.backend().pids().into_iter().map(held_by).collect::<Vec<_>>();
        assert!(held().contains(&(1, 0)) && held().iter().all(|held| [(0, 0), (1, 0)].contains(held)), "{:?}", held());
        drop(blob);
        // The last task's own clone goes when its outcome has been stored.
        eventually("its memory is freed", || open() == 0);
        eventually("by the workers too", || held() == [(0, 0); 2]);
    });
}

#[test]
fn a_large_blob_is_in_one_piece_for_whoever_looks_and_freed_too() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let blob = blob(1, 40 * MIB + 5);
        let expected = sum(&blob);
        for _ in 0..3 {
            let (found, mappings, files) = pool.submit(looked_at::task(blob.clone())).unwrap().join().unwrap();
            // Each processor fills a file.
            let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
            assert_eq!((found, mappings == open(), mappings > 1, files), (expected, true, several, 0));
        }
        drop(blob);
        eventually("its memory is freed", || open() == 0);
        eventually("by the worker too", || pool.submit(held::task()).unwrap().join().unwrap() == (0, 0));
    });
}

#[test]
fn blobs_of_all_sizes_come_from_any_depth_and_are_the_same_when_they_return() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let sizes = [0, 1, 32_767, 32_768, MIB - 1, MIB, MIB + 1];
        let many: Vec<_> = sizes.iter().map(|&size| blob(size as u64, size)).collect();
        let big = blob(7, 2 * MIB);
        let deep = vec![
            Deep::Nothing,
            Deep::One { name: "big".to_owned(), blob: big.clone() },
            Deep::Many(BTreeMap::from([(1, None), (2, Some(many.clone())), (3, Some(vec![big.clone()]))])),
        ];
        let (same, made) = pool.submit(back::task(deep.clone())).unwrap().join().unwrap();
        assert!(same == deep);
        assert!(made.len() == 3 * MIB && made.iter().all(|&byte| byte == 9));
        let Deep::One { blob, .. } = &same[1] else { panic!("{same:?}") };
        assert_eq!(blob.as_ptr(), big.as_ptr(), "it has been here all the time");
        let Deep::Many(map) = &same[2] else { panic!("{same:?}") };
        let returned = map[&2].as_ref().unwrap();
        for (returned, given) in returned.iter().zip(&many).filter(|(_, given)| !given.is_empty()) {
            assert_eq!(returned.as_ptr() == given.as_ptr(), given.len() >= MIB, "{returned:?}");
        }
    });
}

#[test]
fn a_queue_counts_blobs_that_nobody_else_holds() {
    let _alone = alone();
    within(60, || {
        let pool = taskloom_procs::pool().workers(1).queue_bytes(4 * MIB).build().unwrap();
        let nap = pool.submit(nap::task(300)).unwrap();
        eventually("it runs", || nap.state() == State::Running);
        let blob = blob(1, 3 * MIB);
        let same: Vec<_> = (0..10).map(|_| pool.try_submit(looked_at::task(blob.clone())).unwrap()).collect();
        let own = || looked_at::task(blob.to_vec().into());
        let first = pool.try_submit(own()).unwrap();
        assert!(matches!(pool.try_submit(own()), Err(TrySubmitError::Full(_))), "6 MiB are held by the queue alone");
        for handle in same.into_iter().chain([first]) {
            assert_eq!(handle.join().unwrap().0, sum(&blob));
        }
    });
}

#[test]
fn another_attempt_has_the_blob_too() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let blob = blob(3, 4 * MIB);
        let view = pool.with(Policy::new().retry(Retry::crashes(1)));
        assert_eq!(view.submit(second_time::task(blob.clone())).unwrap().join().unwrap(), sum(&blob));
        assert_eq!(open(), 1);
    });
}

#[test]
fn what_a_worker_has_kept_of_an_earlier_task_comes_back_as_a_copy() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let (one, two) = (blob(1, 2 * MIB), blob(2, 2 * MIB));
        let same = pool.submit(first::task(one.clone())).unwrap().join().unwrap();
        assert_eq!(same.as_ptr(), one.as_ptr());
        let bytes = one.to_vec();
        drop((one, same));
        eventually("the parent has let go of it", || open() == 0);
        let kept = pool.submit(first::task(two)).unwrap().join().unwrap();
        assert!(*kept == bytes);
    });
}

#[test]
fn a_worker_passes_a_blob_on() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let blob = blob(4, 3 * MIB);
        let (there, same) = pool.submit(deeper::task(blob.clone())).unwrap().join().unwrap();
        assert_eq!((there, same.as_ptr()), (sum(&blob), blob.as_ptr()));
    });
}

#[test]
fn what_is_cancelled_or_dies_leaves_no_memory() {
    let _alone = alone();
    within(60, || {
        let pool = workers(1);
        let nap = pool.submit(nap::task(100)).unwrap();
        let handles: Vec<_> = (0..10).map(|n| pool.submit(looked_at::task(blob(n, 2 * MIB))).unwrap()).collect();
        handles.iter().for_each(|handle| {
            handle.cancel();
        });
        nap.join().unwrap();
        drop(handles);
        eventually("cancelled tasks hold nothing", || open() == 0);
        let blob = blob(1, 2 * MIB);
        pool.submit(second_time::task(blob)).unwrap().join().unwrap_err();
        eventually("a dead worker holds nothing", || open() == 0);
        pool.cancel_all(std::time::Duration::ZERO);
        assert_eq!((open(), mapped()), (0, 0));
    });
}
