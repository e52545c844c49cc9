//! Processes and their groups: watching, killing, reaping, measuring.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    time::Duration,
};

use super::checked;

/// A child of this process, by a descriptor: its number may be reused, the descriptor means this one for ever.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    fd: OwnedFd,
}

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Running,
    /// Stopped by this signal.
    Stopped(i32),
    /// Ended, and not yet reaped unless somebody else did it: then there is no status.
    Ended(Option<ExitStatus>),
}

impl Child {
    /// Takes hold of a process; a child that has just been started, or one whose number is checked afterwards.
    pub(crate) fn watch(pid: u32) -> io::Result<Self> {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        let fd = checked(fd as libc::c_int)?;
        // SAFETY: the descriptor was made just now, and nobody else knows it.
        Ok(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Can be read once the child has ended.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Looks without changing anything.
    pub(crate) fn doing(&self) -> Doing {
        self.wait(libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT).0
    }

    /// Removes the child from the system's table, once it has ended. Gives the CPU time that it has used, if that is known.
    pub(crate) fn reap(&self) -> Option<Duration> {
        let (doing, usage) = self.wait(libc::WEXITED | libc::WNOHANG);
        matches!(doing, Doing::Ended(Some(_))).then_some(usage)
    }

    /// Waits for its end, and removes it from the system's table.
    pub(crate) fn wait_and_reap(&self) {
        let _ = self.wait(libc::WEXITED);
    }

    /// What it is doing, and if it has ended the CPU time that it has used, with that of children that it has reaped.
    fn wait(&self, options: libc::c_int) -> (Doing, Duration) {
        // SAFETY: plain numbers, for which zeroes are values.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let fd = self.fd();
        loop {
            // The system call itself: the C library's function has no place for what was used.
            // SAFETY: `info` and `usage` are ours and outlive the call, which writes to them and nothing else.
            let done =
                unsafe { libc::syscall(libc::SYS_waitid, libc::P_PIDFD, fd, &raw mut info, options, &raw mut usage) };
            match checked(done as libc::c_int) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody waits for all children of this process, or it ignores SIGCHLD.
                Err(_) => return (Doing::Ended(None), Duration::ZERO),
            }
        }
        // SAFETY: `waitid` fills in this field, or leaves the zero.
        let pid = unsafe { info.si_pid() };
        if pid == 0 {
            return (Doing::Running, Duration::ZERO);
        }
        // SAFETY: `waitid` has filled in this field.
        let status = unsafe { info.si_status() };
        let doing = match info.si_code {
            libc::CLD_EXITED => Doing::Ended(Some(ExitStatus::from_raw((status & 0xff) << 8))),
            libc::CLD_KILLED => Doing::Ended(Some(ExitStatus::from_raw(status & 0x7f))),
            libc::CLD_DUMPED => Doing::Ended(Some(ExitStatus::from_raw((status & 0x7f) | 0x80))),
            libc::CLD_STOPPED | libc::CLD_TRAPPED => Doing::Stopped(status),
            _ => Doing::Running,
        };
        (doing, cpu_time(&usage))
    }

    /// Ends this process alone.
    pub(crate) fn kill(&self) {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the pointer may be null: then the system fills the information in.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd(), libc::SIGKILL, info, 0) };
    }

    /// Sends a signal to the group that this child leads, also when the child itself has ended.
    pub(crate) fn signal_group(&self, signal: i32) {
        const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the pointer may be null: then the system fills the information in.
        let done =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd(), signal, info, PIDFD_SIGNAL_PROCESS_GROUP) };
        // Kernels before 6.9 know no groups there. Until the child is reaped its number cannot mean another group.
        if done < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            // SAFETY: takes numbers only.
            unsafe { libc::kill(-(self.pid as libc::pid_t), signal) };
        }
    }
}

/// CPU time of all children that this process has reaped, and of those that they had reaped. Whoever alone reaps, one by
/// one, learns from the difference what each has used.
pub fn cpu_time_of_reaped() -> Duration {
    // SAFETY: plain numbers, for which zeroes are values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is ours and outlives the call, which writes to it and nothing else.
    let done = checked(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) });
    // It fails only for a wrong pointer or number.
    done.map_or(Duration::ZERO, |_| cpu_time(&usage))
}

fn cpu_time(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer is ours, as long as is said, and outlives the call.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    // So few come whole, once there are any at all.
    if got == N as isize { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// The mask of permissions that new files do not get.
pub(crate) fn umask() -> Option<u32> {
    let text = super::read_proc("/proc/self/status").ok()?;
    u32::from_str_radix(text.lines().find_map(|line| line.strip_prefix("Umask:"))?.trim(), 8).ok()
}

/// Sends a signal to this thread, so that a process is stopped before this returns.
#[cfg(feature = "chaos")]
pub(crate) fn signal_self(signal: i32) {
    // SAFETY: takes numbers only.
    unsafe { libc::raise(signal) };
}

/// Ends this process and, if it leads one, its group. Nothing runs any more: no destructor, no handler.
pub(crate) fn kill_own_group() -> ! {
    super::signals::kill_group_if_leader();
    exit_now(libc::EXIT_FAILURE)
}

/// Ends this process at once, without handlers or destructors.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes a number and never returns.
    unsafe { libc::_exit(code) }
}
