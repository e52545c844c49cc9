//! Which worker gets which job, and what each has: the pool's books.
//!
//! Books only: everything here happens under one lock, sends nothing and calls nobody. Who changes
//! the books ([`Pool`](crate::backend::Pool)'s methods) does afterwards what they tell it to do.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use taskloom_core::{Job, TaskError};

use crate::{
    line::Line,
    transport::PART,
    wire::{Control, Record},
};

/// Most items that wait inside one worker, and most messages it has not read.
const MOST_WAITING: u32 = 64;
const MOST_UNREAD: usize = 32;
/// Most bytes that a worker has not read: more does not fit into a socket whatever the size of the messages.
const MOST_BYTES: usize = 32 * 1024;
/// How much work may wait inside a worker, by the time its tasks took lately. Longer tasks do not
/// wait there at all: they stay in the queue, from where any worker takes them.
const WAITING_TIME: f64 = 0.004;

/// The books of a pool.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) queue: VecDeque<Job>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) phase: Phase,
    /// Why no worker can be started any more.
    pub(crate) broken: Option<TaskError>,
    /// A worker ends with its first task, and is not replaced.
    pub(crate) one_shot: bool,
    /// Kills that the supervisor has to carry out when their time comes.
    pub(crate) kills: Vec<Kill>,
    /// The supervisor sleeps until it is woken: all workers were idle.
    pub(crate) asleep: bool,
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
    pub(crate) verdict: String,
}

/// A place for a worker, and what the worker there is doing.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) stage: Stage,
    /// Failed starts in a row.
    pub(crate) failures: u32,
    flights: VecDeque<Flight>,
    /// Messages on the data channel that have not been read, by their first token, with their sizes.
    unread: VecDeque<(u64, usize)>,
    /// Somebody sends to this worker; nobody else may.
    sending: bool,
    /// Tokens that have been recalled and have not come back.
    recalling: usize,
    next_token: u64,
    running: Option<Running>,
    /// Mean time of a task, in seconds, of late.
    pace: Option<f64>,
    served: bool,
    exiting: bool,
}

#[derive(Default)]
pub(crate) enum Stage {
    /// Nobody is here; the supervisor starts a worker at that time.
    #[default]
    Vacant,
    VacantUntil(Instant),
    /// A worker is on its way.
    Starting {
        worker: u32,
    },
    Ready(Arc<Line>),
    /// Nobody comes here any more.
    Shut,
}

/// A job that was sent to a worker.
struct Flight {
    token: u64,
    first_id: u64,
    len: u32,
    /// The first item that has not started.
    next: u32,
    /// It has left: it can be recalled.
    sent: bool,
    /// It is to be recalled once it has left.
    recall: bool,
    /// An item that is to be stopped, should it start nevertheless.
    stop: Option<(u32, Duration)>,
}

#[derive(Clone, Copy)]
struct Running {
    token: u64,
    item: u32,
    since: Instant,
}

/// Jobs to be sent to a worker.
pub(crate) struct Load {
    pub(crate) line: Arc<Line>,
    pub(crate) jobs: Vec<(u64, Job)>,
    /// Jobs that were over before they were sent: to be dropped without a lock.
    pub(crate) over: Vec<Job>,
}

impl Load {
    /// Whether sending it may take until the worker reads. What is more than [`MOST_BYTES`] goes to a
    /// worker that has read everything, so that one packet finds room.
    pub(crate) fn is_large(&self) -> bool {
        self.jobs.iter().map(|(_, job)| weight(job)).sum::<usize>() > PART
    }
}

/// A message to a worker's control thread.
pub(crate) type Order = (Arc<Line>, Control);

/// What a worker did that no worker does.
#[derive(Debug)]
pub(crate) struct Nonsense(pub(crate) String);

impl Flight {
    fn waiting(&self) -> u32 {
        self.len.saturating_sub(self.next)
    }
}

/// Bytes of a job on the channel, about.
fn weight(job: &Job) -> usize {
    job.size() + 64 + 8 * job.len() as usize
}

