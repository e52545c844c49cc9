//! On which processor a thread runs: for threads that are started to work beside the one that starts them.
//!
//! Some kernels (seen: Linux 6.18 on a virtual machine whose processors share no cache) put a new thread on the processor of
//! the one that made it, though another is idle, and find that out after some milliseconds only. Who has no more than that to do would
//! work in turns with its maker, and not beside it.

use std::{io, mem::size_of, thread};

use super::checked;

/// The processor that this thread runs on just now.
pub(crate) fn current() -> Option<usize> {
    // SAFETY: takes nothing, and gives a number.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// To be called by whoever has just started a thread that is going to [`leave`]: it can do so at once, if it has been put here.
pub(crate) fn make_way() {
    thread::yield_now();
}

/// Moves this thread to another processor, if it runs on this one and may run on others; where it may run stays as it is.
pub(crate) fn leave(processor: Option<usize>) {
    let Some(here) = processor.filter(|_| processor == current()) else { return };
    // What cannot be done is left undone: it takes longer then, and nothing else.
    let _ = move_from(here);
}

fn move_from(here: usize) -> io::Result<()> {
    // SAFETY: a set of bits, for which zeroes are a value.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours, as long as is said, and outlives the call.
    checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) })?;
    let mut others = allowed;
    // SAFETY: a number below the set's length, as it names a processor that the set knows.
    if !unsafe { libc::CPU_ISSET(here, &allowed) } {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { libc::CPU_CLR(here, &mut others) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<u8> {
        // SAFETY: a set of bits, for which zeroes are a value.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is ours, as long as is said, and outlives the call.
        checked(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) }).unwrap();
        // SAFETY: so many bytes are there, all of them written.
        unsafe { std::slice::from_raw_parts((&raw const set).cast(), size_of::<libc::cpu_set_t>()) }.to_vec()
    }

    #[test]
    fn who_leaves_may_run_where_it_might_before() {
        let before = allowed();
        for _ in 0..100 {
            leave(current());
            leave(None);
        }
        assert_eq!(allowed(), before);
    }
}
