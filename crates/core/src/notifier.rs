//! The thread on which a pool runs other people's code: callbacks, loggers, readers of events.
//!
//! Whoever completes a task only stores the outcome, wakes, and posts here; so nobody's code runs
//! on a stack that may hold somebody's lock, and a slow logger stops no clock. The thread starts
//! with the first message and ends with the pool, when everything posted has been delivered.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use crate::{ambient, event::Event, panic};

pub(crate) enum Message {
    Call(Box<dyn FnOnce() + Send>),
    Event(Event),
    Reader(Reader),
    End,
}

pub(crate) type Reader = Box<dyn FnMut(&Event) + Send>;

pub(crate) struct Notifier {
    pool: u64,
    state: Mutex<State>,
    /// The thread, until somebody has joined it.
    thread: Mutex<Option<JoinHandle<()>>>,
    has_readers: AtomicBool,
}

enum State {
    Idle,
    Running(Sender<Message>),
    Ended,
}

impl Notifier {
    pub(crate) fn new(pool: u64) -> Self {
        Self { pool, state: Mutex::new(State::Idle), thread: Mutex::default(), has_readers: AtomicBool::new(false) }
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.has_readers.load(Ordering::Relaxed)
    }

    pub(crate) fn add_reader(&self, reader: Reader) {
        if self.post(Message::Reader(reader)).is_ok() {
            self.has_readers.store(true, Ordering::Relaxed);
        }
    }

    /// Queues a message; gives it back if the thread has ended or cannot be started.
    #[expect(clippy::result_large_err, reason = "given back only after the pool's end")]
    pub(crate) fn post(&self, message: Message) -> Result<(), Message> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Idle = *state {
            let (sender, receiver) = channel();
            let pool = self.pool;
            match thread::Builder::new().name("taskloom-notify".to_owned()).spawn(move || run(pool, &receiver)) {
                Ok(thread) => {
                    *self.thread() = Some(thread);
                    *state = State::Running(sender);
                }
                Err(_) => return Err(message),
            }
        }
        match &*state {
            State::Running(sender) => sender.send(message).map_err(|unsent| unsent.0),
            _ => Err(message),
        }
    }

    /// Ends the thread behind everything posted so far, and waits for that, unless this is that thread.
    pub(crate) fn end(&self) {
        let state = std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Ended);
        if let State::Running(sender) = state {
            // The thread lives until it is told to end: it can be told.
            let _ = sender.send(Message::End);
        }
        // Also if somebody else told it, perhaps a callback on that thread, which could not wait. The
        // lock is held meanwhile: whoever ends the pool at the same time waits too.
        if !ambient::is_notifier_of(self.pool) {
            // Its calls are caught: it does not panic.
            let _ = self.thread().take().map(JoinHandle::join);
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(pool: u64, messages: &Receiver<Message>) {
    ambient::become_notifier(pool);
    let mut readers: Vec<Reader> = Vec::new();
    for message in messages {
        match message {
            Message::Call(f) => call(f),
            // A reader that panics once would panic again: it is let go.
            Message::Event(event) => readers.retain_mut(|reader| logged(|| reader(&event))),
            Message::Reader(reader) => readers.push(reader),
            Message::End => break,
        }
    }
    panic::dispose(readers);
}

/// Runs somebody's code; a panic in it is logged and nothing else.
pub(crate) fn call(f: Box<dyn FnOnce() + Send>) {
    logged(f);
}

fn logged(f: impl FnOnce()) -> bool {
    panic::catch(f)
        .inspect_err(|panic| log::error!(target: "taskloom", "a callback panicked at {}: {}", panic.place.as_deref().unwrap_or("?"), panic.message))
        .is_ok()
}