impl Lane {
    fn line(&self) -> Option<&Arc<Line>> {
        match &self.stage {
            Stage::Ready(line) if !self.exiting => Some(line),
            _ => None,
        }
    }

    pub(crate) fn worker(&self) -> Option<u32> {
        match &self.stage {
            Stage::Ready(line) => Some(line.worker()),
            Stage::Starting { worker } => Some(*worker),
            _ => None,
        }
    }

    fn waiting(&self) -> u32 {
        self.flights.iter().map(Flight::waiting).sum()
    }

    /// Whether nothing is left for the worker to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && !self.sending && self.flights.iter().all(|flight| flight.waiting() == 0)
    }

    /// Whether somebody has to look after the worker: it may be stopped, or stuck.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. }) || !self.is_idle()
    }

    /// How many items may wait behind the one that runs.
    fn depth(&self) -> u32 {
        self.pace.map_or(0, |pace| (WAITING_TIME / pace.max(1e-9)).min(MOST_WAITING.into()) as u32)
    }

    /// How many more items the worker may get now. At least one for a worker that is idle.
    fn room(&self) -> u32 {
        if self.line().is_none() || self.sending || (self.served) {
            0
        } else if self.is_idle() {
            self.depth().max(1)
        } else if self.waiting() * 2 < self.depth() && self.unread.len() < MOST_UNREAD {
            self.depth() - self.waiting()
        } else {
            0
        }
    }

    fn flight(&mut self, token: u64) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.token == token)
    }

    /// A fresh worker is here.
    pub(crate) fn occupy(&mut self, line: Arc<Line>) {
        *self = Self { stage: Stage::Ready(line), next_token: self.next_token, ..Self::default() };
    }

    /// The worker is gone; its jobs are with whoever settles them. Gives how long its task had run.
    pub(crate) fn clear(&mut self, stage: Stage) -> Option<Duration> {
        let wall = self.running.map(|running| running.since.elapsed());
        let failures = self.failures;
        *self = Self { stage, next_token: self.next_token, failures, served: self.served, ..Self::default() };
        wall
    }

    /// Recalls what waits of these tokens, each from an item on.
    fn recall(&mut self, wanted: Vec<(u64, u32)>, orders: &mut Vec<Order>) {
        if let (Stage::Ready(line), false) = (&self.stage, wanted.is_empty()) {
            self.recalling += wanted.len();
            orders.push((line.clone(), Control::Recall(wanted)));
        }
    }
}

