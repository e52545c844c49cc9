//! The thread that reads inputs, and what keeps it from running ahead.

use std::{
    panic,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::{Stop, exit, feed::Feed, input::Input};

/// Reads all sources, one after the other, on a thread of its own: `take` is given each input with its number, until it
/// wants no more, and `end` how it ended.
pub(crate) fn start(
    feed: Arc<Feed>,
    credits: Arc<Credits>,
    take: impl FnMut(u64, Input) -> bool + Send + 'static,
    end: impl FnOnce(Result<(), Stop>) + Send + 'static,
) -> Result<(), Stop> {
    let read = move || {
        // A bug in here must not leave the engine waiting for inputs.
        let read = panic::catch_unwind(panic::AssertUnwindSafe(|| read(&feed, &credits, take)));
        end(read.unwrap_or_else(|_| Err(Stop::new(exit::BUG, "bug", "the thread that reads inputs panicked"))));
    };
    let started = thread::Builder::new().name("taskloom-input".to_owned()).spawn(read);
    started.map(drop).map_err(|error| no_thread(&error))
}

fn read(feed: &Feed, credits: &Credits, mut take: impl FnMut(u64, Input) -> bool) -> Result<(), Stop> {
    feed.each(|number, input| credits.take() && take(number, input))
}

pub(crate) fn no_thread(error: &std::io::Error) -> Stop {
    Stop::new(exit::FAILED, "no-thread", format!("cannot start a thread: {error}"))
}

/// How many more inputs may be read before results have been written.
pub(crate) struct Credits {
    /// How many are left; none when nothing more is to be read.
    left: Mutex<Option<usize>>,
    more: Condvar,
}

impl Credits {
    pub(crate) fn new(credits: usize) -> Self {
        Self { left: Mutex::new(Some(credits)), more: Condvar::new() }
    }

    fn take(&self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.more.wait_while(left, |left| *left == Some(0)).unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = &mut *left {
            *left -= 1;
        }
        left.is_some()
    }

    pub(crate) fn give(&self, credits: usize) {
        if let Some(left) = &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            *left += credits;
        }
        self.more.notify_one();
    }

    pub(crate) fn close(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.more.notify_one();
    }
}
