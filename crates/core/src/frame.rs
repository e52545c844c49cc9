//! Jobs as bytes: written in the parent, run in the worker.
//!
//! ```text
//! frame = head (postcard) , { extent (its bytes are u64::MAX if the item is over) , arguments } per item
//! ```
//!
//! Bodies of the arguments stand beside, in order. Backends carry frames and know only their own token in them. Both sides are the same program.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    blob::Blob,
    codec::{CodecFault, Encoded, Extent, Payload, Postcard},
    context::{Context, Link, RunId, seed_of},
    error::TaskError,
    event::Metrics,
    job::Cargo,
    panic,
    parcel::Parcel,
    registry::Registry,
    stopwatch::Stopwatch,
    work::Head,
    worker::Worker,
};

#[derive(Debug, Serialize, Deserialize)]
struct FrameHead {
    token: u64,
    slot: u32,
    id: u64,
    batch: u64,
    index: u64,
    attempt: u32,
    pool_seed: u64,
    measure: bool,
    count: u32,
}

/// In place of an extent: the item is over, and its arguments are not here.
const OVER: Extent = Extent { bytes: usize::MAX, bodies: 0 };

pub(crate) fn write(
    head: &Head,
    token: u64,
    attempt: u32,
    items: Range<u32>,
    cargo: &Cargo,
    is_sent: impl Fn(u32) -> bool,
    out: &mut Payload,
) {
    let hub = &head.core.hub;
    let frame = FrameHead {
        token,
        slot: head.slot,
        id: head.id(items.start),
        batch: head.batch,
        index: head.index + u64::from(items.start),
        attempt,
        pool_seed: hub.settings().seed,
        measure: head.measuring(),
        count: items.len() as u32,
    };
    // Plain numbers: nothing in them can be refused.
    Postcard::append(&frame, out.bytes_mut()).expect("a frame's head can be encoded");
    for item in items {
        if is_sent(item) {
            let args = cargo.args(item);
            out.bytes_mut().extend_from_slice(&args.left().to_le_bytes());
            out.append(args);
        } else {
            out.bytes_mut().extend_from_slice(&OVER.to_le_bytes());
        }
    }
}

/// A job as a worker elsewhere sees it.
#[derive(Debug)]
pub struct Batch {
    head: FrameHead,
    /// `None` for an item that is over, or has been run.
    args: Vec<Option<Parcel>>,
}

impl Batch {
    /// Takes a frame from the front of `from`.
    ///
    /// # Errors
    /// If that is no frame.
    pub fn read(from: &mut Encoded<'_>) -> Result<Self, CodecFault> {
        let head: FrameHead = Postcard::split(from.bytes_mut())?;
        let short = || CodecFault::new("a frame ends too early");
        let mut args = Vec::new();
        for _ in 0..head.count {
            args.push(match Extent::take(from.bytes_mut()).ok_or_else(short)? {
                OVER => None,
                extent => Some(Parcel::new(from.split(extent).ok_or_else(short)?)),
            });
        }
        Ok(Self { head, args })
    }

    /// The backend's own mark, as it was given to [`Job::sent`](crate::Job::sent).
    pub fn token(&self) -> u64 {
        self.head.token
    }

    /// Number of items.
    pub fn len(&self) -> u32 {
        self.head.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.head.count == 0
    }

    /// Whether an item was over before it was sent, or has been run: it is to be passed over in silence.
    pub fn is_over(&self, item: u32) -> bool {
        self.args[item as usize].is_none()
    }

    /// The bodies of an item's arguments, until it is run.
    pub fn bodies(&self, item: u32) -> impl Iterator<Item = &Blob> {
        self.args[item as usize].iter().flat_map(Parcel::bodies)
    }

    /// Id of an item's task.
    pub fn id(&self, item: u32) -> u64 {
        self.head.id + u64::from(item)
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.head.attempt
    }

    /// Runs an item and appends its encoded result to `out`, which is left alone if there is none.
    /// The item's arguments are gone then.
    ///
    /// # Errors
    /// How it ended other than well; a panic is caught.
    pub fn run(
        &mut self,
        item: u32,
        worker: &Worker,
        link: Arc<dyn Link>,
        out: &mut Payload,
    ) -> (Result<(), TaskError>, Metrics) {
        let FrameHead { slot, batch, attempt, pool_seed, measure, .. } = self.head;
        let index = self.head.index + u64::from(item);
        let run = RunId { id: self.id(item), index, attempt, seed: seed_of(pool_seed, batch, index) };
        let cx = Context::new(worker, link, run);
        let args = self.args[item as usize].take().unwrap_or_default();
        let start = out.extent();
        let clock = Stopwatch::start(measure, worker);
        let body = |args: Encoded<'_>| panic::catch(|| Registry::get().at(slot)?.run(args, &cx, out));
        let done = crate::ambient::in_task(worker, run.id, || args.open(body));
        let metrics = clock.stop(worker);
        let done = done.unwrap_or_else(|panic| Err(panic.into()));
        if done.is_err() {
            out.truncate(start);
        }
        (done, metrics)
    }
}
