//! The thread that reads inputs, and what keeps it from running ahead.

use std::{
    panic,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc::Sender},
};

use crate::{Stop, exit, plan::Plan, run::Message};

/// Reads all sources, one after the other.
pub(crate) struct Reader {
    pub(crate) plan: Arc<Plan>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) sender: Sender<Message>,
}

impl Reader {
    pub(crate) fn run(self) {
        // A bug in here must not leave the engine waiting for inputs.
        let read = panic::catch_unwind(panic::AssertUnwindSafe(|| self.read()));
        let last = match read {
            Ok(Ok(())) => Message::InputEnd,
            Ok(Err(stop)) => Message::InputFailed(stop),
            Err(_) => Message::InputFailed(Stop::new(exit::BUG, "bug", "the thread that reads inputs panicked")),
        };
        let _ = self.sender.send(last);
    }

    fn read(&self) -> Result<(), Stop> {
        for (number, source) in self.plan.sources.iter().enumerate() {
            for input in source.inputs(number)? {
                let input = input?;
                let task = self.plan.fit.task(&input.text);
                if !self.credits.take() || self.sender.send(Message::Input(input, task)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
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