impl Books {
    pub(crate) fn new(workers: usize, one_shot: bool) -> Self {
        Self { lanes: std::iter::repeat_with(Lane::default).take(workers).collect(), one_shot, ..Self::default() }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Building)
    }

    /// Jobs for a worker that has room, idle ones first. The worker's lane is marked as being sent to.
    pub(crate) fn pick(&mut self) -> Option<Load> {
        if self.queue.is_empty() || !self.is_open() {
            return None;
        }
        let ready = self.lanes.iter().filter(|lane| lane.line().is_some()).count().max(1);
        let idle = self.lanes.iter().position(|lane| lane.room() > 0 && lane.is_idle());
        let at = idle.or_else(|| {
            (0..self.lanes.len()).filter(|&at| self.lanes[at].room() > 0).min_by_key(|&at| self.lanes[at].waiting())
        })?;
        let lane = &mut self.lanes[at];
        let line = lane.line()?.clone();
        let mut over = Vec::new();
        let mut jobs = Vec::new();
        // What is in the queue is for all workers.
        let mut room = lane.room().min(self.queue.len().div_ceil(ready) as u32);
        let mut bytes = lane.unread.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let mut sent = 0;
        while let Some(job) = self.queue.front() {
            let alone = idle.is_some() && jobs.is_empty();
            let fits = room > 0 && bytes + weight(job) <= MOST_BYTES;
            if !alone && !fits {
                break;
            }
            let job = self.queue.pop_front()?;
            // Looks at the task's state only: it wakes nobody and drops nothing.
            if job.is_over() {
                over.push(job);
                continue;
            }
            let token = lane.next_token;
            lane.next_token += 1;
            room = room.saturating_sub(job.len());
            bytes += weight(&job);
            sent += weight(&job);
            lane.flights.push_back(Flight {
                token,
                first_id: job.id(),
                len: job.len(),
                next: 0,
                sent: false,
                recall: false,
                stop: None,
            });
            jobs.push((token, job));
            if self.one_shot {
                lane.served = true;
                break;
            }
        }
        if let Some((first, _)) = jobs.first() {
            lane.sending = true;
            lane.unread.push_back((*first, sent));
        }
        (!jobs.is_empty() || !over.is_empty()).then_some(Load { line, jobs, over })
    }

    /// A load has left, or its worker is dead.
    pub(crate) fn sent(&mut self, line: &Line, tokens: std::ops::RangeInclusive<u64>) -> Vec<Order> {
        let mut orders = Vec::new();
        if let Some(lane) = self.lane_of(line.worker()) {
            lane.sending = false;
            let mut wanted = Vec::new();
            for flight in lane.flights.iter_mut().filter(|flight| tokens.contains(&flight.token)) {
                flight.sent = true;
                if flight.recall {
                    wanted.push((flight.token, flight.next));
                }
            }
            lane.recall(wanted, &mut orders);
        }
        orders
    }

    /// If a worker is idle and the queue empty: takes half of what waits inside another one back.
    pub(crate) fn rebalance(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        if !self.queue.is_empty() || !self.is_open() {
            return orders;
        }
        let hungry = self.lanes.iter().filter(|lane| lane.room() > 0 && lane.is_idle()).count();
        let served = self.lanes.iter().filter(|lane| lane.recalling > 0).count();
        for _ in served..hungry {
            let victims = self.lanes.iter_mut().filter(|lane| lane.recalling == 0 && lane.line().is_some());
            let Some(victim) = victims.max_by_key(|lane| lane.waiting()).filter(|lane| lane.waiting() > 0) else {
                break;
            };
            let mut take = victim.waiting().div_ceil(2);
            let mut wanted = Vec::new();
            for flight in victim.flights.iter().rev().filter(|flight| flight.sent && flight.waiting() > 0) {
                let part = flight.waiting().min(take);
                take -= part;
                wanted.push((flight.token, flight.len - part));
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
        for lane in &mut self.lanes {
            let running = lane.running;
            let worker = lane.worker();
            let mut wanted = Vec::new();
            for flight in &mut lane.flights {
                if !(flight.first_id..flight.first_id + u64::from(flight.len)).contains(&id) {
                    continue;
                }
                found = true;
                let item = (id - flight.first_id) as u32;
                if flight.waiting() > 0 {
                    if flight.sent {
                        wanted.push((flight.token, flight.next));
                    } else {
                        flight.recall = true;
                    }
                }
                let Some(grace) = kill else { continue };
                let at = (flight.token, item);
                if running.is_some_and(|running| (running.token, running.item) == at) {
                    kills.push(kill_later(worker, at, grace));
                    if let Stage::Ready(line) = &lane.stage {
                        orders.push((line.clone(), Control::Cancel { token: at.0, item }));
                    }
                } else if item >= flight.next {
                    flight.stop = Some((item, grace));
                }
            }
            lane.recall(wanted, &mut orders);
        }
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
        let Some(lane) = self.lane_of(line.worker()) else { return Ok(()) };
        let mut kills = Vec::new();
        for record in records {
            match *record {
                Record::Started { token, item } => {
                    lane.has_read(token);
                    let running = lane.running;
                    let flight = lane
                        .flight(token)
                        .filter(|flight| running.is_none() && (flight.next..flight.len).contains(&item));
                    let flight = flight.ok_or_else(|| Nonsense(format!("item {item} of job {token} cannot start")))?;
                    flight.next = item + 1;
                    if let Some((_, grace)) = flight.stop.filter(|(stop, _)| *stop == item) {
                        kills.push(kill_later(Some(line.worker()), (token, item), grace));
                        // It may start only now: the order comes behind whatever made it start.
                        if let Stage::Ready(line) = &lane.stage {
                            orders.push((line.clone(), Control::Cancel { token, item }));
                        }
                    }
                    // It had begun before it could be told with the others.
                    if let (true, Stage::Ready(line)) = (closing, &lane.stage) {
                        orders.push((line.clone(), Control::Cancel { token, item }));
                    }
                    lane.running = Some(Running { token, item, since: now });
                }
                Record::Done { token, item, .. } => {
                    let running = lane.running.take().filter(|running| (running.token, running.item) == (token, item));
                    let running =
                        running.ok_or_else(|| Nonsense(format!("item {item} of job {token} does not run")))?;
                    let time = (now - running.since).as_secs_f64();
                    lane.pace = Some(lane.pace.map_or(time, |pace| pace + 0.3 * (time - pace)));
                }
                Record::End { token } => {
                    lane.has_read(token);
                    let at = lane.flights.iter().position(|flight| flight.token == token);
                    let at = at.filter(|_| lane.running.is_none_or(|running| running.token != token));
                    let at = at.ok_or_else(|| Nonsense(format!("job {token} cannot end")))?;
                    lane.flights.remove(at);
                }
                Record::Rare(crate::wire::Rare::Returned(ref returned)) => {
                    lane.recalling = lane.recalling.saturating_sub(returned.len());
                    for &(token, from) in returned {
                        if let Some(flight) = lane.flight(token) {
                            flight.len = flight.len.min(from.max(flight.next));
                        }
                    }
                }
                Record::Rare(_) => {}
            }
        }
        self.kills.extend(kills.into_iter().flatten());
        Ok(())
    }

    /// Orders for the end of the pool: what waits comes back, what runs is told to stop.
    pub(crate) fn stop_all(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        for lane in &mut self.lanes {
            let mut wanted = Vec::new();
            for flight in lane.flights.iter_mut().filter(|flight| flight.waiting() > 0) {
                if flight.sent {
                    wanted.push((flight.token, flight.next));
                } else {
                    flight.recall = true;
                }
            }
            lane.recall(wanted, &mut orders);
            if let (Stage::Ready(line), Some(running)) = (&lane.stage, lane.running) {
                orders.push((line.clone(), Control::Cancel { token: running.token, item: running.item }));
            }
        }
        orders
    }

    /// Idle workers that have no reason to stay; each is given once.
    pub(crate) fn leavers(&mut self) -> Vec<Arc<Line>> {
        let closing = matches!(self.phase, Phase::Closing { .. });
        let leaving =
            self.lanes.iter_mut().filter(|lane| lane.is_idle() && lane.flights.is_empty() && (closing || lane.served));
        leaving
            .filter_map(|lane| {
                let line = lane.line()?.clone();
                lane.exiting = true;
                Some(line)
            })
            .collect()
    }

    /// Whether a worker still runs what it was to be killed for.
    pub(crate) fn still_runs(&self, worker: u32, item: (u64, u32)) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.worker() == Some(worker));
        lane.and_then(|lane| lane.running).is_some_and(|running| (running.token, running.item) == item)
    }

    /// Workers that are being started.
    pub(crate) fn starting(&self) -> impl Iterator<Item = u32> {
        self.lanes.iter().filter_map(|lane| match lane.stage {
            Stage::Starting { worker } => Some(worker),
            _ => None,
        })
    }

    pub(crate) fn lane_of(&mut self, worker: u32) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.worker() == Some(worker))
    }
}

impl Lane {
    /// The worker has read all messages up to the one with this token.
    fn has_read(&mut self, token: u64) {
        while self.unread.front().is_some_and(|&(first, _)| first <= token) {
            self.unread.pop_front();
        }
    }
}

fn kill_later(worker: Option<u32>, item: (u64, u32), grace: Duration) -> Option<Kill> {
    // A grace without end is no kill.
    let at = Instant::now().checked_add(grace)?;
    Some(Kill { worker: worker?, at, only_if: Some(item), verdict: "it did not stop when it was told to".to_owned() })
}
