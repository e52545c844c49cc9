//! Which worker gets which job, and what each has: the pool's books.
//!
//! Books only: everything here happens under one lock, sends nothing and calls nobody. Who changes
//! the books ([`Pool`](crate::backend::Pool)'s methods) does afterwards what they tell it to do.

mod lanes;
mod places;

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use taskloom_core::{Job, Settings, TaskError};

use self::lanes::{Lanes, Touched};
use crate::{
    lane::{Flight, Lane, Running},
    line::{Line, Verdict},
    share,
    transport::PART,
    wire::{Control, Rare, Record, Run},
};

/// What waits in a worker is not moved to an idle one if it will be done in less, in seconds; unless the task in front of it takes
/// longer than [`LOOK_AGAIN`].
const WORTH_A_MOVE: f64 = 200e-6;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Quick tasks wait until they are so many, or until their worker has nothing else to do: a message for each of them takes longer
/// than the task, on both sides.
const BATCH: usize = 32;

/// How many workers can run at once.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// How long a worker that has sent garbage has for what it has begun.
const ACCUSED_TIME: Duration = Duration::from_millis(100);

/// The books of a pool.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) queue: VecDeque<Job>,
    pub(crate) lanes: Lanes,
    pub(crate) phase: Phase,
    /// Why no worker can be started any more.
    pub(crate) broken: Option<TaskError>,
    /// A worker ends with its first task, and is not replaced.
    pub(crate) one_shot: bool,
    /// After how long without work a worker leaves.
    idle_timeout: Option<Duration>,
    /// Kills that the supervisor has to carry out when their time comes.
    pub(crate) kills: Vec<Kill>,
    /// The supervisor sleeps until it is woken: all workers were idle.
    pub(crate) asleep: bool,
    /// When to see whether what waits for an awake worker is better given to an idle one.
    pub(crate) look_again: Option<Instant>,
    /// The supervisor does not know of that.
    news: bool,
    /// Queued jobs that were stopped: some may be over.
    stale: usize,
}

/// How far the pool is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first workers are being started.
    #[default]
    Building,
    Open,
    /// Nothing is taken any more; workers that are idle end, at this instant the others are killed.
    Closing {
        kill_at: Option<Instant>,
    },
    /// No worker is left, nor anything of one.
    Closed,
}

/// A kill that has been decided.
#[derive(Debug)]
pub(crate) struct Kill {
    pub(crate) worker: u32,
    pub(crate) at: Instant,
    /// Only if the worker still runs this item.
    pub(crate) only_if: Option<(u64, u32)>,
    /// The worker has been asked to begin nothing else: see [`Control::Condemn`].
    pub(crate) condemned: bool,
    pub(crate) verdict: Verdict,
}

impl Kill {
    pub(crate) fn new(worker: u32, at: Instant, verdict: impl Into<Verdict>) -> Self {
        Self { worker, at, only_if: None, condemned: false, verdict: verdict.into() }
    }

    /// Only if the worker still runs this item.
    pub(crate) fn only_if(self, item: (u64, u32)) -> Self {
        Self { only_if: Some(item), ..self }
    }
}

/// Jobs to be sent to a worker.
pub(crate) struct Load {
    pub(crate) line: Arc<Line>,
    pub(crate) jobs: Vec<(u64, Job)>,
    /// Their bytes on the channel, about.
    bytes: usize,
    /// Jobs that were over before they were sent: to be dropped without a lock.
    pub(crate) over: Vec<Job>,
}

impl Load {
    /// Whether sending it may take until the worker reads. What is more than a worker's [`Capacity`](crate::lane::Capacity)
    /// goes to one that has read everything, so that one packet finds room.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes > PART
    }
}

/// A message to a worker's control thread.
pub(crate) type Order = (Arc<Line>, Control);

/// What a worker did that no worker does.
#[derive(Debug)]
pub(crate) struct Nonsense {
    /// The record that is not true; those before it have been booked.
    pub(crate) at: usize,
    pub(crate) what: String,
}

/// Bytes of a job on the channel, about.
fn weight(job: &Job) -> usize {
    job.size(share::cost) + 64 + 8 * job.len() as usize
}

impl Books {
    pub(crate) fn new(workers: usize, one_shot: bool, settings: &Settings) -> Self {
        let most_tasks = if one_shot { Some(1) } else { settings.max_tasks_per_worker };
        Self {
            lanes: Lanes::new(workers, most_tasks),
            one_shot,
            idle_timeout: settings.idle_timeout,
            ..Self::default()
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Building)
    }

