//! The CPU clock of the current thread. The only unsafe code of this crate.

use std::{mem::MaybeUninit, time::Duration};

/// CPU time of this thread since it was started: `CLOCK_THREAD_CPUTIME_ID` of `clock_gettime(2)`,
/// exact to the nanosecond where `/proc/thread-self/schedstat` costs three system calls.
pub(crate) fn thread_time() -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is valid for writes of a `timespec` during the call, which keeps no pointer to it.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: `clock_gettime` returned 0: it has written the whole `timespec`.
    let time = unsafe { time.assume_init() };
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}
