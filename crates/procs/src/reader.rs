//! Hears one worker from its first word to its death, and settles what it leaves.
//!
//! The only thread that touches the jobs of a worker, so that a death finds none of them in other hands.

mod hearing;

use std::{os::unix::process::ExitStatusExt, sync::Arc, time::Duration};

use taskloom_core::{
    Death, Event, Job, Metrics, Reply, StartError, TaskError,
    backend_api::{LogRecord, hold_wakers},
};

use self::hearing::Ears;
pub(crate) use self::hearing::Hearing;
use crate::{
    backend::{Shared, carry_out},
    capture::Capture,
    chaos::{self, Point},
    dispatch::Nonsense,
    fast::{self, Came, Trouble},
    lane::Stage,
    launch,
    line::{Exit, Line, Vital},
    message::Message,
    ring::Broken,
    share,
    transport::{Received, Receiver},
    wire::{Rare, Record, Run},
};

/// Why a worker is killed when its pool ends before its task.
pub(crate) const POOL_ENDS: &str = "its pool ended";

/// Workers that may die while they are sent the same job. One more, and its first item is to blame.
const MOST_WASTED: u32 = 16;

/// How long a worker that has closed its channel has for its end.
const CLOSED_TIME: Duration = Duration::from_millis(500);

/// After how long whoever has just heard something looks again by itself.
const NAP: Duration = Duration::from_micros(200);

/// A worker that is ready.
pub(crate) struct Started {
    pub(crate) line: Arc<Line>,
    pub(crate) up: Up,
}

/// How a worker is heard.
pub(crate) enum Up {
    Plain(Receiver),
    Fast(fast::Receiver),
}

/// The life of a reader.
pub(crate) fn run(shared: &Arc<Shared>, vital: &Arc<Vital>, take_in: impl FnOnce() -> Result<Started, TaskError>) {
    match take_in() {
        Ok(started) => {
            vital.sample();
            // What the initialiser has printed is no task's.
            let _ = vital.capture().map(Capture::rest);
            let hearing = begin(shared, started);
            hearing.listen(shared);
            hearing.finish(shared, &vital.wait());
        }
        Err(error) => {
            vital.kill("it could not be used");
            let exit = vital.wait();
            vital.hunt();
            let lines = vital.last_lines();
            let error = match error {
                TaskError::Start(start) => describe(*start, vital, &exit, lines).into(),
                other => other,
            };
            shared.start_failed(vital.slot, error);
        }
    }
}

/// From now on the worker is sent jobs.
pub(crate) fn begin(shared: &Arc<Shared>, Started { line, up }: Started) -> Arc<Hearing> {
    let by_anybody = matches!(up, Up::Fast(_));
    let hearing = Arc::new(Hearing::new(line, up));
    // The reader of a plain channel keeps its ears to itself while it waits.
    if by_anybody {
        shared.hear(&hearing);
    }
    let vital = &hearing.line.vital;
    let mut books = shared.books();
    books.lanes.touch(vital.slot as usize).occupy(hearing.line.clone());
    drop(books);
    shared.hub.emit(|| Event::worker_started(vital.worker, vital.pid()));
    // Of a process for one task alone its only caller knows, who is here.
    if !shared.config.one_shot {
        shared.announce();
        shared.pump();
    }
    hearing
}

fn describe(error: StartError, vital: &Vital, exit: &Exit, lines: Vec<String>) -> StartError {
    // A kill of ours says nothing about the worker but its verdict.
    let ours = exit.status.and_then(|status| status.signal()) == Some(libc::SIGKILL) && !exit.verdict.text.is_empty();
    let status = match exit.status {
        Some(_) if ours => exit.verdict.text.clone(),
        Some(status) => format!("pid {}, {status}", vital.pid()),
        None => exit.verdict.text.clone(),
    };
    error.status(status).stderr(lines)
}

struct Reader<'a> {
    shared: &'a Arc<Shared>,
    line: &'a Arc<Line>,
    ears: &'a mut Ears,
}