    /// Jobs for a worker that has room, idle ones first. The worker's lane is marked as being sent to.
    pub(crate) fn pick(&mut self) -> Option<Load> {
        if self.queue.is_empty() || !self.is_open() {
            return None;
        }
        let now = Instant::now();
        let most = self.lanes.most_tasks();
        let (resting, working) = (self.lanes.idle().len(), self.lanes.working().len());
        let idle = self.lanes.hungry().first().copied();
        let stay = idle.is_some() && self.is_saturated(now);
        // Behind somebody who is late nothing is put while another is idle.
        let late = |at: usize| stay && self.is_late(at, now);
        let hungry = self.lanes.working().iter().copied().filter(|&at| self.lanes[at].room(most) > 0 && !late(at));
        let busy = hungry.min_by_key(|&at| self.lanes[at].duty.waiting());
        if stay {
            self.look_again_soon();
        }
        let idle = idle.filter(|_| !stay);
        if let (None, Some(busy)) = (idle, busy)
            && self.queue.len() < BATCH
            && self.queue.front().is_some_and(|job| job.len() == 1)
            && self.lanes[busy].duty.is_quick()
            && self.lanes[busy].duty.waiting() > 0
        {
            return None;
        }
        let at = idle.or(busy)?;
        let sharing = if stay { working } else { resting + working };
        let mut lane = self.lanes.touch(at);
        let lane = &mut *lane;
        let line = lane.line()?.clone();
        let mut over = Vec::new();
        let mut jobs = Vec::new();
        // What is in the queue is for all workers.
        let mut room = lane.room(most).min(self.queue.len().div_ceil(sharing) as u32);
        let mut left = lane.duty.left(most);
        let most_bytes = line.capacity().bytes;
        let duty = &mut lane.duty;
        let (_, unread) = duty.unread();
        let mut bytes = 0;
        while let Some(job) = self.queue.front() {
            let alone = idle.is_some() && jobs.is_empty();
            let mut size = weight(job);
            let fits = room > 0 && unread + bytes + size <= most_bytes;
            if left == 0 || !alone && !fits {
                break;
            }
            let mut job = self.queue.pop_front()?;
            // Looks at the task's state only: it wakes nobody and drops nothing.
            if job.is_over() {
                over.push(job);
                continue;
            }
            // A worker at the end of its life takes a part of a chunk.
            if let Some(rest) = job.split(left) {
                self.queue.push_front(rest);
                size = weight(&job);
            }
            let token = lane.next_token;
            lane.next_token += 1;
            left -= job.len();
            room = room.saturating_sub(job.len());
            bytes += size;
            duty.flights.push(Flight::new(token, job.id(), job.len()));
            jobs.push((token, job));
        }
        if let Some((first, _)) = jobs.first() {
            duty.sending = true;
            duty.given_at = Some(now);
            duty.idle_since = None;
            duty.will_read(*first, bytes);
        }
        (!jobs.is_empty() || !over.is_empty()).then_some(Load { line, jobs, bytes, over })
    }

    /// Whether quick tasks keep so many workers awake as there are processors: by those they are done soonest. The very shortest
    /// take as long to be handed out as to be done: for that they leave a processor. Who is at a task
    /// that takes longer than was thought does not count.
    fn is_saturated(&self, now: Instant) -> bool {
        let working = self.lanes.working();
        let least = CORES.saturating_sub(1).max(1);
        if working.len() < least {
            return false;
        }
        let (mut quick, mut shortest) = (0, 0);
        for at in working.iter().filter(|at| !self.is_late(**at, now)) {
            quick += usize::from(self.lanes[*at].duty.is_quick());
            shortest += usize::from(self.lanes[*at].duty.is_shortest());
        }
        quick >= *CORES || shortest >= least
    }

    /// Whether a worker has been at a task, or has not begun what it was given, for longer than quick tasks take.
    fn is_late(&self, at: usize, now: Instant) -> bool {
        self.lanes[at].duty.at_it_since().is_none_or(|since| now.saturating_duration_since(since) > LOOK_AGAIN)
    }

    fn look_again_soon(&mut self) {
        if self.look_again.is_none() {
            self.look_again = Some(Instant::now() + LOOK_AGAIN);
            self.news = true;
        }
    }

    /// Whether the supervisor has to be woken for what was found to be done; once.
    pub(crate) fn has_news(&mut self) -> bool {
        self.call_back() | std::mem::take(&mut self.news)
    }

