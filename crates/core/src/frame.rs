//! Jobs as bytes: written in the parent, run in the worker.
//!
//! ```text
//! frame = head (postcard) , { extent (its bytes are u64::MAX if the item is over) , arguments } per item
//!       | head (postcard) , { end (32 bits) } per item , arguments of all
//! ```
//!
//! Bodies of the arguments stand beside, in order. The second form is for several items of which none is over, without bodies. Backends carry frames and know only their own token in them. Both sides are the same program.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    blob::Blob,
    codec::{CodecFault, Encoded, Extent, Payload, Postcard},
    context::{Context, Link, RunId},
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
    /// In the second form.
    together: bool,
}

/// In place of an extent: the item is over, and its arguments are not here.
const OVER: Extent = Extent { bytes: usize::MAX, bodies: 0 };

pub(crate) fn write(
    head: &Head,
    token: u64,
    attempt: u32,
    items: Range<u32>,
    cargo: &Cargo,
    over: &[u32],
    out: &mut Payload,
) {
    let hub = &head.core.hub;
    let simple = over.is_empty() && items.len() > 1;
    let together = cargo.plain(items.clone()).filter(|(bytes, _)| simple && u32::try_from(bytes.len()).is_ok());
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
        together: together.is_some(),
    };
    // Plain numbers: nothing in them can be refused.
    Postcard::append(&frame, out.bytes_mut()).expect("a frame's head can be encoded");
    if let Some((bytes, ends)) = together {
        let out = out.bytes_mut();
        out.reserve(4 * items.len() + bytes.len());
        ends.for_each(|end| out.extend_from_slice(&(end as u32).to_le_bytes()));
        return out.extend_from_slice(bytes);
    }
    for item in items {
        if over.binary_search(&item).is_err() {
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
    args: Args,
}

/// The arguments of items that have not been run.
#[derive(Debug)]
enum Args {
    /// `None` for an item that is over, or has been run.
    Each(Vec<Option<Parcel>>),
    /// One behind the other, with their ends. Those before `next` have been run.
    Together { bytes: Vec<u8>, ends: Vec<u32>, next: u32 },
}

impl Args {
    fn read_together(count: u32, from: &mut &[u8]) -> Option<Self> {
        let mut ends = Vec::new();
        let mut end = 0;
        for _ in 0..count {
            let (next, rest) = from.split_first_chunk()?;
            (*from, end) = (rest, u32::from_le_bytes(*next));
            ends.push(end);
        }
        let bytes = from.split_off(..end as usize)?.to_vec();
        ends.is_sorted().then_some(Self::Together { bytes, ends, next: 0 })
    }

    fn is_over(&self, item: u32) -> bool {
        match self {
            Self::Each(args) => args[item as usize].is_none(),
            Self::Together { next, .. } => item < *next,
        }
    }

    fn bodies(&self, item: u32) -> impl Iterator<Item = &Blob> {
        let parcel = match self {
            Self::Each(args) => args[item as usize].as_ref(),
            Self::Together { .. } => None,
        };
        parcel.into_iter().flat_map(Parcel::bodies)
    }

    fn are_plain(&self, item: u32) -> bool {
        match self {
            Self::Each(args) => matches!(args[item as usize], None | Some(Parcel::Short(..))),
            Self::Together { .. } => true,
        }
    }

    /// Gives an item's arguments to a reader; once.
    fn open<R>(&mut self, item: u32, read: impl FnOnce(Encoded<'_>) -> R) -> R {
        match self {
            Self::Each(args) => args[item as usize].take().unwrap_or_default().open(read),
            Self::Together { bytes, ends, next } => {
                *next = item + 1;
                let start = item.checked_sub(1).map_or(0, |before| ends[before as usize]);
                read(bytes[start as usize..ends[item as usize] as usize].into())
            }
        }
    }
}

impl Batch {
    /// Takes a frame from the front of `from`.
    ///
    /// # Errors
    /// If that is no frame.
    pub fn read(from: &mut Encoded<'_>) -> Result<Self, CodecFault> {
        let head: FrameHead = Postcard::split(from.bytes_mut())?;
        let short = || CodecFault::new("a frame ends too early");
        if head.together {
            let args = Args::read_together(head.count, from.bytes_mut()).ok_or_else(short)?;
            return Ok(Self { head, args });
        }
        let mut args = Vec::new();
        for _ in 0..head.count {
            args.push(match Extent::take(from.bytes_mut()).ok_or_else(short)? {
                OVER => None,
                extent => Some(Parcel::new(from.split(extent).ok_or_else(short)?)),
            });
        }
        Ok(Self { head, args: Args::Each(args) })
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
        self.args.is_over(item)
    }

    /// Whether an item's arguments surely have no [`bodies`](Self::bodies).
    pub fn is_plain(&self, item: u32) -> bool {
        self.args.are_plain(item)
    }

    /// The bodies of an item's arguments, until it is run.
    pub fn bodies(&self, item: u32) -> impl Iterator<Item = &Blob> {
        self.args.bodies(item)
    }

    /// Id of an item's task.
    pub fn id(&self, item: u32) -> u64 {
        self.head.id + u64::from(item)
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.head.attempt
    }

    /// Runs an item and appends its encoded result to `out`, which is left alone if there is none. Gives what it cost too, if
    /// somebody wants to know. The item's arguments are gone then.
    ///
    /// # Errors
    /// How it ended other than well; a panic is caught.
    pub fn run(
        &mut self,
        item: u32,
        stint: &mut Stint,
        out: &mut Payload,
    ) -> (Result<(), TaskError>, Option<Box<Metrics>>) {
        let FrameHead { slot, batch, attempt, pool_seed, measure, .. } = self.head;
        let index = self.head.index + u64::from(item);
        let run = RunId { id: self.id(item), pool_seed, batch, index, attempt };
        let Stint(cx) = stint;
        cx.set_run(run);
        let worker = cx.host();
        let start = out.extent();
        let clock = Stopwatch::start(measure, worker);
        let body = |args: Encoded<'_>| panic::catch(|| Registry::get().at(slot)?.run(args, cx, out));
        let done = crate::ambient::in_task(worker, run.id, || self.args.open(item, body));
        let metrics = clock.stop(worker);
        let done = done.unwrap_or_else(|panic| Err(panic.into()));
        if done.is_err() {
            out.truncate(start);
        }
        (done, metrics)
    }
}

/// With what a worker elsewhere runs items, one after the other.
#[derive(Debug)]
pub struct Stint(Context);

impl Stint {
    /// On this worker, which ends with it unless somebody else has it too; with this link to the pool.
    pub fn new(worker: Worker, link: Arc<dyn Link>) -> Self {
        Self(Context::new(&worker, link, RunId::default()))
    }

    /// From now on tasks have this link to the pool.
    pub fn set_link(&mut self, link: Arc<dyn Link>) {
        self.0.set_link(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_came_together_are_read_one_by_one_or_not_at_all() {
        let ends = [2_u32, 2, 5];
        let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).chain(*b"abcde!").collect();
        let mut from = &bytes[..];
        let mut args = Args::read_together(3, &mut from).expect("whole");
        assert_eq!(from, b"!");
        for (item, expected) in [(0, &b"ab"[..]), (1, b""), (2, b"cde")] {
            assert!(!args.is_over(item));
            args.open(item, |read| assert_eq!(read.plain(), Some(expected)));
            assert!(args.is_over(item));
        }
        for cut in 0..bytes.len() - 1 {
            assert!(Args::read_together(3, &mut &bytes[..cut]).is_none(), "cut at {cut}");
        }
        // Ends that go back, and one beyond all.
        for ends in [[3_u32, 2, 5], [2, 9, 5], [2, 3, u32::MAX]] {
            let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).chain(*b"abcde!").collect();
            assert!(Args::read_together(3, &mut &bytes[..]).is_none(), "{ends:?}");
        }
    }
}
