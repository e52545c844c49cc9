//! Starts workers, watches them, kills and buries them: one thread for the life of the pool.
//!
//! It never waits for anybody's code: what it sends finds room, it calls no task's code, and its locks are short. A worker
//! for one task alone it also hears: results of such tasks are only kept when they come.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use taskloom_core::backend_api::wake_held;

use crate::{
    backend::Shared,
    capture::Capture,
    dispatch::{Books, Kill, Order, Phase},
    lane::Stage,
    launch::{self, Ears, Launched},
    line::{Output, Vital},
    os::{self, memory::OomKills, poll::Set, process::Doing},
    reader::{Hearing, POOL_ENDS},
    stderr::Tee,
    transport,
    wire::Control,
};

/// How often a worker that is busy is looked at: whether it is stopped, and how much memory it has had at most.
const TICK: Duration = Duration::from_millis(200);

/// A wait that took so much longer than it should: this process was stopped meanwhile, or its machine slept.
const MISSED: Duration = Duration::from_millis(500);

/// How often the memory of running tasks is looked at, if it is limited; four times as often once one has half of what it may.
const WEIGHING: Duration = Duration::from_millis(20);

/// How long the outcome of a process's only task is held back for the end of the process.
const ENDING: Duration = Duration::from_millis(1);

/// How long a worker has to answer that it begins nothing any more.
const CONDEMN_TIME: Duration = Duration::from_millis(20);

/// A worker process that has not been buried.
struct Charge {
    vital: Arc<Vital>,
    /// Where it looks for its parent, if it does.
    server: Option<String>,
    /// If no thread of its own hears it.
    hearing: Option<Arc<Hearing>>,
    /// Until when it has to say hello.
    hello_by: Option<Instant>,
    /// It was found stopped at the last look.
    stopped: bool,
}

/// `first` has been started already: the process of a pool that has one for one task alone.
pub(crate) fn run(shared: &Arc<Shared>, tee: Tee, first: Option<Launched>) {
    shared.enter();
    let mut supervisor = Supervisor {
        shared,
        tee,
        charges: Vec::new(),
        readers: Vec::new(),
        next_worker: 0,
        looked: Instant::now(),
        busy: false,
        calm: false,
        rested: false,
        oom_kills: OomKills::default(),
        weighing: WEIGHING,
        weighed: Instant::now(),
        all_killed: false,
    };
    first.into_iter().for_each(|first| supervisor.take_charge(first));
    supervisor.start_workers();
    // While they start: nobody has taken any memory yet.
    supervisor.oom_kills = OomKills::of_this_cgroup();
    while !supervisor.is_done() {
        // Whoever is held until all is over is not held any longer if that takes a while yet.
        wake_held();
        supervisor.start_workers();
        supervisor.carry_out_kills();
        shared.let_go();
        supervisor.wait();
        if shared.config.one_shot {
            supervisor.wait_for_end();
        }
        supervisor.bury();
        supervisor.look_around();
        supervisor.readers.retain(|reader| !reader.is_finished());
    }
    supervisor.leave();
}

/// Who is to be killed for an item is first asked to begin no other, so that the kill cannot hit one
/// that came after it. Gives the kills to be carried out now, and whom to ask; the kills of those come
/// when they answer, or a little later.
fn condemn(books: &mut Books, due: Vec<Kill>) -> (Vec<Kill>, Vec<Order>) {
    let mut asked = Vec::new();
    let (now, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|kill| kill.only_if.is_none() || kill.condemned);
    for mut kill in later {
        let line = books.lane_of(kill.worker).and_then(|lane| lane.line().cloned());
        if let (Some(line), Some((token, item))) = (line, kill.only_if) {
            asked.push((line, Control::Condemn { token, item }));
            kill.condemned = true;
            kill.at = Instant::now() + CONDEMN_TIME;
            books.kills.push(kill);
        }
    }
    (now, asked)
}

struct Supervisor<'a> {
    shared: &'a Arc<Shared>,
    tee: Tee,
    charges: Vec<Charge>,
    readers: Vec<JoinHandle<()>>,
    next_worker: u32,
    looked: Instant,
    /// Somebody had something to do before the last wait.
    busy: bool,
    /// Nobody has had anything to do for a while: it sleeps until it is woken.
    calm: bool,
    /// The last wait was a long one, and nothing happened.
    rested: bool,
    oom_kills: OomKills,
    /// How often running tasks' memory is looked at now, and when it was last.
    weighing: Duration,
    weighed: Instant,
    /// The grace of the pool's end is over, and everybody has been killed.
    all_killed: bool,
}

