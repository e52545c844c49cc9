//! Strikes, as a plan says. The parent hands the plan to its workers through their environment.

use std::{
    cell::RefCell,
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, OnceLock, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::Point;
use crate::{lane::Stage, line::Vital, os, worker::Up};

/// Carries the plan, and the worker's number, to a worker.
const VARIABLE: &str = "TASKLOOM_CHAOS";

/// How often to strike, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Strikes in a million visits of places that every task passes.
    pub common: u32,
    /// Strikes in a million visits of places that are passed seldom.
    pub rare: u32,
    /// Every strike appends a line here: `parent` or `worker`, the worker's number, the place, what was done.
    pub journal: PathBuf,
}

/// What a strike does to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// The thread that passes the place waits for some milliseconds: channels fill, others overtake it.
    Pause,
    /// It writes nonsense to its up channel, and goes on. Workers only.
    Garble,
    /// It exits with code 0. Workers only.
    Exit,
}

impl Plan {
    fn write(&self, worker: u32) -> String {
        format!("{worker}:{}:{}:{}:{}", self.seed, self.common, self.rare, self.journal.display())
    }

    fn read(text: &str) -> Option<(u32, Self)> {
        let mut parts = text.splitn(5, ':');
        let worker = parts.next()?.parse().ok()?;
        let seed = parts.next()?.parse().ok()?;
        let common = parts.next()?.parse().ok()?;
        let rare = parts.next()?.parse().ok()?;
        Some((worker, Self { seed, common, rare, journal: parts.next()?.into() }))
    }

    /// The strike at this visit, if there is one, and a number for its details.
    fn strike(&self, side: u64, worker: u32, point: Point) -> Option<(Action, u64)> {
        static VISITS: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];
        let visit = VISITS[point as usize].fetch_add(1, Ordering::Relaxed);
        let place = side << 40 | u64::from(worker) << 8 | point as u64;
        let chance = mix(mix(mix(self.seed) ^ place) ^ visit);
        let rate = if point.is_rare() { self.rare } else { self.common };
        if chance % 1_000_000 >= rate.into() {
            return None;
        }
        let detail = mix(chance);
        let action = match detail % 100 {
            0..40 => Action::Kill,
            40..48 => Action::Stop,
            48..85 => Action::Pause,
            _ if side == PARENT => Action::Kill,
            85..96 => Action::Garble,
            _ => Action::Exit,
        };
        Some((action, mix(detail)))
    }

    fn note(&self, side: &str, worker: u32, point: Point, action: Action) {
        let file = OpenOptions::new().create(true).append(true).open(&self.journal);
        // The test that reads it may be over.
        let _ = file.and_then(|mut file| file.write_all(format!("{side} {worker} {point:?} {action:?}\n").as_bytes()));
    }
}

const PARENT: u64 = 0;
const WORKER: u64 = 1;

/// SplitMix64's output function.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The plan of this process's pools.
static PLAN: RwLock<Option<Arc<Plan>>> = RwLock::new(None);

/// From now on pools of this process, and workers that they start, are struck by this plan.
pub fn set_plan(plan: Option<Plan>) {
    *PLAN.write().expect("nothing panics while it holds this lock") = plan.map(Arc::new);
}

fn plan() -> Option<Arc<Plan>> {
    PLAN.read().expect("nothing panics while it holds this lock").clone()
}

/// What a worker was told.
static ENLISTED: OnceLock<Enlisted> = OnceLock::new();

struct Enlisted {
    worker: u32,
    plan: Plan,
    up: Arc<Up>,
}

thread_local! {
    /// The worker that this thread of the parent dealt with last: the one it is sending to, if it sends.
    static LAST: RefCell<Weak<Vital>> = const { RefCell::new(Weak::new()) };
}

/// Tells a worker that is about to be started what awaits it.
pub(crate) fn brief(command: &mut Command, worker: u32) -> &mut Command {
    command.env_remove(VARIABLE);
    match plan() {
        Some(plan) => command.env(VARIABLE, plan.write(worker)),
        None => command,
    }
}

