//! The thread that starts, watches and ends commands.

mod settling;
mod starting;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    os::fd::AsFd,
    process,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::Signal,
};

use super::{
    bell::Bell,
    command::{EndedBy, Job, Running},
    ending::earliest,
    inbox::{Inbox, Intake},
    plan::Plan,
    reporter::{Reporter, Word},
};
use crate::{
    Stop, exit,
    memory::{self, Gate, Meter},
    outcome::Done,
    progress::Running as RunningCount,
    reader::{self, Credits},
    report::{End, Report},
    signals::{self, Signals, Wish},
    stopping::Why,
    words,
};

/// Inputs between reading and writing, at most.
const WINDOW: usize = 4096;
/// How long commands have to end when nobody will see their output.
const UNSEEN_GRACE: Duration = Duration::from_secs(1);
/// How often memory is looked at, where it is limited.
const MEMORY_LOOK: Duration = Duration::from_millis(50);
/// Runs all of it; the exit code.
pub(super) fn run(plan: Plan, report: Report) -> Result<u8, Stop> {
    let cannot =
        |error: io::Error| Stop::new(exit::FAILED, "no-descriptor", format!("cannot wait for anything: {error}"));
    let signals = Signals::listen().map_err(cannot)?;
    let bell = Arc::new(Bell::new().map_err(cannot)?);
    if !plan.ungroup {
        tempfile::tempfile().map_err(|error| no_file(&error))?;
    }
    let credits = Arc::new(Credits::new(WINDOW));
    let count = report.running();
    let inbox = Arc::new(Inbox::new(bell.clone()));
    let reporter = Reporter::start(report, credits.clone(), plan.keep_order, bell.clone())?;
    let taker = Intake { feed: plan.feed.clone(), credits: credits.clone(), inbox: inbox.clone() };
    reader::start(plan.feed.clone(), taker)?;
    let start = Instant::now();
    let mut supervisor = Supervisor {
        run_ends: plan.limits.run_timeout.map(|limit| start + limit),
        memory_look: plan.limits.memory.map(|_| start + MEMORY_LOOK),
        gate: Gate::new(plan.limits.min_free_memory),
        plan,
        start,
        signals,
        bell,
        inbox,
        credits,
        reporter,
        meter: Meter::new(),
        held_files: Arc::default(),
        count,
        running: Vec::new(),
        free: BTreeSet::new(),
        waiting: Vec::new(),
        returned: VecDeque::new(),
        crowded: false,
        read: 0,
        taken: 0,
        failed: 0,
        done: 0,
        skipped: 0,
        before: 0,
        input_ended: false,
        bad: None,
        presses: 0,
        stopping: None,
    };
    supervisor.work();
    supervisor.finish()
}

fn no_file(error: &io::Error) -> Stop {
    let folder = words::shown(&std::env::temp_dir().to_string_lossy(), 200);
    Stop::new(
        exit::NOT_WRITTEN,
        "output-error",
        format!("cannot make a file in {folder} for what commands print: {error}"),
    )
    .help("set TMPDIR to a folder with room, or use `--ungroup`")
}

struct Supervisor {
    plan: Plan,
    start: Instant,
    signals: Signals,
    bell: Arc<Bell>,
    inbox: Arc<Inbox>,
    credits: Arc<Credits>,
    reporter: Reporter,
    meter: Meter,
    held_files: Arc<AtomicUsize>,
    /// How many run, for whoever watches.
    count: RunningCount,
    /// By slot.
    running: Vec<Option<Running>>,
    free: BTreeSet<usize>,
    /// Attempts that failed, with what came of them, until the next may start.
    waiting: Vec<(Instant, Job, Done)>,
    /// Jobs that the system had no room for.
    returned: VecDeque<Job>,
    crowded: bool,
    gate: Gate,
    run_ends: Option<Instant>,
    memory_look: Option<Instant>,
    read: usize,
    taken: u64,
    failed: usize,
    done: usize,
    skipped: usize,
    /// Inputs that were done before.
    before: usize,
    input_ended: bool,
    bad: Option<Stop>,
    presses: usize,
    stopping: Option<Why>,
}

impl Supervisor {
    fn work(&mut self) {
        loop {
            for wish in self.signals.heard() {
                self.hear(wish);
            }
            self.bell.answer();
            if let Some(stop) = self.reporter.broken() {
                self.output_failed(stop);
            }
            self.keep_limits();
            self.start_more();
            self.count.set(self.count_running());
            if self.is_over() {
                return;
            }
            self.wait();
        }
    }

    fn count_running(&self) -> usize {
        self.running.len() - self.free.len()
    }

    fn is_over(&self) -> bool {
        let nothing_left = self.input_ended && self.waiting.is_empty() && self.returned.is_empty();
        self.count_running() == 0 && (self.stopping.is_some() || nothing_left)
    }