    /// A load has left, or its worker is dead.
    pub(crate) fn sent(&mut self, line: &Line, tokens: std::ops::RangeInclusive<u64>) -> Vec<Order> {
        let mut orders = Vec::new();
        if let Some(slot) = self.lanes.slot_of(line) {
            let mut lane = self.lanes.touch(slot);
            lane.duty.sending = false;
            let mut wanted = Vec::new();
            for flight in lane.duty.flights.from(*tokens.start()).take_while(|flight| tokens.contains(&flight.token)) {
                flight.sent = true;
                if flight.recall {
                    wanted.push((flight.token, flight.next()));
                }
            }
            lane.recall(wanted, &mut orders);
            // It may have come to its end before whoever sent it comes here.
            if lane.duty.is_clear() {
                lane.duty.idle_since.get_or_insert_with(Instant::now);
            }
        }
        // While it was being sent to, nobody gave it what waits elsewhere, nor took from it what others could have begun.
        orders.extend(self.rebalance());
        orders
    }

    /// If a worker is idle and the queue empty: takes half of what waits inside another one back. If the queue is not, because its
    /// tasks are too short to wake the idle one for: only from those who are late.
    pub(crate) fn rebalance(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        if !self.is_open() || self.lanes.hungry().len() <= self.lanes.recalled() {
            return orders;
        }
        let only_late = !self.queue.is_empty();
        let now = Instant::now();
        let saturated = self.is_saturated(now);
        for _ in self.lanes.recalled()..self.lanes.hungry().len() {
            let behind = |at: usize| self.lanes[at].duty.behind();
            let victims = self.lanes.working().iter().copied();
            let victims = victims.filter(|&at| self.lanes[at].duty.recalling == 0 && behind(at) > 0);
            let victims =
                victims.map(|at| (self.is_late(at, now), behind(at), at)).filter(|(late, ..)| *late || !only_late);
            let Some((late, _, victim)) = victims.max() else { break };
            let mut victim = self.lanes.touch(victim);
            // What is done before another worker is awake stays where it is; unless it was thought quicker than it is.
            if (saturated || victim.duty.backlog() < WORTH_A_MOVE) && !late {
                drop(victim);
                self.look_again_soon();
                break;
            }
            let mut take = victim.duty.behind().div_ceil(2);
            let mut wanted = Vec::new();
            for flight in victim.duty.flights.iter().rev().filter(|flight| flight.sent && flight.waiting() > 0) {
                let part = flight.waiting().min(take);
                take -= part;
                wanted.push((flight.token, flight.len() - part));
                if take == 0 {
                    break;
                }
            }
            if wanted.is_empty() {
                break;
            }
            victim.recall(wanted, &mut orders);
        }
        orders
    }

    /// Stops task `id` as far as it is with a worker. What is queued is found to be over when its turn comes.
    pub(crate) fn stop(&mut self, id: u64, kill: Option<Duration>) -> (Vec<Order>, Vec<Job>) {
        let mut orders = Vec::new();
        let mut kills = Vec::new();
        let mut found = false;
        self.lanes.touch_all(|_, lane| {
            let running = lane.duty.running;
            let worker = lane.worker();
            let (mut wanted, mut runs) = (Vec::new(), false);
            for flight in lane.duty.flights.iter_mut() {
                let Some(item) = flight.item(id) else { continue };
                found = true;
                wanted.extend(flight.recall());
                let Some(grace) = kill else { continue };
                let at = (flight.token, item);
                if running.is_some_and(|running| running.item() == at) {
                    kills.push(kill_later(worker, at, grace));
                    runs = true;
                } else if item >= flight.next() {
                    flight.stops.retain(|(known, _)| *known != item);
                    flight.stops.push((item, grace));
                }
            }
            if runs {
                lane.cancel(&mut orders);
            }
            lane.recall(wanted, &mut orders);
        });
        self.kills.extend(kills.into_iter().flatten());
        if !found {
            self.stale += 1;
        }
        (orders, self.sweep())
    }

    /// Removes queued jobs that are over, when they may be half of the queue: a look at each for each would be too much.
    fn sweep(&mut self) -> Vec<Job> {
        if self.stale <= self.queue.len() / 2 {
            return Vec::new();
        }
        self.stale = 0;
        let (over, rest) = std::mem::take(&mut self.queue).into_iter().partition(Job::is_over);
        self.queue = rest;
        Vec::from(over)
    }

