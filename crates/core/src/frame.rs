//! Jobs as bytes: written in the parent, run in the worker.
//!
//! ```text
//! frame = head (postcard) , { length (u64, little endian; u64::MAX if it is over) , arguments } per item
//! ```
//!
//! Backends carry frames and know only their own token in them. Both sides are the same program.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, CodecFault, Postcard},
    context::{Context, Link, RunId, seed_of},
    error::TaskError,
    event::Metrics,
    job::Cargo,
    panic,
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

/// In place of a length: the item is over, and its arguments are not here.
const OVER: u64 = u64::MAX;

pub(crate) fn write(
    head: &Head,
    token: u64,
    attempt: u32,
    items: Range<u32>,
    cargo: &Cargo,
    is_sent: impl Fn(u32) -> bool,
    out: &mut Vec<u8>,
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
        measure: hub.measuring(),
        count: items.len() as u32,
    };
    // Plain numbers: nothing in them can be refused.
    Postcard::encode(&frame, out).expect("a frame's head can be encoded");
    for item in items {
        if !is_sent(item) {
            out.extend_from_slice(&OVER.to_le_bytes());
            continue;
        }
        let args = cargo.args(item);
        out.extend_from_slice(&(args.len() as u64).to_le_bytes());
        out.extend_from_slice(args);
    }
}

/// A job as a worker elsewhere sees it.
#[derive(Debug)]
pub struct Batch {
    head: FrameHead,
    /// `None` for an item that is over, or has been run.
    args: Vec<Option<Box<[u8]>>>,
}

impl Batch {
    /// Reads a frame from the front of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn read(bytes: &mut &[u8]) -> Result<Self, CodecFault> {
        let head: FrameHead = Postcard::decode(bytes)?;
        let short = || CodecFault::new("a frame ends too early");
        let mut args = Vec::new();
        for _ in 0..head.count {
            let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
            *bytes = rest;
            args.push(match u64::from_le_bytes(*length) {
                OVER => None,
                length => {
                    let length = usize::try_from(length).map_err(CodecFault::new)?;
                    Some(bytes.split_off(..length).ok_or_else(short)?.into())
                }
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
        out: &mut Vec<u8>,
    ) -> (Result<(), TaskError>, Metrics) {
        let FrameHead { slot, batch, attempt, pool_seed, measure, .. } = self.head;
        let index = self.head.index + u64::from(item);
        let run = RunId { id: self.id(item), index, attempt, seed: seed_of(pool_seed, batch, index) };
        let cx = Context::new(worker, link, run);
        let args = self.args[item as usize].take().unwrap_or_default();
        let start = out.len();
        let clock = Stopwatch::start(measure, worker);
        let done =
            crate::ambient::in_task(worker, run.id, || panic::catch(|| Registry::get().at(slot)?.run(&args, &cx, out)));
        let metrics = clock.stop(worker);
        let done = done.unwrap_or_else(|panic| Err(panic.into()));
        if done.is_err() {
            out.truncate(start);
        }
        (done, metrics)
    }
}
