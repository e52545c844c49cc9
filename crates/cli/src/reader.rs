//! The thread that reads inputs, and what keeps it from running ahead.

use std::{
    panic,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::{Stop, exit, feed::Feed, input::Input};

/// What becomes of inputs.
pub(crate) trait Taker: Send + 'static {
    /// Is given each input with its number, until it wants no more.
    fn take(&mut self, number: u64, input: Input) -> bool;
    /// How it ended.
    fn end(self, end: Result<(), Stop>);
}

/// Reads all sources, one after the other, on a thread of its own.
pub(crate) fn start(feed: Arc<Feed>, mut taker: impl Taker) -> Result<(), Stop> {
    let read = move || {
        // A bug in here must not leave the engine waiting for inputs.
        let read =
            panic::catch_unwind(panic::AssertUnwindSafe(|| feed.each(|number, input| taker.take(number, input))));
        taker.end(read.unwrap_or_else(|_| Err(Stop::new(exit::BUG, "bug", "the thread that reads inputs panicked"))));
    };
    let started = thread::Builder::new().name("taskloom-input".to_owned()).spawn(read);
    started.map(drop).map_err(|error| no_thread(&error))
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

    /// Waits until so many may be read; whether any are to be.
    pub(crate) fn take(&self, credits: usize) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let too_few = |left: &mut Option<usize>| left.is_some_and(|left| left < credits);
        let mut left = self.more.wait_while(left, too_few).unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = &mut *left {
            *left -= credits;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::*;
    use crate::{args::InputArgs, input::Source};

    struct Faulty(Sender<Result<(), Stop>>);

    impl Taker for Faulty {
        fn take(&mut self, number: u64, _: Input) -> bool {
            assert!(number < 3, "a fault of ours");
            true
        }
        fn end(self, end: Result<(), Stop>) {
            self.0.send(end).unwrap();
        }
    }

    #[test]
    fn a_fault_ends_the_reading_and_is_told() {
        let mut feed = Feed::new(&InputArgs::default()).unwrap();
        feed.sources.push(Source::Range(0..10));
        let (sender, ended) = mpsc::channel();
        start(Arc::new(feed), Faulty(sender)).unwrap();
        assert_eq!(ended.recv().unwrap().unwrap_err().exit(), exit::BUG);
    }
}
