//! The worker's main thread: reads jobs, runs them, says what starts and what came of it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use taskloom_core::{
    Encoded, Panic,
    backend_api::{Batch, Stint, Worker},
};

use super::{
    Down, EXIT_PROTOCOL, Up,
    capture::Capture,
    gate::{Claim, Gate},
    give_up,
    laps::Laps,
    thrift::Thrift,
};
use crate::{
    chaos::{self, Point},
    os, share,
    wire::{Records, data},
};

/// Looking after each task whether the way to the parent is whole would double the time of the shortest: after those it is
/// looked when there is nothing else to do.
const TOO_SHORT_TO_TELL: Duration = Duration::from_micros(10);

thread_local! {
    /// What this thread is at, if it is the runner: for [`last_words`].
    static AT: OnceCell<Rc<At>> = const { OnceCell::new() };
}

struct At {
    up: Arc<Up>,
    item: Cell<Option<(u64, u32)>>,
    capture: Option<RefCell<Capture>>,
}

pub(super) fn run(
    mut down: Down,
    worker: Worker,
    gate: &Gate,
    up: Arc<Up>,
    thrift: Thrift,
    capture: Option<Capture>,
    out: Records,
) -> ! {
    let at = Rc::new(At { up: up.clone(), item: Cell::default(), capture: capture.map(RefCell::new) });
    // It is the only runner here.
    AT.with(|here| drop(here.set(at.clone())));
    let stint = Stint::new(worker, gate.first_run(&up));
    let mut runner = Runner { stint, gate, up, thrift, at, laps: Laps::new(), out };
    loop {
        let up = &runner.up;
        let look = || {
            if !up.is_intact() {
                give_up("a short task has overwritten or closed what its worker needs to reach its pool");
            }
        };
        let Some(message) = down.receive(look) else {
            // The control thread ends the process if the parent is gone; else our descriptors are.
            os::process::exit_now(EXIT_PROTOCOL);
        };
        let size = message.size();
        match message.bytes.split_first() {
            Some((&data::FRAMES, frames)) => {
                let mut frames = Encoded::new(frames, message.bodies);
                frames.exchange(share::found);
                let batches = read(frames);
                drop(message.bytes);
                // A task's own arguments are its own doing; those of others in the same message are not.
                if batches.iter().map(Batch::len).sum::<u32>() > 1 {
                    runner.thrift.receive(size, |news| runner.out.append(&news));
                }
                runner.work_off(batches, &mut down);
                if down.is_over() {
                    runner.leave();
                }
            }
            Some((&data::EXIT, _)) => runner.leave(),
            _ => os::process::exit_now(EXIT_PROTOCOL),
        }
    }
}

fn read(mut frames: Encoded<'_>) -> VecDeque<Batch> {
    let mut batches = VecDeque::new();
    while !frames.is_empty() {
        // The parent is the same program: it writes what this reads.
        let Ok(batch) = Batch::read(&mut frames) else { os::process::exit_now(EXIT_PROTOCOL) };
        batches.push_back(batch);
    }
    batches
}

struct Runner<'a> {
    stint: Stint,
    gate: &'a Gate,
    up: Arc<Up>,
    thrift: Thrift,
    at: Rc<At>,
    /// An item begins when the one before is done, or the message has been read.
    laps: Laps,
    /// Records that the next message takes along: the end of an item goes with the start of the next.
    out: Records,
}

impl Runner<'_> {
    fn work_off(&mut self, mut batches: VecDeque<Batch>, down: &mut Down) {
        chaos::at(Point::Read);
        self.laps.begin();
        while let Some(mut batch) = batches.pop_front() {
            let token = batch.token();
            for item in 0..batch.len() {
                if !batch.is_over(item) && !self.run_item(&mut batch, item, down) {
                    break;
                }
            }
            chaos::at(Point::End);
            self.out.end(token);
        }
        self.gate.release();
        // Whoever waits for work is to get it.
        self.flush(!down.has_some());
        // What a task printed without a line's end is not to wait for the next task.
        let _ = std::io::stdout().flush();
    }

    /// Runs an item, unless it has been recalled.
    fn run_item(&mut self, batch: &mut Batch, item: u32, down: &Down) -> bool {
        let token = batch.token();
        match self.gate.claim(token, item, &self.up) {
            Claim::Gone => return false,
            Claim::Same => {}
            Claim::Anew(run) => self.stint.set_link(run),
        }
        chaos::at(Point::Claimed);
        self.out.started(token, item);
        self.flush(false);
        down.note_begun(token, item);
        chaos::at(Point::Started);
        self.at.item.set(Some((token, item)));
        self.at.capture.iter().for_each(|capture| capture.borrow_mut().begin());
        let Self { stint, up, at, laps, .. } = self;
        let given = if batch.is_plain(item) { Vec::new() } else { share::given(batch.bodies(item)) };
        self.out.done(token, item, |out| {
            let first = out.extent().bodies;
            let (outcome, mut metrics) = batch.run(item, stint, out);
            let took = laps.end();
            out.exchange(first, |body| share::returned(body, &given));
            if up.is_copy() {
                // The end of the body is the end of the copy: the task's outcome is the original's.
                os::process::exit_now(0);
            }
            if took > TOO_SHORT_TO_TELL && !up.is_intact() {
                give_up("a task has overwritten or closed what its worker needs to reach its pool");
            }
            if let Some(metrics) = &mut metrics {
                metrics.peak_memory = os::memory::peak("self");
            }
            let printed = at.capture.as_ref().and_then(|capture| capture.borrow().end(token, item));
            printed.iter().for_each(|printed| up.rare(printed));
            (outcome, metrics, took)
        });
        chaos::at(Point::Done);
        self.at.item.set(None);
        self.thrift.look(|news| self.out.append(&news));
        true
    }

    fn flush(&mut self, urgent: bool) {
        if !self.out.is_empty() {
            self.up.send(&mut self.out, urgent);
        }
    }

    /// Ends in good order: what the initialiser made is dropped, and what libraries do at the exit is done.
    fn leave(&mut self) -> ! {
        chaos::at(Point::Leave);
        let nobody = Stint::new(Worker::new(0, 0, 0), self.gate.first_run(&self.up));
        let stint = std::mem::replace(&mut self.stint, nobody);
        // A drop that panics says so itself.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(stint)));
        std::process::exit(0)
    }
}

/// A task's panic is about to abort the process: its outcome is sent now.
pub(super) fn last_words(panic: &Panic) {
    let Some(at) = AT.try_with(|at| at.get().cloned()).ok().flatten() else { return };
    let Some((token, item)) = at.item.get() else { return };
    let mut records = Records::default();
    // Not flushed: the panic may have come from inside of a print.
    let printed = at.capture.as_ref().and_then(|capture| capture.borrow().so_far(token, item));
    printed.iter().for_each(|printed| records.append(printed));
    records.done(token, item, |_| (Err(panic.clone().into()), None, Duration::ZERO));
    at.up.send(&mut records, true);
}
