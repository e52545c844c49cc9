//! Places in the protocol where a test may strike: for tests of this crate only.
//!
//! Without the feature `chaos` every call is empty. With it, and once a plan has been [set](set_plan), each visit of a
//! place may kill, stop or delay the worker it is about, or have it write nonsense. Whether it does depends on
//! the plan's seed, the worker's number, the place and the number of the visit alone.

#[cfg(feature = "chaos")]
mod on;
#[cfg(feature = "chaos")]
use on as hooks;
#[cfg(not(feature = "chaos"))]
mod off;
#[cfg(not(feature = "chaos"))]
use off as hooks;

pub(crate) use hooks::{at, at_either, brief, enlist, on};
#[cfg(feature = "chaos")]
pub use on::{Action, Plan, set_plan};

/// A place in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Point {
    /// Worker: before it says hello.
    Hello,
    /// Worker: it has said hello, and waits for its terms.
    Greeted,
    /// Worker: it has said that it is ready.
    Ready,
    /// Worker: jobs have been read, none has been begun.
    Read,
    /// Worker: an item is claimed, and it has not been said that it starts.
    Claimed,
    /// Worker: it has been said that an item starts, and its body has not begun.
    Started,
    /// Worker: what came of an item is written, and has not been sent.
    Done,
    /// Worker: all items of a job are done, and it has not been said that the job ends.
    End,
    /// Worker: a recall has been read, and has not been answered.
    Recall,
    /// Worker: it has been told to exit.
    Leave,
    /// Both: a part of a long message has been sent.
    Part,
    /// Parent: the process has been started.
    Launched,
    /// Parent: jobs have been picked for the worker, and it has not been noted that it has them.
    Picked,
    /// Parent: it has been noted, and they have not been sent.
    Kept,
    /// Parent: a message has been received, and has not been booked.
    Received,
    /// Parent: a message has been booked, and what it means has not been done.
    Booked,
    /// Parent: the worker is dead, and what it left has not been settled.
    Settle,
    /// Parent: the worker is about to be told to exit.
    Dismiss,
}

#[cfg(feature = "chaos")]
impl Point {
    /// Places that are visited once in a worker's life, or seldom.
    fn is_rare(self) -> bool {
        matches!(
            self,
            Self::Hello
                | Self::Greeted
                | Self::Ready
                | Self::Recall
                | Self::Leave
                | Self::Part
                | Self::Launched
                | Self::Settle
                | Self::Dismiss
        )
    }
}
