//! What came of some inputs of a batch.

use crate::{bad_input::BadInput, input::Origin, outcome::Done, successes::Successes};

/// What came of some inputs of a batch, in their order.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Successes of which only the result is wanted.
    pub(crate) successes: Successes,
    pub(crate) rest: Vec<Rest>,
    /// Inputs that were not started, because the run is to end.
    pub(crate) not_started: usize,
}

/// Everything else.
#[derive(Debug)]
pub(crate) enum Rest {
    Done(Box<Done>),
    /// It was done before, in the run that is gone on with.
    Before(u64, Origin),
    /// It does not fit.
    Bad(Box<BadInput>),
}

impl Part {
    /// How many inputs it is about.
    pub(crate) fn len(&self) -> usize {
        self.successes.len() + self.rest.len() + self.not_started
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
