//! What the thread that reads inputs does with them.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::Sender,
    },
};

use super::Message;
use crate::{
    Stop,
    chunks::Entry,
    feed::Feed,
    fit::Fit,
    input::Input,
    reader::{Credits, Taker},
};

/// Sends inputs to the engine: as tasks, one by one; or many together, as they are, if tasks are short.
pub(super) struct Intake {
    pub(super) feed: Arc<Feed>,
    pub(super) fit: Fit,
    /// How many go together.
    pub(super) size: Arc<AtomicUsize>,
    pub(super) credits: Arc<Credits>,
    pub(super) together: Vec<Entry>,
    pub(super) sender: Sender<Message>,
}

impl Taker for Intake {
    fn take(&mut self, number: u64, mut input: Input) -> bool {
        // Together they pay when they go.
        let size = self.size.load(Ordering::Relaxed);
        if size > 0 {
            self.together.push(Entry { number, input, task: None });
            return self.together.len() < size || self.send_together();
        }
        if !self.credits.take(1) {
            return false;
        }
        if self.feed.was_done(&mut input) {
            return self.sender.send(Message::Before(number, input.origin)).is_ok();
        }
        let task = self.fit.task(&input.text);
        self.sender.send(Message::Input(number, input, task)).is_ok()
    }

    fn end(mut self, end: Result<(), Stop>) {
        self.send_together();
        // A run that has ended hears nothing any more.
        let _ = self.sender.send(end.map_or_else(Message::InputFailed, |()| Message::InputEnd));
    }
}

impl Intake {
    fn send_together(&mut self) -> bool {
        let together = mem::take(&mut self.together);
        together.is_empty()
            || (self.credits.take(together.len()) && self.sender.send(Message::Inputs(together)).is_ok())
    }
}
