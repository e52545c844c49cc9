//! A place for a worker, and what the worker there is doing.

mod flights;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use flights::{Flight, Flights};

use crate::{dispatch::Order, line::Line, wire::Control};

/// How much may wait for one worker.
pub(crate) struct Capacity {
    /// Most items inside it that have not begun.
    items: u32,
    /// Most messages that it has not read, and most bytes: so much finds room at once whatever the size of the messages.
    messages: usize,
    pub(crate) bytes: usize,
}

/// A socket takes no more; and to recall much is no less work than to send it.
pub(crate) const PLAIN: Capacity = Capacity { items: 64, messages: 32, bytes: 32 << 10 };
/// Who is heard now and then needs more to do until then.
pub(crate) const FAST: Capacity = Capacity { items: 1024, messages: 1024, bytes: 64 << 10 };
/// How much work may wait inside a worker, by the time its tasks took lately. Longer tasks do not
/// wait there at all: they stay in the queue, from where any worker takes them.
const WAITING_TIME: f64 = 0.004;

/// Tasks that take less, in seconds, are quick: to wake a worker takes as long, and two of them on one processor are no gain.
const QUICK: f64 = 50e-6;

/// Early deaths in a row after which the pause before the next worker grows no more: 1.3 s.
const LONGEST_PAUSE: u32 = 7;

/// How long nobody is started in a place after so many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(10) * 2_u32.pow(failures.min(10))
}

#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) stage: Stage,
    /// Failed starts in a row.
    pub(crate) failures: u32,
    /// Workers in a row that died before anything was sent to them.
    pub(crate) early_deaths: u32,
    /// The pool was made smaller: who is here leaves, and nobody comes.
    pub(crate) unwanted: bool,
    pub(crate) next_token: u64,
    pub(crate) duty: Duty,
}

/// What one worker has to do. All of it goes with the worker.
#[derive(Default)]
pub(crate) struct Duty {
    pub(crate) flights: Flights,
    /// Messages on the data channel that have not been read, by their first token, with their sizes.
    unread: VecDeque<(u64, usize)>,
    /// The sum of those sizes.
    unread_bytes: usize,
    /// Somebody sends to this worker; nobody else may.
    pub(crate) sending: bool,
    /// Tokens that have been recalled and have not come back.
    pub(crate) recalling: usize,
    pub(crate) running: Option<Running>,
    /// Mean time of a task, in seconds, of late.
    pub(crate) pace: Option<f64>,
    /// When it was given something last.
    pub(crate) given_at: Option<Instant>,
    /// Tasks that it has begun.
    pub(crate) begun: u64,
    /// Bytes of memory that it held before the present task.
    pub(crate) held: u64,
    /// It holds too much memory, or is accused: it gets no more work, and is replaced.
    pub(crate) retiring: bool,
    /// It has sent what no worker sends, and will be killed.
    pub(crate) accused: bool,
    /// Since when it has had nothing to do.
    pub(crate) idle_since: Option<Instant>,
}

#[derive(Default)]
pub(crate) enum Stage {
    /// Nobody is here; the supervisor starts a worker, now or at that time.
    #[default]
    Vacant,
    VacantUntil(Instant),
    /// A worker is on its way.
    Starting {
        worker: u32,
    },
    Ready(Arc<Line>),
    /// The worker left because there was no work; another one comes when there is.
    Away,
    /// Nobody comes here any more.
    Shut,
}

#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(crate) token: u64,
    pub(crate) item: u32,
    pub(crate) since: Instant,
}

impl Running {
    pub(crate) fn item(self) -> (u64, u32) {
        (self.token, self.item)
    }
}

impl Lane {
    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        match &self.stage {
            Stage::Ready(line) => Some(line),
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

    /// Whether somebody has to look after the worker: it may be stopped, or stuck. Also one that has only
    /// to say that its last job has come to its end.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. }) || !self.duty.is_clear()
    }

    /// How many more items the worker may get now, if its life is `most` tasks long.
    pub(crate) fn room(&self, most: Option<u64>) -> u32 {
        let duty = &self.duty;
        let Some(line) = self.line().filter(|_| !(duty.sending || duty.retiring || self.unwanted)) else { return 0 };
        let capacity = line.capacity();
        let depth = duty.depth(capacity);
        let room = if duty.is_idle() {
            depth.max(1)
        } else if duty.waiting() * 2 < depth && duty.unread.len() < capacity.messages {
            depth - duty.waiting()
        } else {
            0
        };
        room.min(duty.left(most))
    }

    /// A fresh worker is here.
    pub(crate) fn occupy(&mut self, line: Arc<Line>) {
        self.stage = Stage::Ready(line);
        self.failures = 0;
        self.duty = Duty { idle_since: Some(Instant::now()), ..Duty::default() };
    }

    /// The worker leaves, or is gone; its jobs are with whoever settles them. Gives what it had to do.
    pub(crate) fn vacate(&mut self, stage: Stage) -> Duty {
        self.stage = if self.unwanted { Stage::Shut } else { stage };
        std::mem::take(&mut self.duty)
    }