impl Reader<'_> {
    fn listen_to_channel(mut self) {
        loop {
            let Up::Plain(up) = &self.ears.up else { return };
            let received = up.receive();
            if !self.take(received) {
                return;
            }
        }
    }

    /// Hears what has come out of a channel. Whether more can come.
    fn take(&mut self, received: Received) -> bool {
        match received {
            Received::Message(message) => {
                self.hear(message);
                self.shared.pump();
            }
            // What a harness of tests has printed before it came to the worker.
            Received::Garbage(_) if !self.line.vital.has_greeted() => {}
            Received::Garbage(what) => self.accuse(&what),
            Received::End => {
                let worker = self.line.worker();
                // Who was let go has been given its time.
                let has_a_place = self.shared.books().lane_of(worker).is_some();
                if has_a_place && self.line.vital.exit().is_none() {
                    self.shared.kill_later(worker, CLOSED_TIME, "it had closed its channel");
                }
                return false;
            }
        }
        true
    }

    /// Hears what is there, up to a large heap. Whether that was anything.
    fn listen_to_ring(&mut self) -> bool {
        let mut heard = false;
        hold_wakers(|| heard = self.listen_to_heap());
        heard
    }

    fn listen_to_heap(&mut self) -> bool {
        let Ears { up: Up::Fast(up), heap, deaf, .. } = &mut *self.ears else { return false };
        if *deaf {
            return false;
        }
        let came = match up.receive_heap(heap) {
            Ok(()) if !heap.is_empty() => {
                self.hear_heap();
                Ok(true)
            }
            Ok(()) => self.hear_next(),
            Err(trouble) => Err(trouble),
        };
        let heard = came.unwrap_or_else(|trouble| {
            match trouble {
                Trouble::Garbage(what) => self.accuse(&what),
                Trouble::Broken(Broken(what)) => {
                    self.ears.deaf = true;
                    self.line.vital.kill(format!("it sent garbage: {what}"));
                }
            }
            true
        });
        if heard {
            self.shared.pump();
        }
        heard
    }

    /// Hears the next message of a ring, whatever its size, if it is there.
    fn hear_next(&mut self) -> Result<bool, Trouble> {
        let Up::Fast(up) = &mut self.ears.up else { return Ok(false) };
        let mut small = Vec::new();
        let message = match up.try_receive(&mut small)? {
            Came::Nothing => return Ok(false),
            Came::Small => small.into(),
            Came::Large(message) => message,
        };
        self.hear(message);
        Ok(true)
    }

    /// Books the small messages that have been received together, and does what they mean.
    fn hear_heap(&mut self) {
        chaos::on(Point::Received, &self.line.vital);
        let heap = std::mem::take(&mut self.ears.heap);
        let mut records = Vec::new();
        for message in fast::small_messages(&heap) {
            if let Err(fault) = self.ears.story.read_into(message, Vec::new(), &mut records) {
                self.act(std::mem::take(&mut records));
                self.accuse(&fault.to_string());
            }
        }
        self.act(records);
        // Room for as many again.
        self.ears.heap = heap;
    }

    /// Books a message, and does what it means.
    fn hear(&mut self, message: Message) {
        chaos::on(Point::Received, &self.line.vital);
        let mut records = Vec::new();
        match self.ears.story.read_into(&message.bytes, message.bodies, &mut records) {
            Ok(()) => self.act(records),
            Err(fault) => self.accuse(&fault.to_string()),
        }
    }

    fn act(&mut self, records: Vec<Record<'_>>) {
        let mut orders = Vec::new();
        let mut books = self.shared.books();
        let kills = books.kills.len();
        let mut lies = Vec::new();
        let mut at = 0;
        while let Err(Nonsense { at: lie, what }) = books.book(self.line, &records[at..], &mut orders) {
            lies.push((at + lie, what));
            at += lie + 1;
        }
        let urgent = books.kills.len() > kills || books.has_kill_due(self.line.worker());
        drop(books);
        chaos::on(Point::Booked, &self.line.vital);
        if let Some((_, what)) = lies.first() {
            self.accuse(what);
        }
        let mut records = records.into_iter().enumerate().peekable();
        let mut began_on = None;
        while let Some((at, record)) = records.next() {
            let record = match record {
                Record::Run(run) => {
                    let (token, next) = (run.token, run.next());
                    // Whoever lies is not believed that anything ended well; but begun is begun.
                    if lies.is_empty() {
                        self.follow_run(run, began_on.take());
                    }
                    Record::Started { token, item: next }
                }
                record => record,
            };
            // What a liar says may be true: a body that has begun must not begin again.
            let is_lie = lies.binary_search_by_key(&at, |(lie, _)| *lie).is_ok();
            if !is_lie || matches!(record, Record::Started { .. }) {
                let next = records.peek().map(|(_, next)| next).filter(|_| lies.is_empty());
                let untold = self.follow(record, next, began_on);
                began_on = untold.then(|| self.line.worker());
            }
        }
        carry_out(orders);
        if urgent {
            self.shared.bell.ring();
        }
    }

    /// Has the worker killed, for the task that runs: what that says of itself is not believed. The
    /// worker is still heard to the end, and may finish what else it has begun, but gets nothing more.
    fn accuse(&mut self, what: &str) {
        let mut books = self.shared.books();
        let verdict = format!("it sent garbage: {what}");
        let (culprit, orders) = books.accuse(self.line.worker(), verdict.clone());
        drop(books);
        if let Some(item) = culprit {
            self.ears.culprit.get_or_insert((item, verdict));
        }
        carry_out(orders);
        self.shared.bell.ring();
    }

    /// Items are done and well, one behind the other.
    fn follow_run(&mut self, run: Run<'_>, began_on: Option<u32>) {
        self.ears.task = None;
        let worker = self.line.worker();
        let culprit = self.ears.culprit.as_ref().map(|(culprit, _)| *culprit);
        let took = run.mean();
        let Some(job) = self.job(run.token) else { return };
        if job.is_plain() && culprit.is_none() {
            return job.replies(run.first, worker, &run.outputs, took);
        }
        for (output, item) in run.outputs.into_iter().zip(run.first..) {
            if culprit != Some((run.token, item)) {
                let (outcome, metrics) = (Ok(output.into()), Metrics::default());
                job.reply(item, Reply { outcome, metrics, took, began_on });
            }
            job.started(item + 1, worker);
        }
    }

    /// Does what a record, which has been booked, means for its job. Whether that is left to the next record: the end of the item
    /// that begins here.
    fn follow(&mut self, record: Record<'_>, next: Option<&Record<'_>>, began_on: Option<u32>) -> bool {
        match record {
            Record::Started { token, item } => {
                let is_over = next.is_some_and(|next| next.is_end_of((token, item)));
                if is_over && self.job(token).is_some_and(|job| job.is_plain()) {
                    return true;
                }
                let worker = self.line.worker();
                if let Some(job) = self.job(token) {
                    job.started(item, worker);
                    self.ears.task = Some(job_task(job, item));
                }
            }
            Record::Done { token, item, took, outcome, metrics } => {
                self.ears.task = None;
                // The death of its worker is the culprit's outcome.
                let believed = self.ears.culprit.as_ref().is_none_or(|(culprit, _)| *culprit != (token, item));
                if let Some(job) = self.job(token).filter(|_| believed) {
                    let outcome = outcome.map(|mut output| {
                        output.exchange(|body| share::same(body, job.bodies(item)));
                        output
                    });
                    let metrics = metrics.map_or_else(Metrics::default, |metrics| *metrics);
                    job.reply(item, Reply { outcome, metrics, took, began_on });
                }
            }
            Record::End { token } => {
                self.line.has_ended(token);
                let over = self.job(token).map(|job| job.is_over());
                if over == Some(true) {
                    self.ears.current = None;
                } else if over == Some(false)
                    && self.ears.culprit.as_ref().is_none_or(|((culprit, _), _)| *culprit != token)
                {
                    // It stays where the worker's death finds it; as the culprit's does.
                    self.accuse("a job ended with items that did not");
                }
            }
            Record::Rare(rare) => self.follow_rare(*rare),
            Record::Run(run) => self.follow_run(run, began_on),
        }
        false
    }

    fn follow_rare(&mut self, rare: Rare) {
        match rare {
            Rare::Returned(returned) => {
                let mut back: Vec<(u64, Job)> = Vec::new();
                for (token, from) in returned {
                    let rest = match &mut self.ears.current {
                        Some((current, job)) if *current == token => job.returned(from.min(job.len())),
                        _ => self.line.take(token).and_then(|mut job| {
                            let rest = job.returned(from.min(job.len()));
                            self.line.put_back(token, job);
                            rest
                        }),
                    };
                    back.extend(rest.map(|job| (token, job)));
                }
                back.sort_by_key(|(token, _)| *token);
                self.shared.give_back(back.into_iter().map(|(_, job)| job).collect());
            }
            Rare::Progress { task, done, total } => {
                // A thread that a task left behind may still report: nobody expects that.
                if self.ears.task == Some(task) {
                    self.shared.hub.emit(|| Event::progress(task, done, total));
                }
            }
            Rare::Log(record) => pass_on(self.shared, self.line, record),
            Rare::Printed { token, item, stdout, stderr } => {
                let output = self.line.vital.capture().map(|capture| capture.take(stdout, stderr));
                if let Some((job, output)) = self.job(token).zip(output) {
                    job.output(item, output);
                }
            }
            // Said once and heard already, or booked and nothing else.
            Rare::Unshared(why) => share::is_impossible(&why),
            Rare::Ready => {
                if self.line.asks() {
                    share::is_possible();
                }
                self.line.vital.greet();
            }
            Rare::Different(greeting) => {
                if let Some(error) = launch::different(&greeting) {
                    self.shared.give_up(error.into());
                }
            }
            Rare::Rings(_) | Rare::InitFailed(_) | Rare::Leaving | Rare::Holding(_) | Rare::Condemned => {}
        }
    }

    /// The job with this token, taken from the worker's others.
    fn job(&mut self, token: u64) -> Option<&mut Job> {
        if self.ears.current.as_ref().is_none_or(|(current, _)| *current != token) {
            let job = self.line.take(token)?;
            if let Some((before, job)) = self.ears.current.replace((token, job)) {
                self.line.put_back(before, job);
            }
        }
        self.ears.current.as_mut().map(|(_, job)| job)
    }

    /// The worker is dead, and everything it said has been heard.
    fn settle(mut self, exit: &Exit) {
        let vital = &self.line.vital;
        chaos::on(Point::Settle, vital);
        let stderr = vital.last_lines();
        let mut death = death(vital, exit);
        death.stderr = stderr;
        let mut books = self.shared.books();
        let closing = !books.is_open();
        let one_shot = books.one_shot;
        let ends = closing || one_shot;
        let lane = books.lane_of(vital.worker);
        let duty = lane.map(|mut lane| if ends { lane.vacate(Stage::Shut) } else { lane.bereave() });
        books.kills.retain(|kill| kill.worker != vital.worker);
        drop(books);
        let running = duty.and_then(|duty| duty.running);
        death.wall = running.map(|running| running.since.elapsed()).unwrap_or_default();
        if let (Some(capture), Some(running), Some((token, job))) = (vital.capture(), running, &self.ears.current)
            && running.token == *token
        {
            job.output(running.item, capture.rest());
        }
        self.shared.announce();
        let how = if self.ears.ended_as_told(exit) { String::new() } else { death.how() };
        self.shared.hub.emit(|| Event::worker_ended(vital.worker, vital.pid(), how));

        // Whatever the worker died of in the end, by another task perhaps.
        if let Some(((token, item), verdict)) = self.ears.culprit.take()
            && let Some(job) = self.job(token)
        {
            let mut death = death.clone();
            death.attempt = job.attempt();
            death.verdict = verdict;
            job.reply(item, TaskError::Crashed(Box::new(death)).into());
        }
        let ended_with_pool = closing && exit.verdict.text == POOL_ENDS;
        let current = self.ears.current.take();
        let blame = |attempt| {
            if ended_with_pool {
                return TaskError::Cancelled;
            }
            let mut death = death.clone();
            death.attempt = attempt;
            if exit.verdict.out_of_memory {
                TaskError::OutOfMemory(Box::new(death))
            } else {
                TaskError::Crashed(Box::new(death))
            }
        };
        let mut rest = Vec::new();
        // What it said last could not be read; but it has noted what it has begun.
        let unheard = if self.ears.deaf { vital.begun() } else { None };
        // If nothing ran, the first in line may be what no worker survives being sent.
        let mut suspected = running.is_none() && unheard.is_none() && !ended_with_pool;
        for (token, job) in current.into_iter().chain(self.line.close()) {
            match unheard {
                Some((begun, item)) if token == begun => {
                    job.started(item.min(job.len().saturating_sub(1)), vital.worker)
                }
                Some((begun, _)) if token < begun => job.started(job.len().saturating_sub(1), vital.worker),
                _ => {}
            }
            let Some(mut job) = job.died(blame) else { continue };
            if std::mem::take(&mut suspected) && job.wasted() > MOST_WASTED {
                rest.extend(job.split(1));
                let error = blame(job.attempt());
                job.fail(&error);
            } else {
                rest.push(job);
            }
        }
        if one_shot {
            let error = StartError::new("the process ended before its task began");
            self.shared.give_up(describe(error, vital, exit, std::mem::take(&mut death.stderr)).into());
        }
        self.shared.give_back(rest);
        self.shared.pump();
        if let Some(writer) = self.line.end_writer() {
            // What it waited for is gone; nothing in it panics.
            let _ = writer.join();
        }
    }
}

fn job_task(job: &Job, item: u32) -> u64 {
    job.id() + u64::from(item)
}

fn death(vital: &Vital, exit: &Exit) -> Death {
    let mut death = Death::default();
    death.worker = vital.worker;
    death.pid = vital.pid();
    death.signal = exit.status.and_then(|status| status.signal());
    death.exit_code = exit.status.and_then(|status| status.code());
    death.verdict.clone_from(&exit.verdict.text);
    death.cpu = exit.cpu;
    death.peak_memory = vital.peak_memory();
    death
}

/// Has a worker's log record delivered, and credited when that is done.
pub(crate) fn pass_on(shared: &Shared, line: &Arc<Line>, record: LogRecord) {
    let line = line.clone();
    shared.hub.log(record, move || line.log_delivered());
}