    /// Books what a worker says. Whatever it says stays within its own jobs.
    pub(crate) fn book(
        &mut self,
        line: &Line,
        records: &[Record<'_>],
        orders: &mut Vec<Order>,
    ) -> Result<(), Nonsense> {
        let now = Instant::now();
        let closing = matches!(self.phase, Phase::Closing { .. });
        let worker = line.worker();
        let Some(slot) = self.lanes.slot_of(line) else { return Ok(()) };
        let mut lane = self.lanes.touch(slot);
        let lane = &mut *lane;
        for (at, record) in records.iter().enumerate() {
            let nonsense = |what| Nonsense { at, what };
            match record {
                &Record::Started { token, item } => {
                    book_start(lane, &mut self.kills, (token, item), now, closing, orders).map_err(nonsense)?;
                }
                &Record::Done { token, item, took, .. } => {
                    book_end(lane, &mut self.kills, (token, item), took, 1).map_err(nonsense)?;
                }
                Record::Run(run) => {
                    book_run(lane, &mut self.kills, run, now, closing, orders).map_err(nonsense)?;
                }
                &Record::End { token } => {
                    let duty = &mut lane.duty;
                    duty.has_read(token);
                    if duty.running.is_some_and(|running| running.token == token) || !duty.flights.remove(token) {
                        return Err(nonsense(format!("job {token} cannot end")));
                    }
                }
                Record::Rare(rare) => {
                    book_rare(lane, &mut self.kills, worker, rare, orders).map_err(nonsense)?;
                }
            }
        }
        let duty = &mut lane.duty;
        if duty.accused && duty.is_idle() {
            self.kills.iter_mut().filter(|kill| kill.worker == worker).for_each(|kill| kill.at = now);
        }
        if duty.is_clear() {
            duty.idle_since.get_or_insert(now);
        }
        Ok(())
    }

    /// A worker has sent what no worker sends. It gets nothing more, gives back what waits, and is killed
    /// when it has finished what it has begun, or soon. Gives the item that runs now.
    pub(crate) fn accuse(&mut self, worker: u32, verdict: String) -> (Option<(u64, u32)>, Vec<Order>) {
        let mut orders = Vec::new();
        let Some(mut lane) = self.lane_of(worker).filter(|lane| !lane.duty.accused) else { return (None, orders) };
        lane.duty.accused = true;
        lane.duty.retiring = true;
        lane.recall_all(&mut orders);
        let culprit = lane.duty.running.map(Running::item);
        let time = if lane.duty.is_idle() { Duration::ZERO } else { ACCUSED_TIME };
        drop(lane);
        self.kills.push(Kill::new(worker, Instant::now() + time, verdict));
        (culprit, orders)
    }

    /// Whether a worker is to be killed now.
    pub(crate) fn has_kill_due(&self, worker: u32) -> bool {
        let now = Instant::now();
        self.kills.iter().any(|kill| kill.worker == worker && kill.at <= now)
    }

    /// Orders for the end of the pool: what waits comes back, what runs is told to stop.
    pub(crate) fn stop_all(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        self.lanes.touch_all(|_, lane| {
            lane.recall_all(&mut orders);
            lane.cancel(&mut orders);
        });
        orders
    }

    /// What runs where, and since when.
    fn running(&self) -> impl Iterator<Item = (&Arc<Line>, Running)> {
        self.lanes.iter().filter_map(|lane| Some((lane.line()?, lane.duty.running?)))
    }

    /// Whose memory is to be watched, for which item, and what it held before that.
    pub(crate) fn to_be_weighed(&self) -> Vec<(Arc<Line>, (u64, u32), u64)> {
        let lanes = self.lanes.iter();
        lanes.filter_map(|lane| Some((lane.line()?.clone(), lane.duty.running?.item(), lane.duty.held))).collect()
    }

    /// Has a worker killed for an item that takes too much memory; once.
    pub(crate) fn kill_for_memory(&mut self, worker: u32, item: (u64, u32), text: String) {
        let known = |kill: &Kill| kill.worker == worker && kill.verdict.out_of_memory;
        if !self.kills.iter().any(known) {
            let verdict = Verdict { text, out_of_memory: true };
            self.kills.push(Kill::new(worker, Instant::now(), verdict).only_if(item));
        }
    }

    /// Whether a worker still runs what it was to be killed for.
    pub(crate) fn still_runs(&self, worker: u32, item: (u64, u32)) -> bool {
        self.running().any(|(line, running)| line.worker() == worker && running.item() == item)
    }

    pub(crate) fn lane_of(&mut self, worker: u32) -> Option<Touched<'_>> {
        let slot = self.lanes.find(worker)?;
        Some(self.lanes.touch(slot))
    }
}

