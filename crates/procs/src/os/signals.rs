//! Signals: kept away from our own threads, and the second fence against orphans.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
};

use super::checked;

/// Keeps signals away from this thread, so that no handler of the program interrupts its system
/// calls: ipc-channel passes `EINTR` on, half way through a message too. Faults still end the process.
pub(crate) fn block_all() {
    // SAFETY: a set of bits, for which zeroes are a value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is ours.
    unsafe { libc::sigfillset(&raw mut set) };
    for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, parent_has_died()] {
        // SAFETY: `set` is ours, and the signals exist.
        unsafe { libc::sigdelset(&raw mut set, fault) };
    }
    // SAFETY: `set` is ours and is only read; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// Who started this process.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Kills this process's group when the process that started it ends.
///
/// A second fence: the first is the end of the control channel. The signal is one that we handle,
/// because SIGKILL would end this process alone, before it can end its group; and because it also comes when only the
/// thread has ended that started this process.
pub(crate) fn die_with_parent(parent: u32) -> io::Result<()> {
    PARENT.store(parent as i32, Ordering::Relaxed);
    // SAFETY: plain data, for which zeroes are values.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_parent_death as *const () as libc::sighandler_t;
    // SAFETY: `action` is ours and holds a handler of the signature that it says, without flags.
    checked(unsafe { libc::sigaction(parent_has_died(), &raw const action, std::ptr::null_mut()) })?;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, parent_has_died() as libc::c_ulong) }).map(drop)
}

/// The signal for that: one that programs hardly use. Not the very last ones, which emulators keep for themselves.
fn parent_has_died() -> libc::c_int {
    libc::SIGRTMAX() - 3
}

/// The system gives a child of a thread that ends to another thread of the process, and when there is none any more to
/// another process; then it sends the signal, each time.
extern "C" fn on_parent_death(_: libc::c_int) {
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } != PARENT.load(Ordering::Relaxed) {
        kill_group_if_leader();
    }
}

/// Safe in a signal handler: system calls and nothing else.
pub(crate) fn kill_group_if_leader() {
    // SAFETY: takes nothing.
    let group = unsafe { libc::getpgrp() };
    // SAFETY: takes nothing.
    let own = unsafe { libc::getpid() };
    // A process started by hand may be in somebody's group: then only it ends.
    let target = if group == own { 0 } else { own };
    // SAFETY: takes numbers only.
    unsafe { libc::kill(target, libc::SIGKILL) };
}
