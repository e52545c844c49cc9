//! A thread that has batches run, and takes down what comes of them.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender},
    },
};

use serde_json::Value;
use taskloom::{NamedTask, TaskError, View};

use super::{Batch, Entry, Part, Rest};
use crate::{bad_input::BadInput, feed::Feed, fit::Fit, outcome::Done, run::Message};

/// What a waiter has taken down of its oldest batch: whoever finds that it takes long may take it. And that batch's turn.
#[derive(Default)]
pub(super) struct Desk(pub(super) Mutex<(u64, Part)>);

pub(super) struct Waiter {
    pub(super) view: View,
    pub(super) feed: Arc<Feed>,
    pub(super) fit: Fit,
    /// Of a success only the result is wanted.
    pub(super) is_brief: bool,
    pub(super) queue: Arc<Mutex<Receiver<Batch>>>,
    pub(super) sender: Sender<Message>,
    pub(super) aborted: Arc<AtomicBool>,
    pub(super) desk: Arc<Desk>,
}

/// A batch that is under way.
struct Sheet {
    turn: u64,
    entries: Vec<Entry>,
    /// What became of those that have been looked at.
    fates: Vec<Fate>,
    /// How many have been taken down.
    done: usize,
}

enum Fate {
    /// It is with the pool.
    Sent,
    Before,
    Bad(Box<BadInput>),
    NotStarted,
}

/// Batches that are under way, oldest first.
type Sheets = RefCell<VecDeque<Sheet>>;

impl Waiter {
    pub(super) fn run(self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = next else { return };
            if !self.series(batch) {
                return;
            }
        }
    }

    /// Runs batches, as long as there is always a next one: while the results of one are taken down, another runs. Whether
    /// anybody still wants to know.
    fn series(&self, first: Batch) -> bool {
        let sheets = Sheets::new(VecDeque::from([self.sheet(first)]));
        let mut results = self.view.map(std::iter::from_fn(|| self.next_task(&sheets)));
        let mut told = false;
        loop {
            if !told && self.is_aborted() {
                results.cancel_rest();
                told = true;
            }
            let Some(result) = results.next() else { break };
            if !self.take_down(&mut sheets.borrow_mut(), Some(result)) {
                return false;
            }
        }
        self.take_down(&mut sheets.borrow_mut(), None)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    fn sheet(&self, batch: Batch) -> Sheet {
        let fates = Vec::with_capacity(batch.entries.len());
        Sheet { turn: batch.turn, entries: batch.entries, fates, done: 0 }
    }

    /// The next input that is one for the pool.
    fn next_task(&self, sheets: &Sheets) -> Option<NamedTask> {
        let mut sheets = sheets.borrow_mut();
        loop {
            if let Some(sheet) = sheets.back_mut() {
                while let Some(entry) = sheet.entries.get_mut(sheet.fates.len()) {
                    let (fate, task) = self.look_at(entry);
                    sheet.fates.push(fate);
                    if task.is_some() {
                        return task;
                    }
                }
            }
            // Whoever has the lock waits for a batch too: there is none.
            let next = self.queue.try_lock().ok()?.try_recv().ok()?;
            sheets.push_back(self.sheet(next));
        }
    }

    fn look_at(&self, entry: &mut Entry) -> (Fate, Option<NamedTask>) {
        if self.is_aborted() {
            return (Fate::NotStarted, None);
        }
        if self.feed.was_done(&mut entry.input) {
            return (Fate::Before, None);
        }
        match entry.task.take().map_or_else(|| self.fit.task(&entry.input.text), |task| Ok(*task)) {
            Ok(task) => (Fate::Sent, Some(task)),
            Err(fault) => (Fate::Bad(Box::new(self.feed.bad(&entry.input, fault))), None),
        }
    }

    /// Takes down a result, or that there are no more; and what else is known by now. Whether anybody still wants to know.
    fn take_down(&self, sheets: &mut VecDeque<Sheet>, result: Option<Result<Value, TaskError>>) -> bool {
        let is_end = result.is_none();
        let mut result = result;
        let mut desk = self.desk.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sheet) = sheets.front_mut() {
            desk.0 = sheet.turn;
            while let Some(fate) = sheet.fates.get_mut(sheet.done) {
                let entry = &sheet.entries[sheet.done];
                match (std::mem::replace(fate, Fate::Sent), result.take()) {
                    (Fate::Sent, Some(result)) => self.settle(&mut desk.1, entry, result),
                    (Fate::Sent, None) if !is_end => return true,
                    (Fate::Sent | Fate::NotStarted, other) => {
                        result = other;
                        desk.1.not_started += 1;
                    }
                    (Fate::Before, other) => {
                        result = other;
                        desk.1.rest.push(Rest::Before(entry.number, entry.input.origin));
                    }
                    (Fate::Bad(bad), other) => {
                        result = other;
                        desk.1.rest.push(Rest::Bad(bad));
                    }
                }
                sheet.done += 1;
            }
            let unread = sheet.entries.len() - sheet.done;
            if unread > 0 && !is_end {
                return true;
            }
            desk.1.not_started += unread;
            let part = std::mem::take(&mut desk.1);
            if self.sender.send(Message::Part(sheet.turn, part, true)).is_err() {
                return false;
            }
            sheets.pop_front();
        }
        true
    }

    fn settle(&self, part: &mut Part, entry: &Entry, result: Result<Value, TaskError>) {
        match result {
            Ok(value) if self.is_brief => part.successes.add(entry.number, entry.input.key, &value),
            Err(TaskError::Cancelled | TaskError::Closed) if self.is_aborted() => part.not_started += 1,
            result => {
                let brief = self.feed.brief(entry.number, &entry.input);
                part.rest.push(Rest::Done(Box::new(Done::of(brief, result))));
            }
        }
    }
}
