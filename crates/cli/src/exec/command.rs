//! One command: started in a process group of its own, watched by a descriptor, ended with its whole group.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt, process::CommandExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{
    plan::Plan,
    template::{INPUT_VARIABLE, Subject},
};
use crate::{input::Origin, record::Key};

/// One input on its way to be a command.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its place among those that are run.
    pub(crate) turn: u64,
    /// Its number among all inputs.
    pub(crate) number: u64,
    pub(crate) origin: Origin,
    pub(crate) shown: String,
    pub(crate) in_bytes: usize,
    pub(crate) key: Option<Key>,
    pub(crate) subject: Subject,
    /// From 1.
    pub(crate) attempt: u32,
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) process: Process,
    /// What it prints to, unless it writes where this program does.
    pub(crate) files: Option<(File, File)>,
    pub(crate) started: Instant,
    pub(crate) timeout_at: Option<Instant>,
    pub(crate) slow_at: Option<Instant>,
    /// When it is killed, because it was asked to end.
    pub(crate) kill_at: Option<Instant>,
    /// Why it was asked or made to end.
    pub(crate) ended_by: Option<EndedBy>,
    pub(crate) killed: bool,
}

/// A command that has just been started.
pub(crate) struct Started {
    process: Process,
    files: Option<(File, File)>,
    at: Instant,
}

impl Started {
    /// Starts it. What it prints goes to files that have no names, unless it is left to write where this program does.
    pub(crate) fn new(plan: &Plan, job: &Job, slot: usize) -> io::Result<Self> {
        let files = if plan.ungroup { None } else { Some((tempfile::tempfile()?, tempfile::tempfile()?)) };
        // A command runs from here on: it is its program already when the call returns.
        let at = Instant::now();
        let process = Process::start(|| spawn(plan, job, slot, files.as_ref()))?;
        Ok(Self { process, files, at })
    }
}

/// Why a command was not left to end by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EndedBy {
    /// Its time was over then.
    Timeout(Instant),
    /// It held so much.
    Memory(u64),
    /// The run ends.
    Run,
}

impl Running {
    /// What follows from the start of a job's command.
    pub(crate) fn new(plan: &Plan, job: Job, Started { process, files, at }: Started) -> Self {
        Self {
            job,
            process,
            files,
            started: at,
            timeout_at: plan.limits.timeout.map(|limit| at + limit),
            slow_at: Some(at + plan.limits.slow),
            kill_at: None,
            ended_by: None,
            killed: false,
        }
    }

    /// Asks it to end, and sets when it will be killed.
    pub(crate) fn ask_to_end(&mut self, why: EndedBy, signal: Signal, kill_at: Instant) {
        self.ended_by.get_or_insert(why);
        self.process.signal(signal);
        // One that was stopped would not hear.
        self.process.signal(Signal::CONT);
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        self.timeout_at = None;
        self.slow_at = None;
    }

    pub(crate) fn kill(&mut self, why: EndedBy) {
        self.ended_by.get_or_insert(why);
        self.process.signal(Signal::KILL);
        self.killed = true;
        (self.kill_at, self.timeout_at, self.slow_at) = (None, None, None);
    }

    /// When something is to be done about it next.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        [self.timeout_at, self.slow_at, self.kill_at].into_iter().flatten().min()
    }

    /// Its clocks have stood still for so long.
    pub(crate) fn shift(&mut self, rest: Duration) {
        self.started += rest;
        for at in [&mut self.timeout_at, &mut self.slow_at, &mut self.kill_at] {
            *at = at.map(|at| at + rest);
        }
    }
}

/// A child and its group. Dropped before it has been reaped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    fd: OwnedFd,
    reaped: bool,
}

impl Process {
    /// Every descriptor that `spawn` needs is closed again when the watching one is opened: so that cannot lack room.
    fn start(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Self> {
        let mut child = spawn()?;
        let group = Pid::from_child(&child);
        match pidfd_open(group, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self { child, group, fd, reaped: false }),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                child.wait()?;
                Err(error.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the command and all that it has started in its group.
    pub(crate) fn signal(&self, signal: Signal) {
        // Until it is reaped its number means this group and no other. It fails only where all have ended.
        let _ = kill_process_group(self.group, signal);
    }

    /// To be called when the descriptor says that it has ended: how. What it left behind in its group ends with it.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// By `posix_spawn`: nothing runs in between, so nothing of this process is copied for it.
fn spawn(plan: &Plan, job: &Job, slot: usize, files: Option<&(File, File)>) -> io::Result<Child> {
    let words = plan.template.fill(&job.subject, job.number, Some(slot));
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = match &plan.start.program {
        Some(found) => {
            let mut command = Command::new(found);
            command.arg0(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments).process_group(0).stdin(Stdio::null());
    if let Some((stdout, stderr)) = files {
        command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    }
    if let Some(cwd) = &plan.start.cwd {
        command.current_dir(cwd);
    }
    command.envs(plan.start.env.iter().map(|(name, value)| (name, value)));
    command.env(INPUT_VARIABLE, OsString::from_vec(job.subject.whole()));
    command.env("TASKLOOM_TASK_INDEX", job.number.to_string());
    command.env("TASKLOOM_TASK_SLOT", slot.to_string());
    command.env("TASKLOOM_TASK_ATTEMPT", job.attempt.to_string());
    command.spawn()
}
