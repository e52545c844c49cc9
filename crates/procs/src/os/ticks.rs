//! A counter of the processor's, to be read in less than half the time that the clock takes.

/// How far the counter is. It may run at any rate from half a gigahertz on, and differ between processors: good for a guess
/// whether it is time to look at the clock, and for nothing else. `None` where there is no such counter.
#[cfg(target_arch = "x86_64")]
pub(crate) fn now() -> Option<u64> {
    // SAFETY: every x86-64 processor has the instruction, which reads a register and touches no memory.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn now() -> Option<u64> {
    None
}
