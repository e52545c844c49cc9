//! The thread that reads inputs, and what keeps it from running ahead.

use std::{
    panic,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
    left: Mutex<Left>,
    more: Condvar,
}

struct Left {
    /// How many are left; none when nothing more is to be read.
    credits: Option<usize>,
    /// How many the reader waits for, if it waits.
    wanted: usize,
}

/// Who has used up all credits waits for as many: for one at a time it would wake up for each result. Windows are much larger.
const REFILL: usize = 32;

impl Credits {
    pub(crate) fn new(credits: usize) -> Self {
        Self { left: Mutex::new(Left { credits: Some(credits), wanted: 0 }), more: Condvar::new() }
    }

    /// Waits until so many may be read; whether any are to be.
    pub(crate) fn take(&self, credits: usize) -> bool {
        let mut left = self.lock();
        if left.credits.is_some_and(|left| left < credits) {
            left.wanted = credits.max(REFILL);
            let too_few = |left: &mut Left| left.credits.is_some_and(|credits| credits < left.wanted);
            left = self.more.wait_while(left, too_few).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(left) = &mut left.credits {
            *left -= credits;
        }
        left.credits.is_some()
    }

    pub(crate) fn give(&self, credits: usize) {
        let mut left = self.lock();
        let wanted = left.wanted;
        if let Some(left) = &mut left.credits {
            let before = *left;
            *left += credits;
            if before < wanted && *left >= wanted {
                self.more.notify_one();
            }
        }
    }

    pub(crate) fn close(&self) {
        self.lock().credits = None;
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, Sender},
        time::Duration,
    };

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

    #[test]
    fn who_has_used_up_all_waits_for_several() {
        let credits = Arc::new(Credits::new(40));
        assert!((0..40).all(|_| credits.take(1)));
        let (sender, taken) = mpsc::channel();
        let reader = credits.clone();
        let reader = thread::spawn(move || while reader.take(1) && sender.send(()).is_ok() {});
        while credits.lock().wanted == 0 {
            thread::yield_now();
        }
        (1..REFILL).for_each(|_| credits.give(1));
        assert!(taken.try_recv().is_err());
        credits.give(1);
        let soon = Duration::from_secs(60);
        (0..REFILL).for_each(|_| taken.recv_timeout(soon).expect("there are enough"));
        credits.close();
        reader.join().unwrap();
        assert!(!credits.take(1));
    }
}
