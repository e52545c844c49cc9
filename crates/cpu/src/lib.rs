//! The processor that a thread runs on: which it is, how to get off it, and how long the thread has used one. What the
//! backends of Taskloom need of that, and the standard library has no words for.
//!
//! Some kernels (seen: Linux 6.18 under KVM) put a new thread, or one that is woken, on the processor of whoever started or woke
//! it, though another has nothing to do, and find that out after some milliseconds only. Until then the two work in turns and not beside each other. A thread that knows where the other one is can
//! [`leave`].

use std::{
    io,
    mem::{self, MaybeUninit},
    thread,
    time::Duration,
};

/// A number for the processor that this thread runs on just now; 0 if that cannot be told.
pub fn here() -> u32 {
    // SAFETY: takes nothing, and gives a number.
    u32::try_from(unsafe { libc::sched_getcpu() }).map_or(0, |number| number + 1)
}

/// To be called by whoever has just started or woken a thread that is going to [`leave`]: it can do so at once, if it has been put here.
pub fn make_way() {
    thread::yield_now();
}

/// Moves this thread to another processor, if it is on that one, by its number of [`here`], and may run on others. Where it
/// may run stays as it is. Takes three system calls and the wake-up of the other processor: some 30 µs, if that one sleeps.
pub fn leave(processor: u32) {
    if processor == 0 || processor != here() {
        return;
    }
    // What cannot be done is left undone: it takes longer then, and nothing else.
    let _ = move_from(processor as usize - 1);
}

fn move_from(processor: usize) -> io::Result<()> {
    // SAFETY: a set of bits, for which zeroes are a value.
    let mut allowed: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the set is ours, as long as is said, and outlives the call.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) })?;
    let mut others = allowed;
    // SAFETY: a number below the set's length, as it names a processor that the set knows.
    if !unsafe { libc::CPU_ISSET(processor, &allowed) } {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { libc::CPU_CLR(processor, &mut others) };
    // SAFETY: reads a set of bits.
    if unsafe { libc::CPU_COUNT(&others) } == 0 {
        return Ok(());
    }
    for set in [others, allowed] {
        // SAFETY: the set is ours, as long as is said, and outlives the call.
        checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    }
    Ok(())
}

fn checked(status: libc::c_int) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Processor time of this thread since it was started: `CLOCK_THREAD_CPUTIME_ID` of `clock_gettime(2)`,
/// exact to the nanosecond where `/proc/thread-self/schedstat` costs three system calls.
pub fn thread_time() -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<u8> {
        // SAFETY: a set of bits, for which zeroes are a value.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the set is ours, as long as is said, and outlives the call.
        checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) }).unwrap();
        // SAFETY: so many bytes are there, all of them written.
        unsafe { std::slice::from_raw_parts((&raw const set).cast(), size_of::<libc::cpu_set_t>()) }.to_vec()
    }

    #[test]
    fn who_leaves_may_run_where_it_might_before() {
        let before = allowed();
        for _ in 0..100 {
            leave(here());
            leave(0);
        }
        assert_eq!(allowed(), before);
    }

    #[test]
    fn time_that_is_used_is_counted() {
        let before = thread_time().unwrap();
        let used = || thread_time().unwrap() - before;
        while used() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
    }
}
