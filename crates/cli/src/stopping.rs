//! Why nothing more is started, and what that makes of the run's exit code.

use crate::Stop;

/// The reasons, the one that hides most first.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    /// What comes of inputs cannot be written, or nobody reads it.
    Output(Stop),
    /// A signal, with the exit code that stands for it.
    Signal(u8),
    RunTimeout,
    Failures,
}

impl Why {
    /// The weightier of two reasons; the first of equal ones.
    pub(crate) fn or(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Output(_) => 0,
            Self::Signal(_) => 1,
            Self::RunTimeout => 2,
            Self::Failures => 3,
        }
    }
}