/// In a worker: from now on places are struck.
pub(crate) fn enlist(up: &Arc<Up>) {
    if let Some((worker, plan)) = std::env::var(VARIABLE).ok().as_deref().and_then(Plan::read) {
        ENLISTED.get_or_init(|| Enlisted { worker, plan, up: up.clone() });
    }
}

/// A place in a worker.
pub(crate) fn at(point: Point) {
    let Some(Enlisted { worker, plan, up }) = ENLISTED.get() else { return };
    let Some((action, detail)) = plan.strike(WORKER, *worker, point) else { return };
    plan.note("worker", *worker, point, action);
    match action {
        Action::Kill => os::process::signal_self(libc::SIGKILL),
        Action::Stop => os::process::signal_self(libc::SIGSTOP),
        Action::Pause => thread::sleep(pause(detail)),
        Action::Garble => garble(up, detail),
        Action::Exit => os::process::exit_now(0),
    }
}

/// A place in the parent, on the way to or from this worker.
pub(crate) fn on(point: Point, vital: &Arc<Vital>) {
    let Some(plan) = plan() else { return };
    LAST.set(Arc::downgrade(vital));
    let Some((action, detail)) = plan.strike(PARENT, vital.worker, point) else { return };
    plan.note("parent", vital.worker, point, action);
    match action {
        Action::Stop => vital.signal(libc::SIGSTOP),
        Action::Pause => thread::sleep(pause(detail)),
        _ => vital.signal(libc::SIGKILL),
    }
}

/// A place in either process; in the parent it is about the worker that this thread dealt with last.
pub(crate) fn at_either(point: Point) {
    if ENLISTED.get().is_some() {
        at(point);
    } else if let Some(vital) = LAST.with_borrow(Weak::upgrade) {
        on(point, &vital);
    }
}

fn pause(detail: u64) -> Duration {
    Duration::from_micros(detail % 8000)
}

/// Sometimes a message that begins as ipc-channel's do, or that is one and means nothing; sometimes plain noise.
fn garble(up: &Up, detail: u64) {
    let length = 1 + (detail >> 8) as usize % 4096;
    let mut state = detail;
    let mut noise: Vec<u8> = (0..length)
        .map(|_| {
            state = mix(state);
            state as u8
        })
        .collect();
    let framed = detail.is_multiple_of(2);
    if framed && length >= 16 {
        noise[..8].copy_from_slice(&length.to_ne_bytes());
        noise[8..16].copy_from_slice(&(length - 16).to_ne_bytes());
    }
    up.garble(&noise, framed);
}

/// For somebody who wonders why a pool does not go on.
impl crate::Procs {
    /// Its workers, one line each. Waits for the pool's lock.
    pub fn describe(&self) -> String {
        let books = self.shared.books();
        let mut text =
            format!("{} jobs queued, phase {:?}, {} kills due\n", books.queue.len(), books.phase, books.kills.len());
        for (slot, lane) in books.lanes.iter().enumerate() {
            let stage = match lane.stage {
                Stage::Vacant | Stage::VacantUntil(_) => "vacant",
                Stage::Starting { .. } => "starting",
                Stage::Ready(_) => "ready",
                Stage::Away => "away",
                Stage::Shut => "shut",
            };
            let duty = &lane.duty;
            text += &format!(
                "slot {slot}: {stage}, worker {:?}, runs {:?}, sending {}, {} unread, {} recalled, jobs",
                lane.worker(),
                duty.running.map(|running| running.item()),
                duty.sending,
                duty.unread().0,
                duty.recalling,
            );
            for flight in duty.flights.iter() {
                text += &format!(
                    " {}:{}/{}{}",
                    flight.token,
                    flight.next(),
                    flight.len(),
                    if flight.sent { "" } else { " unsent" }
                );
            }
            text += "\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan { seed, common: 200_000, rare: 500_000, journal: "/tmp/a:b".into() }
    }

    #[test]
    fn a_plan_comes_back() {
        assert_eq!(Plan::read(&plan(9).write(3)), Some((3, plan(9))));
    }
}
