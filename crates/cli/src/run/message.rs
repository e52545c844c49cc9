//! What the engine hears of.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    task::Wake,
};

use taskloom::{Event, JsonFault, NamedTask, Pool};

use crate::{
    Stop,
    chunks::{Entry, Part},
    input::{Input, Origin},
};

pub(crate) enum Message {
    /// An input, with its number.
    Input(u64, Input, Result<NamedTask, JsonFault>),
    /// Inputs that go together, as they were read.
    Inputs(Vec<Entry>),
    /// One that was done before.
    Before(u64, Origin),
    InputEnd,
    /// The source itself failed.
    InputFailed(Stop),
    /// A handle has its outcome.
    Finished(u64),
    /// An attempt has ended, and there will be another.
    Retrying(Event),
    /// What came of the batch with this turn, and whether that is all.
    Part(u64, Part, bool),
    /// Look at the signals.
    Signal,
}

/// Tells the engine of each attempt that is to be followed by another.
pub(super) fn hear_of_retries(pool: &Pool, sender: Sender<Message>) {
    pool.on_event(move |event| {
        if let Event::Retrying { .. } = event {
            // A run that has ended hears nothing any more.
            let _ = sender.send(Message::Retrying(event.clone()));
        }
    });
}

/// Tells the engine that a task is finished. It drops its sender with that, so that nothing rings twice.
pub(super) struct Bell {
    turn: u64,
    sender: Mutex<Option<Sender<Message>>>,
}

impl Bell {
    pub(super) fn new(turn: u64, sender: Sender<Message>) -> Self {
        Self { turn, sender: Mutex::new(Some(sender)) }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A run that has ended hears nothing any more.
            let _ = sender.send(Message::Finished(self.turn));
        }
    }
}