    /// The worker is dead. Another one comes; not at once if one after the other dies without having done anything.
    pub(crate) fn bereave(&mut self) -> Duty {
        // One that was being sent to may have died of that: then the job counts it.
        let early = self.duty.begun == 0 && self.duty.flights.is_empty();
        self.early_deaths = if early { self.early_deaths + 1 } else { 0 };
        self.vacate(match self.early_deaths {
            0 | 1 => Stage::Vacant,
            deaths => Stage::VacantUntil(Instant::now() + pause(deaths.min(LONGEST_PAUSE))),
        })
    }

    /// Recalls what waits of these tokens, each from an item on.
    pub(crate) fn recall(&mut self, wanted: Vec<(u64, u32)>, orders: &mut Vec<Order>) {
        if let (Stage::Ready(line), false) = (&self.stage, wanted.is_empty()) {
            self.duty.recalling += wanted.len();
            orders.push((line.clone(), Control::Recall(wanted)));
        }
    }

    /// Tells what runs, if anything does, to stop.
    pub(crate) fn cancel(&self, orders: &mut Vec<Order>) {
        if let (Stage::Ready(line), Some(Running { token, item, .. })) = (&self.stage, self.duty.running) {
            orders.push((line.clone(), Control::Cancel { token, item }));
        }
    }

    /// Recalls everything that has not started; what has not left follows when it has.
    pub(crate) fn recall_all(&mut self, orders: &mut Vec<Order>) {
        let wanted = self.duty.flights.iter_mut().filter_map(Flight::recall).collect();
        self.recall(wanted, orders);
    }
}

impl Duty {
    /// Whether nothing is left for the worker to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && !self.sending && self.waiting() == 0
    }

    /// Whether it is idle and everything that it had has come to its end here too.
    pub(crate) fn is_clear(&self) -> bool {
        self.is_idle() && self.flights.is_empty()
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.flights.waiting()
    }

    /// How many items wait behind another. One at the front of a worker that runs nothing is about to begin: recalled as
    /// often as another worker is idle, what takes long to send would go to and fro for ever.
    pub(crate) fn behind(&self) -> u32 {
        self.waiting().saturating_sub(u32::from(self.running.is_none()))
    }

    /// How many items may wait behind the one that runs.
    fn depth(&self, capacity: &Capacity) -> u32 {
        self.pace.map_or(0, |pace| (WAITING_TIME / pace.max(1e-9)).min(capacity.items.into()) as u32)
    }

    /// Whether the worker is to be replaced: it holds too much, or its life of `most` tasks is over.
    pub(crate) fn is_spent(&self, most: Option<u64>) -> bool {
        self.retiring || most.is_some_and(|most| self.begun >= most)
    }

    /// How many more tasks it may be sent in a life of `most` tasks.
    pub(crate) fn left(&self, most: Option<u64>) -> u32 {
        let left = most.map(|most| most.saturating_sub(self.begun + u64::from(self.waiting())));
        left.and_then(|left| u32::try_from(left).ok()).unwrap_or(u32::MAX)
    }

    /// The worker has read all messages up to the one with this token.
    pub(crate) fn has_read(&mut self, token: u64) {
        while let Some(&(first, bytes)) = self.unread.front()
            && first <= token
        {
            self.unread.pop_front();
            self.unread_bytes -= bytes;
        }
    }

    /// A message of so many bytes is about to be sent, which begins with this token.
    pub(crate) fn will_read(&mut self, token: u64, bytes: usize) {
        self.unread.push_back((token, bytes));
        self.unread_bytes += bytes;
    }

    /// Messages on their way that have not been read, and their bytes.
    pub(crate) fn unread(&self) -> (usize, usize) {
        (self.unread.len(), self.unread_bytes)
    }

    /// Since when it has been at its task; or, if it has not said that it is at one, since it was given something.
    pub(crate) fn at_it_since(&self) -> Option<Instant> {
        self.running.map(|running| running.since).or(self.given_at)
    }

    /// Whether its tasks take no longer than handing them out does.
    pub(crate) fn is_shortest(&self) -> bool {
        const SHORTEST: f64 = 2e-6;
        self.pace.is_some_and(|pace| pace < SHORTEST)
    }

    /// Whether its tasks are so short that several of them are done before another worker is awake.
    pub(crate) fn is_quick(&self) -> bool {
        self.pace.is_some_and(|pace| pace < QUICK)
    }

    /// How long what waits behind another will take, by the time of its tasks of late.
    pub(crate) fn backlog(&self) -> f64 {
        self.pace.map_or(f64::INFINITY, |pace| pace * f64::from(self.behind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_still_has_to_say_that_a_job_has_ended_is_looked_after() {
        let mut lane = Lane::default();
        assert!(!lane.is_busy());
        lane.duty.flights.push(Flight::new(0, 1, 0));
        assert!(lane.duty.is_idle() && lane.is_busy());
    }
}
