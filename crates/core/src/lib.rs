//! Tasks, pools and handles: one model for work that runs inline, on threads, in worker processes.
//!
//! ```text
//!  caller ── submit(task) ──▶ View ── Job ──▶ Backend ──▶ worker runs it
//!    ▲                                                         │
//!    └───────── Handle<T> ◀── exactly one outcome a task ◀─────┘
//!                    └── every step is also an Event
//! ```
//!
//! Most programs use the facade crate `taskloom`; this crate and one backend crate are enough too.
//! What every backend promises stands in [`contract`]; how to write one in [`backend`].
//!
//! Nothing here knows a thread pool, a process or a scheduler, and nothing is `unsafe`.

#![forbid(unsafe_code)]

// So that `#[task]` works in this crate's own tests and examples.
#[allow(unused_extern_crates, reason = "used by what `#[task]` expands to in this crate's tests")]
extern crate self as taskloom_core;

mod blob;
mod codec;
mod error;
mod failure;
mod json;
mod named;
mod registry;
mod task;

mod handle;
pub mod inline;
mod map;
mod policy;
mod pool;
mod settings;
mod wait;

mod ambient;
pub mod backend;
mod context;
pub mod contract;
mod frame;
mod gauge;
mod job;
mod node;
mod stopwatch;
mod work;
mod worker;

mod clock;
mod event;
mod hub;
mod notifier;
mod panic;
mod parcel;
mod park;
mod parker;
mod spin;
mod sync;
mod waiters;

pub use ambient::current_task;
pub use backend::{Backend, Capabilities, InProcess, Shutdown, Stop};
pub use blob::Blob;
pub use codec::{Codec, CodecFault, Data, Encoded, Extent, Payload, Postcard, assert_round_trip};
pub use context::{CancelToken, Context};
pub use error::*;
pub use event::{Event, Finished, Metrics, TaskOutput};
pub use failure::{Cause, Failure, IntoFailure};
pub use handle::{Handle, Waitable};
pub use job::{Job, Reply, Ticket};
pub use map::Map;
pub use named::NamedTask;
pub use policy::{Policy, Retry};
pub use pool::{Pool, View};
pub use registry::{JsonFault, Param, Place, Registry, TaskDef};
pub use settings::Settings;
pub use task::*;
pub use taskloom_macros::{main, register, task};
pub use wait::{AsCompleted, Until, Waited, as_completed, wait};
pub use work::{Cancel, State};
pub use worker::IntoInit;

/// What only writers of backends need.
pub mod backend_api {
    pub use crate::{
        codec::prepare_copies,
        context::Link,
        frame::{Batch, Stint},
        hub::{Hub, LogRecord},
        panic::last_words,
        park::{hold_wakers, wake_held},
        settings::{Readers, Settings},
        spin::Spin,
        worker::{Init, OnBlock, Worker},
    };
}

/// What `#[task]` expands to. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    use std::sync::OnceLock;

    pub use inventory;

    pub use crate::{
        codec::{Codec, CodecFault, Data, Encoded, Payload, Postcard},
        context::Context,
        failure::{Failure, IntoFailure},
        json::JsonArgs,
        registry::{About, JsonFault, Param, Place, Registry, StateTask, TaskDef, decode_param, encode_param},
        task::{ByName, Local, Portable, PortableTask, Reach, Task},
    };

    /// A return type that may be an error, taken apart by name of its parts.
    pub trait Fallible {
        /// The value.
        type Value;
        /// The error.
        type Error;
        /// The `Result` itself.
        ///
        /// # Errors
        /// Its own.
        fn into_result(self) -> Result<Self::Value, Self::Error>;
    }

    impl<T, E> Fallible for Result<T, E> {
        type Value = T;
        type Error = E;
        fn into_result(self) -> Self {
            self
        }
    }

    /// The registry's slot of a task that is not generic, looked up once.
    pub fn slot_of<T: 'static>(cache: &'static OnceLock<Option<u32>>) -> Option<u32> {
        *cache.get_or_init(|| Registry::get().slot_of::<T>())
    }
}