/// Books that an item begins. Gives why it cannot.
fn book_start(
    lane: &mut Lane,
    kills: &mut Vec<Kill>,
    (token, item): (u64, u32),
    now: Instant,
    closing: bool,
    orders: &mut Vec<Order>,
) -> Result<(), String> {
    let duty = &mut lane.duty;
    duty.has_read(token);
    let flight = if duty.running.is_none() { duty.flights.begin(token, item) } else { None };
    let flight = flight.ok_or_else(|| format!("item {item} of job {token} cannot start"))?;
    let stop = flight.stops.iter().find(|(stop, _)| *stop == item).map(|(_, grace)| *grace);
    duty.begun += 1;
    duty.running = Some(Running { token, item, since: now });
    if let Some(grace) = stop {
        kills.extend(kill_later(lane.worker(), (token, item), grace));
    }
    // It may start only now: the order comes behind whatever made it start. Or it had begun
    // before it could be told with the others.
    if stop.is_some() || closing {
        lane.cancel(orders);
    }
    Ok(())
}

/// Books that items are done, one behind the other, and the next begins. Gives why that cannot be; then none of it is booked.
fn book_run(
    lane: &mut Lane,
    kills: &mut Vec<Kill>,
    run: &Run<'_>,
    now: Instant,
    closing: bool,
    orders: &mut Vec<Order>,
) -> Result<(), String> {
    let (first, next) = ((run.token, run.first), (run.token, run.next()));
    let duty = &mut lane.duty;
    let may_begin = duty.flights.get(run.token).is_some_and(|flight| run.next() < flight.len());
    if !may_begin || duty.running.map(Running::item) != Some(first) {
        return Err(format!("items {} to {} of job {} cannot be done in a row", run.first, run.next(), run.token));
    }
    let items = run.next() - run.first;
    book_end(lane, kills, first, run.mean(), items)?;
    lane.duty.begun += u64::from(items - 1);
    // Those that were to be stopped and are done already are let be.
    book_start(lane, kills, next, now, closing, orders)
}

/// Books that an item is done; with how long it took, as did so many others just now. Gives why it cannot be.
fn book_end(lane: &mut Lane, kills: &mut Vec<Kill>, item: (u64, u32), took: Duration, like: u32) -> Result<(), String> {
    let worker = lane.worker();
    let duty = &mut lane.duty;
    if duty.running.map(Running::item) != Some(item) {
        return Err(format!("item {} of job {} does not run", item.1, item.0));
    }
    duty.running = None;
    // They may be due in an hour.
    let is_void = |kill: &Kill| Some(kill.worker) == worker && kill.only_if == Some(item);
    kills.retain(|kill| kill.condemned || !is_void(kill));
    let time = took.as_secs_f64();
    // As if each of them had moved it by three tenths.
    let weight = 1.0 - 0.7_f64.powi(like.min(64) as i32);
    duty.pace = Some(duty.pace.map_or(time, |pace| pace + weight * (time - pace)));
    Ok(())
}

/// Books what is not said of every task. Gives what cannot be.
fn book_rare(
    lane: &mut Lane,
    kills: &mut Vec<Kill>,
    worker: u32,
    rare: &Rare,
    orders: &mut Vec<Order>,
) -> Result<(), String> {
    match rare {
        Rare::Returned(returned) => {
            let duty = &mut lane.duty;
            let begun =
                |&&(token, from): &&(u64, u32)| duty.flights.get(token).is_some_and(|flight| from < flight.next());
            if let Some((token, from)) = returned.iter().find(begun) {
                return Err(format!("item {from} of job {token} cannot come back"));
            }
            duty.recalling = duty.recalling.saturating_sub(returned.len());
            for &(token, from) in returned {
                duty.flights.shorten(token, from);
            }
        }
        Rare::Leaving if lane.duty.retiring => {}
        Rare::Leaving => {
            lane.duty.retiring = true;
            lane.recall_all(orders);
        }
        &Rare::Holding(bytes) => lane.duty.held = bytes,
        // It begins nothing any more: now the kill can hit nobody else.
        Rare::Condemned => {
            let now = Instant::now();
            let mut its = kills.iter_mut().filter(|kill| kill.worker == worker);
            match its.find(|kill| kill.condemned || kill.only_if.is_none()) {
                Some(kill) if kill.condemned => {
                    kill.only_if = None;
                    kill.at = now;
                }
                Some(_) => {}
                // The item had ended by then: but so has the worker's use.
                None => kills.push(Kill::new(worker, now, "it was told to begin nothing more")),
            }
        }
        _ => {}
    }
    Ok(())
}

fn kill_later(worker: Option<u32>, item: (u64, u32), grace: Duration) -> Option<Kill> {
    // A grace without end is no kill.
    let at = Instant::now().checked_add(grace)?;
    Some(Kill::new(worker?, at, "it did not stop when it was told to").only_if(item))
}