    /// Waits until a command has ended, somebody calls, or a clock has run down; buries who has ended.
    fn wait(&mut self) {
        let until = self.next_look();
        let slots: Vec<usize> = (0..self.running.len()).filter(|slot| self.running[*slot].is_some()).collect();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        let processes = self.running.iter().flatten().map(|running| running.process.as_fd());
        fds.extend(processes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut fds, limit.as_ref()) {
            // A signal: it has left a note.
            Ok(_) | Err(Errno::INTR) => {}
            // The system is short of memory for its own use; a wait of any other kind is better than none.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let ended: Vec<usize> =
            slots.into_iter().zip(&fds[2..]).filter(|(_, fd)| !fd.revents().is_empty()).map(|(slot, _)| slot).collect();
        drop(fds);
        for slot in ended {
            self.bury(slot);
        }
    }

    fn next_look(&self) -> Option<Instant> {
        let commands = self.running.iter().flatten().map(Running::next_look);
        let memory = self.memory_look.filter(|_| self.count_running() > 0);
        // Who waits for another attempt, or for memory, needs a free slot too.
        let has_room = self.stopping.is_none() && self.has_room();
        let attempts = self.waiting.iter().map(|(at, ..)| Some(*at)).filter(|_| has_room);
        let short = self.gate.look_again().filter(|_| has_room);
        earliest(commands.chain(attempts).chain([self.run_ends, memory, short]))
    }

    fn has_room(&self) -> bool {
        self.count_running() < self.plan.facts.workers && !self.crowded
    }

    fn hear(&mut self, wish: Wish) {
        match wish {
            Wish::Rest => self.rest(),
            Wish::End(signal, code) => {
                self.presses += 1;
                match self.presses {
                    1 => {
                        let (running, grace) = (self.count_running(), self.plan.limits.grace);
                        self.reporter.say(Word::Stopping(running, grace));
                        self.stop(Why::Signal(code), Some((signal, grace)));
                    }
                    2 => self.kill_all(),
                    _ => {
                        self.kill_all();
                        process::exit(code.into());
                    }
                }
            }
        }
    }

    /// Ctrl-Z: commands rest too, and no clock runs meanwhile. This thread is the one that starts commands, so none is
    /// forgotten.
    fn rest(&mut self) {
        self.running.iter().flatten().for_each(|running| running.process.signal(Signal::TSTP));
        let before = Instant::now();
        signals::stop_here();
        let rest = before.elapsed();
        for running in self.running.iter_mut().flatten() {
            running.shift(rest);
            running.process.signal(Signal::CONT);
        }
        let clocks = [&mut self.run_ends, &mut self.memory_look].into_iter().flatten();
        clocks.for_each(|at| *at += rest);
        self.waiting.iter_mut().for_each(|(at, ..)| *at += rest);
    }

    /// Starts nothing more; with a signal and a grace period, what runs is asked to end too.
    fn stop(&mut self, why: Why, ask: Option<(Signal, Duration)>) {
        let first = self.stopping.is_none();
        self.stopping = Some(match self.stopping.take() {
            Some(before) => before.or(why),
            None => why,
        });
        if first {
            self.credits.close();
            self.inbox.close();
            self.returned.clear();
            self.input_ended = true;
            for (_, job, done) in std::mem::take(&mut self.waiting) {
                self.deliver(job.turn, done);
            }
        }
        if let Some((signal, grace)) = ask {
            let kill_at = Instant::now() + grace;
            for running in self.running.iter_mut().flatten() {
                running.ask_to_end(EndedBy::Run, signal, kill_at);
            }
        }
    }

    fn kill_all(&mut self) {
        self.running.iter_mut().flatten().for_each(|running| running.kill(EndedBy::Run));
    }

    fn output_failed(&mut self, stop: Stop) {
        let gone = stop.is_quiet();
        // A full disk costs what is still to be started; a reader that went away wants none of it.
        self.stop(Why::Output(stop), gone.then_some((Signal::TERM, UNSEEN_GRACE)));
    }

    /// Asks and kills whom time or memory has run out for.
    fn keep_limits(&mut self) {
        let now = Instant::now();
        if self.run_ends.is_some_and(|at| at <= now) {
            self.run_ends = None;
            let grace = self.plan.limits.grace;
            self.stop(Why::RunTimeout, Some((Signal::TERM, grace)));
        }
        let look = self.memory_look.is_some_and(|at| at <= now);
        if look {
            self.memory_look = Some(now + MEMORY_LOOK);
        }
        let limits = &self.plan.limits;
        for running in self.running.iter_mut().flatten() {
            if running.timeout_at.is_some_and(|at| at <= now) {
                running.ask_to_end(EndedBy::Timeout(now), Signal::TERM, now + limits.grace);
            }
            if running.kill_at.is_some_and(|at| at <= now) {
                running.kill(EndedBy::Run);
            }
            if running.slow_at.is_some_and(|at| at <= now) {
                running.slow_at = None;
                let (number, shown) = (running.job.number, running.job.shown.clone());
                self.reporter.say(Word::Slow(number, shown, limits.slow));
            }
            if let Some(limit) = limits.memory.filter(|_| look && !running.killed)
                && let Some(held) = memory::held(running.process.pid())
                && held > limit
            {
                running.kill(EndedBy::Memory(held));
            }
        }
    }

    /// The last words, which may take as long as their reader likes; signals are heard all the same.
    fn finish(mut self) -> Result<u8, Stop> {
        let end = match self.stopping.take() {
            Some(Why::Output(stop)) => End::Stop(stop),
            Some(Why::Signal(code)) => End::Signal(code),
            Some(Why::RunTimeout) => End::RunTimeout(self.plan.limits.run_timeout.unwrap_or_default()),
            _ if self.bad.is_some() => End::Input(self.bad.take().unwrap_or_else(nothing_to_do)),
            Some(Why::Failures) => End::TooManyFailures,
            None if self.read + self.skipped + self.before == 0 && !self.plan.feed.allow_empty => {
                End::Input(nothing_to_do())
            }
            None => End::Complete,
        };
        self.reporter.say(Word::End(end, self.read + self.skipped + self.before));
        loop {
            self.bell.answer();
            if let Some(result) = self.reporter.result() {
                return result;
            }
            for wish in self.signals.heard() {
                match wish {
                    Wish::Rest => self.rest(),
                    Wish::End(_, code) => process::exit(code.into()),
                }
            }
            self.wait();
        }
    }
}

fn nothing_to_do() -> Stop {
    Stop::new(exit::NO_INPUT, "no-input", "there is no input").help("`--allow-empty` makes that no error")
}
