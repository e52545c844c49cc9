//! Inputs on their way from the thread that reads them to the supervisor.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use taskloom::JsonFault;

use super::{bell::Bell, template::Subject};
use crate::{
    Stop,
    feed::Feed,
    input::{Input, Origin},
    reader::{Credits, Taker},
};

pub(crate) enum Item {
    /// An input with its number, and what it means to placeholders.
    Input(u64, Input, Result<Subject, JsonFault>),
    /// One that was done before.
    Before(u64, Origin),
    /// There are no more, or the source failed.
    End(Result<(), Stop>),
}

/// Puts what is read into an inbox.
pub(crate) struct Intake {
    pub(crate) feed: Arc<Feed>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) inbox: Arc<Inbox>,
}

impl Taker for Intake {
    fn take(&mut self, number: u64, mut input: Input) -> bool {
        if !self.credits.take(1) {
            return false;
        }
        if self.feed.was_done(&mut input) {
            return self.inbox.put(Item::Before(number, input.origin));
        }
        let subject = Subject::of(&input.text);
        self.inbox.put(Item::Input(number, input, subject))
    }

    fn end(self, end: Result<(), Stop>) {
        self.inbox.put(Item::End(end));
    }
}

/// How much it holds is limited by the reader's credits.
pub(crate) struct Inbox {
    inner: Mutex<Inner>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    /// The supervisor found nothing, and waits. Only then is the bell worth a system call.
    hungry: bool,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { inner: Mutex::default(), bell }
    }

    /// Whether it was taken.
    pub(crate) fn put(&self, item: Item) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.closed {
            return false;
        }
        inner.items.push_back(item);
        if std::mem::take(&mut inner.hungry) {
            self.bell.ring();
        }
        true
    }

    /// The next one; if there is none yet, the bell will ring.
    pub(crate) fn take(&self) -> Option<Item> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let item = inner.items.pop_front();
        inner.hungry = item.is_none();
        item
    }

    /// Nothing is taken any more; says how many inputs were waiting.
    pub(crate) fn close(&self) -> usize {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.closed = true;
        let items = std::mem::take(&mut inner.items);
        items.iter().filter(|item| matches!(item, Item::Input(..))).count()
    }
}