impl Supervisor<'_> {
    /// Whether nobody is left, and nobody will come.
    fn is_done(&self) -> bool {
        self.charges.is_empty()
            && (self.shared.config.one_shot || matches!(self.shared.books().phase, Phase::Closing { .. }))
    }

    fn start_workers(&mut self) {
        let now = Instant::now();
        let mut books = self.shared.books();
        if !books.is_open() {
            return;
        }
        let mut due = Vec::new();
        books.lanes.touch_all(|slot, lane| {
            let starts = match lane.stage {
                Stage::Vacant => true,
                Stage::VacantUntil(at) => at <= now,
                _ => false,
            };
            if starts {
                lane.stage = Stage::Starting { worker: self.next_worker };
                due.push((self.next_worker, slot as u32));
                self.next_worker += 1;
            }
        });
        drop(books);
        for (worker, slot) in due {
            match launch::start(self.shared, worker, slot) {
                Ok(launched) => self.take_charge(launched),
                Err(error) => self.shared.start_failed(slot, error),
            }
        }
    }

    fn take_charge(&mut self, Launched { vital, server, ears }: Launched) {
        if let Output::PassedOn(tail) = &vital.output {
            self.tee.add(tail.clone());
        }
        let hello_by = Instant::now().checked_add(self.shared.config.start_timeout);
        let hearing = match ears {
            // It is not looked at yet: that takes longer than much of what it may have to do.
            Ears::Lent(hearing) => Some(hearing),
            Ears::Thread(reader) => {
                self.readers.push(reader);
                None
            }
        };
        self.charges.push(Charge { vital, server, hearing, hello_by, stopped: false });
    }

    fn carry_out_kills(&mut self) {
        let now = Instant::now();
        let mut books = self.shared.books();
        let (mut due, later): (Vec<_>, _) =
            std::mem::take(&mut books.kills).into_iter().partition(|kill| kill.at <= now);
        books.kills = later;
        due.retain(|kill| kill.only_if.is_none_or(|item| books.still_runs(kill.worker, item)));
        let (due, condemned) = condemn(&mut books, due);
        let everybody = matches!(books.phase, Phase::Closing { kill_at: Some(at) } if at <= now);
        // Nobody waits for a worker that is only being started.
        let unwanted: Vec<u32> = if books.is_open() { Vec::new() } else { books.starting().collect() };
        drop(books);
        self.all_killed |= everybody;
        for (line, order) in condemned {
            // It may have to wait for a worker that is stopped: that is not for this thread.
            line.clone().send_patiently(move || line.order(&order));
        }
        for charge in &mut self.charges {
            let vital = &charge.vital;
            if let Some(kill) = due.iter().find(|kill| kill.worker == vital.worker) {
                vital.kill(kill.verdict.clone());
            }
            let greeted = vital.has_greeted();
            if everybody || unwanted.contains(&vital.worker) {
                vital.kill(POOL_ENDS);
            }
            if greeted {
                charge.hello_by = None;
            } else if charge.hello_by.is_some_and(|at| at <= now) {
                let limit = self.shared.config.start_timeout;
                vital.kill(format!("it said no hello within {limit:?}"));
                charge.hello_by = None;
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) {
        let mut books = self.shared.books();
        let busy = books.lanes.iter().any(|lane| lane.is_busy());
        let weighs = self.shared.hub.settings().memory_limit.is_some();
        // Work that comes and goes all the time is not to wake it each time.
        self.calm = !busy && (self.calm || weighs || self.rested);
        books.asleep = self.calm;
        self.busy = busy;
        let kills = books.kills.iter().map(|kill| kill.at);
        let starts = books.lanes.iter().filter_map(|lane| match lane.stage {
            Stage::VacantUntil(at) => Some(at),
            _ => None,
        });
        let end = match books.phase {
            // Who has been killed may take its time to die.
            Phase::Closing { kill_at } if !self.all_killed => kill_at,
            _ => None,
        };
        let leave = books.next_leave();
        let hellos = self.charges.iter().filter_map(|charge| charge.hello_by);
        let next = kills.chain(starts).chain(end).chain(hellos).chain(leave).chain(books.look_again).min();
        drop(books);

        let mut set = Set::default();
        set.add(self.shared.bell.fd());
        for charge in &self.charges {
            set.add(charge.vital.child.fd());
        }
        let hearings = self.charges.iter().filter_map(|charge| charge.hearing.clone());
        let heard: Vec<_> = hearings.filter_map(|hearing| Some((set.add(hearing.fd()?), hearing))).collect();
        let tails = self.tee.add_to(&mut set);
        let limit = next.map(|at| at.saturating_duration_since(Instant::now()));
        let weighs = weighs && busy;
        let tick = if weighs { self.weighing.saturating_sub(self.weighed.elapsed()) } else { TICK };
        let limit = if self.calm { limit } else { Some(limit.unwrap_or(tick).min(tick)) };
        let begun = Instant::now();
        set.wait(limit);
        if limit.is_some_and(|limit| begun.elapsed() > limit + MISSED) {
            self.put_off();
        }
        // Nothing happened for as long as it waits at most.
        self.rested = !set.is_ready(0) && limit.is_some_and(|limit| limit >= TICK);
        if set.is_ready(0) {
            self.shared.bell.answer();
            self.calm = false;
        }
        for (_, hearing) in heard.iter().filter(|(place, _)| set.is_ready(*place)) {
            hearing.hear_part(self.shared);
        }
        self.look_again();
        self.tee.look_at(&set, tails);
        if weighs && self.weighed.elapsed() >= self.weighing {
            self.weighed = Instant::now();
            self.weigh();
        }
    }

    /// If the only worker has been let go, as its task is over, it is about to end: waits for that, for a moment.
    fn wait_for_end(&self) {
        let is_leaving = self.shared.books().lanes.iter().all(|lane| lane.line().is_none());
        if is_leaving {
            let mut set = Set::default();
            for charge in &self.charges {
                set.add(charge.vital.child.fd());
            }
            set.wait(Some(ENDING));
        }
    }

    /// What was thought to be done soon, and is not, may be better off with an idle worker.
    fn look_again(&mut self) {
        let mut books = self.shared.books();
        if books.look_again.is_some_and(|at| at <= Instant::now()) {
            books.look_again = None;
            drop(books);
            self.shared.pump();
        }
    }

    /// This process did not run for a while, and its workers did: what they have said is heard before anybody is killed
    /// for having been silent. On a machine that is only very busy that does no harm.
    fn put_off(&mut self) {
        let soon = Instant::now() + MISSED;
        let mut books = self.shared.books();
        books.kills.iter_mut().for_each(|kill| kill.at = kill.at.max(soon));
        if let Phase::Closing { kill_at: Some(at) } = &mut books.phase {
            *at = soon.max(*at);
        }
        drop(books);
        for hello_by in self.charges.iter_mut().filter_map(|charge| charge.hello_by.as_mut()) {
            *hello_by = soon.max(*hello_by);
        }
    }

    /// Looks at all workers, now and then: those that were stopped, twice in a row, will not go on by themselves.
    fn look_around(&mut self) {
        if !self.busy || self.looked.elapsed() < TICK {
            return;
        }
        self.looked = Instant::now();
        // Our dead have been buried, and have claimed what was theirs.
        self.oom_kills.look();
        for charge in &mut self.charges {
            charge.vital.sample();
            charge.vital.capture().into_iter().for_each(Capture::trim);
            let Doing::Stopped(signal) = charge.vital.child.doing() else {
                charge.stopped = false;
                continue;
            };
            if std::mem::replace(&mut charge.stopped, true) {
                charge.vital.kill(format!("stopped by signal {signal}, then killed"));
            }
        }
    }

    /// Finds tasks that take too much memory.
    fn weigh(&mut self) {
        let Some(limit) = self.shared.hub.settings().memory_limit else { return };
        let running = self.shared.books().to_be_weighed();
        let mut most = 0;
        for (line, item, before) in running {
            let Some(held) = os::memory::held(line.vital.pid()) else { continue };
            let taken = held.saturating_sub(before);
            most = most.max(taken);
            if taken > limit {
                let [taken, limit] = [taken, limit].map(|bytes| bytes >> 20);
                let text = format!("its task took {taken} MiB of memory and may take {limit} MiB");
                self.shared.books().kill_for_memory(line.worker(), item, text);
            }
        }
        self.weighing = if most > limit / 2 { WEIGHING / 4 } else { WEIGHING };
    }

    fn bury(&mut self) {
        self.charges.retain(|charge| {
            let dead = charge.vital.bury(&mut self.oom_kills);
            if dead && !charge.vital.has_greeted() {
                charge.server.iter().for_each(|server| transport::give_up(server));
            }
            if dead {
                if let Some((hearing, exit)) = charge.hearing.as_ref().zip(charge.vital.exit()) {
                    hearing.bury(self.shared, &exit);
                }
                self.tee.look();
            }
            !dead
        });
    }

    /// Everything of the pool ends here.
    fn leave(self) {
        let Self { shared, tee, readers, .. } = self;
        for reader in readers {
            // Panics of tasks' code are caught where it runs.
            let _ = reader.join();
        }
        if tee.has_more() {
            // To pass that on may take as long as anybody likes who reads our standard error, or does not.
            wake_held();
        }
        drop(tee);
        let mut books = shared.books();
        books.phase = Phase::Closed;
        let left = std::mem::take(&mut books.queue);
        drop(books);
        left.into_iter().for_each(|job| job.cancel());
        shared.announce();
    }
}
