//! What parent and worker say to each other: see the [protocol](crate::protocol).
//!
//! Both are the same program, so the format may change at will; but a worker can be broken, so
//! whatever comes up is checked. The two records of every task are written by hand, the rest by core's codec.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use taskloom_core::{
    Blob, CodecFault, Encoded, Extent, Metrics, Payload, Postcard, Registry, TaskError, backend_api::LogRecord,
};

use crate::{capture::Place, entry, message::Message};

/// Changes with every change of this module.
pub(crate) const PROTOCOL: u32 = 6;

/// How a worker introduces itself, or its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) protocol: u32,
    /// Which executable it runs.
    pub(crate) build: String,
    /// What tasks it knows.
    pub(crate) digest: u64,
    pub(crate) pid: u32,
    pub(crate) token: String,
}

impl Greeting {
    pub(crate) fn of_this_program(token: String) -> Self {
        Self {
            protocol: PROTOCOL,
            build: entry::build_id().to_owned(),
            digest: Registry::get().digest(),
            pid: std::process::id(),
            token,
        }
    }

    /// What differs in another program's, if anything, and both values.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let pairs = [
            ("protocols", self.protocol.to_string(), other.protocol.to_string()),
            ("programs", self.build.clone(), other.build.clone()),
            ("tasks", format!("{:016x}", self.digest), format!("{:016x}", other.digest)),
        ];
        let (what, ours, theirs) = pairs.into_iter().find(|(_, ours, theirs)| ours != theirs)?;
        Some(format!("different {what}: here {ours}, there {theirs}"))
    }
}

/// The parent's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Welcome {
    Terms(Terms),
    /// It goes no further; the parent says why.
    Refused,
}

/// What a worker has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) pool: u64,
    pub(crate) worker: u32,
    pub(crate) slot: u32,
    /// `log::max_level` of the parent.
    pub(crate) log_level: usize,
    pub(crate) umask: Option<u32>,
    /// Whether the parent watches its memory, and wants to know what it holds between tasks.
    pub(crate) watched: bool,
    /// It is to leave when it holds so many bytes more than at its start.
    pub(crate) recycle_above: Option<u64>,
    /// Whether its tasks' output is kept.
    pub(crate) captured: bool,
    /// Where there is memory by which it finds out whether it can be given any.
    pub(crate) probe: Option<[u64; 2]>,
    /// The number of the file, among those that the parent has open, in which there are rings: see [`fast`](crate::fast).
    pub(crate) rings: Option<i32>,
    /// The initialiser: its place in the registry and its arguments.
    pub(crate) init: Option<(u32, ByteBuf)>,
    /// Who the parent is, for a worker that was not asked who it is: it compares.
    pub(crate) parent: Option<Greeting>,
}

/// What kind of message comes down the data channel: its first byte.
pub(crate) mod data {
    /// Frames of jobs follow.
    pub(crate) const FRAMES: u8 = 0;
    /// End in good order, behind everything sent before.
    pub(crate) const EXIT: u8 = 1;
}

/// What comes down the control channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Control {
    /// For each token: give back what has not started from that item on.
    Recall(Vec<(u64, u32)>),
    /// A running item is to be told to stop.
    Cancel { token: u64, item: u32 },
    /// If this item runs, begin nothing after it, and say so: it is about to be killed for it.
    Condemn { token: u64, item: u32 },
    /// So many log records have been delivered.
    LogCredit(u32),
    /// The blob that has this stand-in is gone.
    Forget(ByteBuf),
}

/// What comes up, apart from the two records that every task has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Rare {
    /// The answer to terms with rings, on the plain channel: whether everything else comes through them, or why not.
    Rings(Result<(), String>),
    /// It is not the program that its parent is; it does nothing, and ends.
    Different(Greeting),
    /// The initialiser has run; send work.
    Ready,
    InitFailed(TaskError),
    /// It cannot look at the parent's memory; comes before it is ready.
    Unshared(String),
    /// For each token of a recall: from which item on it came back.
    Returned(Vec<(u64, u32)>),
    /// It holds too much memory to go on: it is to get no more work, and to be replaced.
    Leaving,
    /// How many bytes it holds between two tasks.
    Holding(u64),
    /// It begins nothing any more, as it was told.
    Condemned,
    /// From where to where the item has printed; comes before its `Done`.
    Printed {
        token: u64,
        item: u32,
        stdout: Place,
        stderr: Place,
    },
    Progress {
        task: u64,
        done: u64,
        total: u64,
    },
    Log(LogRecord),
}

/// What comes up. A message holds one or more.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// The body of an item begins now.
    Started {
        token: u64,
        item: u32,
    },
    /// An item is done, with its encoded result or an error.
    Done {
        token: u64,
        item: u32,
        /// How long it ran, for whoever has to know how much a worker can be given.
        took: Duration,
        outcome: Result<Encoded<'a>, TaskError>,
        /// If there are any.
        metrics: Option<Box<Metrics>>,
    },
    /// Items of one job are done and well, one behind the other; and the one after them begins.
    Run(Run<'a>),
    /// Nothing more will come about this token.
    End {
        token: u64,
    },
    Rare(Box<Rare>),
}

/// What most messages of a chunk say, put together.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) token: u64,
    pub(crate) first: u32,
    /// The encoded result of each.
    pub(crate) outputs: Vec<&'a [u8]>,
    /// How long all of them ran.
    pub(crate) took: Duration,
}

impl<'a> Run<'a> {
    /// The item that begins behind them.
    pub(crate) fn next(&self) -> u32 {
        self.first.saturating_add(self.outputs.len() as u32)
    }

    /// How long one of them ran, on average.
    pub(crate) fn mean(&self) -> Duration {
        self.took / (self.outputs.len() as u32).max(1)
    }

    /// Takes another item along, if it goes on where this ends.
    fn extend(&mut self, token: u64, item: u32, took: Duration, output: &'a [u8]) -> bool {
        let goes_on = (self.token, self.next()) == (token, item);
        if goes_on {
            self.outputs.push(output);
            self.took = self.took.saturating_add(took);
        }
        goes_on
    }
}

/// Encodes a message that consists of one value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, &mut out);
    out
}

fn put<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // These are plain records of ours, and strings: nothing in them can be refused.
    Postcard::append(value, out).expect("the codec carries our own records");
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CodecFault> {
    Postcard::split(&mut bytes)
}

const STARTED: u8 = 0;
const DONE: u8 = 1;
const END: u8 = 2;
const RARE: u8 = 3;
const NEXT: u8 = 4;
const WELL: u8 = 5;
const ON: u8 = 6;

/// Writes records.
#[derive(Debug)]
pub(crate) struct Records {
    payload: Payload,
    /// What has been written is that this item is done, and well.
    only: Option<(u64, u32)>,
    /// The item that was said last to begin: whoever reads it knows of which job the next one is.
    begun: Option<(u64, u32)>,
    /// What has been written is short, and begins here.
    start: usize,
}

/// Where the end of an item has how long it took, and the extent of its result, which follows.
const ITEM_AT: usize = 1 + 8;
const TOOK_AT: usize = ITEM_AT + 4;
const EXTENT_AT: usize = TOOK_AT + 8;
const RESULT_AT: usize = EXTENT_AT + 12;
/// Where it begins if it is short: its kind, the item, and how long that took, in 32 bits, stand before the result.
const SHORT_AT: usize = RESULT_AT - 9;

impl Default for Records {
    fn default() -> Self {
        Self { payload: Payload::with_bodies(), only: None, begun: None, start: 0 }
    }
}

impl Records {
    pub(crate) fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// All of them, if they have no bodies.
    pub(crate) fn plain(&self) -> Option<&[u8]> {
        self.payload.plain().map(|bytes| &bytes[self.start..])
    }

    /// Forgets them; room for as many stays, unless they were many.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 64 << 10;
        if self.payload.bytes_mut().capacity() > KEPT {
            *self = Self { begun: self.begun, ..Self::default() };
        }
        (self.only, self.start) = (None, 0);
        self.payload.truncate(Extent::default());
    }

    pub(crate) fn take(&mut self) -> Message {
        let this = std::mem::replace(self, Self { begun: self.begun, ..Self::default() });
        let mut message = Message::from(this.payload);
        message.bytes.drain(..this.start);
        message
    }

    pub(crate) fn started(&mut self, token: u64, item: u32) {
        let before = self.begun.replace((token, item));
        let only = self.only.take();
        if only.is_some_and(|(last, end)| (last, end.checked_add(1)) == (token, Some(item))) {
            // "This is done" and "that begins" are one record: it differs in its kind.
            let bytes = self.payload.bytes_mut();
            bytes[0] = NEXT;
            // Of which job these are is known to whoever has read what came before.
            if only == before && bytes[TOOK_AT + 4..][..4] == [0; 4] {
                bytes.copy_within(ITEM_AT..TOOK_AT + 4, SHORT_AT + 1);
                bytes[SHORT_AT] = ON;
                self.start = SHORT_AT;
            }
            return;
        }
        self.head(STARTED, token);
        self.put(&item.to_le_bytes());
    }

    /// Writes an item's result where `run` appends it.
    pub(crate) fn done(
        &mut self,
        token: u64,
        item: u32,
        run: impl FnOnce(&mut Payload) -> (Result<(), TaskError>, Option<Box<Metrics>>, Duration),
    ) {
        let alone = self.is_empty();
        let head = self.payload.extent().bytes;
        let mut bytes = [0; RESULT_AT];
        bytes[0] = DONE;
        bytes[1..ITEM_AT].copy_from_slice(&token.to_le_bytes());
        bytes[ITEM_AT..TOOK_AT].copy_from_slice(&item.to_le_bytes());
        self.put(&bytes);
        let start = self.payload.extent();
        let (outcome, metrics, took) = run(&mut self.payload);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let result = self.payload.extent().since(start);
        let bytes = self.payload.bytes_mut();
        bytes[head + TOOK_AT..][..8].copy_from_slice(&took.to_le_bytes());
        bytes[head + EXTENT_AT..][..12].copy_from_slice(&result.to_le_bytes());
        let is_well = outcome.is_ok() && metrics.is_none();
        if is_well {
            bytes[head] = WELL;
        } else {
            put(&(outcome, metrics.unwrap_or_default()), bytes);
        }
        self.only = (alone && is_well && result.bodies == 0).then_some((token, item));
    }

    pub(crate) fn end(&mut self, token: u64) {
        self.head(END, token);
    }

    #[cfg(test)]
    pub(crate) fn rare(rare: &Rare) -> Message {
        let mut records = Self::default();
        records.append(rare);
        records.take()
    }

    pub(crate) fn append(&mut self, rare: &Rare) {
        self.only = None;
        self.put(&[RARE]);
        put(rare, self.payload.bytes_mut());
    }

    fn head(&mut self, kind: u8, token: u64) {
        self.only = None;
        self.put(&[kind]);
        self.put(&token.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.payload.bytes_mut().extend_from_slice(bytes);
    }
}

impl<'a> Record<'a> {
    /// Takes a record from the front of `from`.
    fn read(from: &mut Encoded<'a>) -> Result<Self, CodecFault> {
        let bytes = from.bytes_mut();
        match array::<1>(bytes)?[0] {
            STARTED => Ok(Self::Started { token: number(bytes)?, item: item(bytes)? }),
            kind @ (DONE | WELL) => {
                let (token, item, took, extent) = end_of_item(bytes)?;
                let result = from.split(extent).ok_or_else(short)?;
                let (outcome, metrics) = match kind {
                    WELL => (Ok(()), None),
                    _ => {
                        let (outcome, metrics) = Postcard::split::<(Result<(), TaskError>, Metrics)>(from.bytes_mut())?;
                        (outcome, Some(Box::new(metrics)))
                    }
                };
                Ok(Self::Done { token, item, took, outcome: outcome.map(|()| result), metrics })
            }
            NEXT => {
                let (token, first, took, output) = next(bytes)?;
                Ok(Self::Run(Run { token, first, outputs: vec![output], took }))
            }
            END => Ok(Self::End { token: number(bytes)? }),
            ON => Err(CodecFault::new("a short record is a message of its own")),
            RARE => Postcard::split(bytes).map(|rare| Self::Rare(Box::new(rare))),
            other => Err(CodecFault::new(format_args!("no record begins with {other}"))),
        }
    }

    /// Whether it says that this item is done.
    pub(crate) fn is_end_of(&self, of: (u64, u32)) -> bool {
        match *self {
            Self::Done { token, item, .. } | Self::Run(Run { token, first: item, .. }) => (token, item) == of,
            _ => false,
        }
    }

    /// Reads a whole message that is understood by itself. Its bodies go into the records.
    pub(crate) fn read_all(bytes: &'a [u8], bodies: Vec<Blob>) -> Result<Vec<Self>, CodecFault> {
        let mut records = Vec::new();
        Story::default().read_into(bytes, bodies, &mut records)?;
        Ok(records)
    }
}

/// What a worker has said so far, as far as it is needed to understand what it says next.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The job of the item that began last.
    begun: Option<u64>,
}

impl Story {
    /// Appends the records of the next message, whole; none, if one of them is wrong. Its bodies go into the records.
    pub(crate) fn read_into<'a>(
        &mut self,
        bytes: &'a [u8],
        bodies: Vec<Blob>,
        records: &mut Vec<Record<'a>>,
    ) -> Result<(), CodecFault> {
        match bytes.split_first() {
            Some((&ON, mut rest)) if bodies.is_empty() => {
                let token = self.begun.ok_or_else(|| CodecFault::new("nothing has begun that could be done"))?;
                // Said, and not counted: where a message could not be read the next must not be taken for it.
                let (item, nanos) = (item(&mut rest)?, item(&mut rest)?);
                let took = Duration::from_nanos(nanos.into());
                self.goes_on(token, item, took, rest, records);
                return Ok(());
            }
            Some((&NEXT, mut rest)) if bodies.is_empty() => {
                if let Ok((token, item, took, output)) = next(&mut rest)
                    && rest.is_empty()
                {
                    self.goes_on(token, item, took, output, records);
                    return Ok(());
                }
            }
            _ => {}
        }
        let before = records.len();
        let mut from = Encoded::new(bytes, bodies);
        while !from.is_empty() {
            match Record::read(&mut from) {
                Ok(record) => records.push(record),
                Err(fault) => {
                    records.truncate(before);
                    return Err(fault);
                }
            }
        }
        for record in &records[before..] {
            match record {
                Record::Started { token, .. } | Record::Run(Run { token, .. }) => self.begun = Some(*token),
                _ => {}
            }
        }
        Ok(())
    }

    /// This item is done and well, and the next one has begun.
    fn goes_on<'a>(&mut self, token: u64, item: u32, took: Duration, output: &'a [u8], records: &mut Vec<Record<'a>>) {
        self.begun = Some(token);
        if let Some(Record::Run(run)) = records.last_mut()
            && run.extend(token, item, took, output)
        {
            return;
        }
        records.push(Record::Run(Run { token, first: item, outputs: vec![output], took }));
    }
}

/// What every end of an item begins with: token, item, how long it took, and the extent of its result.
fn end_of_item(bytes: &mut &[u8]) -> Result<(u64, u32, Duration, Extent), CodecFault> {
    let (token, item, took) = (number(bytes)?, item(bytes)?, Duration::from_nanos(number(bytes)?));
    Ok((token, item, took, Extent::take(bytes).ok_or_else(short)?))
}

/// What stands in a `NEXT`, whose result has no bodies.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u64, u32, Duration, &'a [u8]), CodecFault> {
    let (token, item, took, extent) = end_of_item(bytes)?;
    let output = bytes.split_off(..extent.bytes).filter(|_| extent.bodies == 0).ok_or_else(short)?;
    Ok((token, item, took, output))
}

fn short() -> CodecFault {
    CodecFault::new("a record ends too early")
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CodecFault> {
    let (array, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    *bytes = rest;
    Ok(*array)
}

fn number(bytes: &mut &[u8]) -> Result<u64, CodecFault> {
    array(bytes).map(u64::from_le_bytes)
}

fn item(bytes: &mut &[u8]) -> Result<u32, CodecFault> {
    array(bytes).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use taskloom_core::{Blob, Data};

    use super::*;

    #[test]
    fn records_come_back_in_order() {
        let mut records = Records::default();
        let results = [vec![1; 100_000], b"short".to_vec(), vec![2; 200_000]];
        for (result, item) in results.clone().into_iter().zip(0..) {
            records.done(1, item, |out| {
                result.encode::<Postcard>(out).unwrap();
                result.hand_over(out);
                (Ok(()), None, Duration::from_secs(4))
            });
        }
        records.end(1);
        records.started(3, 0);
        records.done(3, 0, |_| (Err(TaskError::Cancelled), None, Duration::ZERO));
        let message = records.take();
        assert_eq!(message.bodies.len(), 2);
        let mut read = Record::read_all(&message.bytes, message.bodies).unwrap().into_iter();
        for (result, at) in results.into_iter().zip(0..) {
            let Some(Record::Done { token: 1, item, took, outcome: Ok(mut output), .. }) = read.next() else {
                panic!("no result {at}")
            };
            assert_eq!(took, Duration::from_secs(4));
            assert_eq!((item, Vec::decode::<Postcard>(&mut output)), (at, Ok(result)));
            assert!(output.is_empty());
        }
        assert!(matches!(read.next(), Some(Record::End { token: 1 })));
        assert!(matches!(read.next(), Some(Record::Started { token: 3, item: 0 })));
        assert!(matches!(read.next(), Some(Record::Done { token: 3, outcome: Err(TaskError::Cancelled), .. })));
        assert!(read.next().is_none());
    }

    #[test]
    fn what_ends_and_what_begins_behind_it_go_together() {
        for size in [0, 1, 100, 10_000] {
            let (mut records, mut story) = (Records::default(), Story::default());
            for round in 0..3 {
                // The last one has run for longer than a short record has room for.
                let took = Duration::from_micros(if round < 2 { 5 } else { 5_000_000 });
                records.done(9, round, |out| {
                    out.bytes_mut().extend(vec![7; size]);
                    (Ok(()), None, took)
                });
                records.started(9, round + 1);
                let bytes = records.plain().unwrap().to_vec();
                let is_short = round == 1;
                assert_eq!(bytes.len(), size + if is_short { RESULT_AT - SHORT_AT } else { RESULT_AT }, "{records:?}");
                let mut read = Vec::new();
                story.read_into(&bytes, Vec::new(), &mut read).unwrap();
                let [Record::Run(Run { token: 9, first, took: told, outputs })] = &read[..] else { panic!("{read:?}") };
                assert_eq!((*first, *told, &outputs[..]), (round, took, &[&vec![7; size][..]][..]));
                // A short one says nothing to whoever does not know what came before, nor beside others.
                assert_eq!(Record::read_all(&bytes, Vec::new()).is_err(), is_short);
                let beside = [&[END], &[0; 8][..], &bytes].concat();
                assert_eq!(story.read_into(&beside, Vec::new(), &mut Vec::new()).is_err(), is_short);
                for cut in 1..if is_short { RESULT_AT - SHORT_AT } else { bytes.len() } {
                    assert!(story.read_into(&bytes[..cut], Vec::new(), &mut Vec::new()).is_err());
                }
                records.clear();
            }
        }
        // Not if there is more to be said of it, or another job begins.
        let mut records = Records::default();
        records.done(9, 0, |_| (Err(TaskError::Cancelled), None, Duration::ZERO));
        records.started(9, 1);
        assert_eq!(Record::read_all(records.plain().unwrap(), Vec::new()).unwrap().len(), 2);
        records.clear();
        records.done(9, 0, |_| (Ok(()), None, Duration::ZERO));
        records.end(9);
        records.started(10, 0);
        assert_eq!(Record::read_all(records.plain().unwrap(), Vec::new()).unwrap().len(), 3);
    }

    #[test]
    fn items_in_a_row_are_one_run_however_their_records_are_written() {
        let (mut records, mut messages) = (Records::default(), Vec::new());
        records.started(4, 0);
        messages.push(records.take());
        for item in 0..10 {
            records.done(4, item, |out| {
                out.bytes_mut().push(item as u8);
                (Ok(()), None, Duration::from_nanos(100))
            });
            records.started(4, item + 1);
            messages.push(records.take());
        }
        let (mut story, mut read) = (Story::default(), Vec::new());
        for message in &messages {
            story.read_into(&message.bytes, Vec::new(), &mut read).unwrap();
        }
        let [Record::Started { token: 4, item: 0 }, Record::Run(run)] = &read[..] else { panic!("{read:?}") };
        assert_eq!((run.token, run.first, run.next(), run.took), (4, 0, 10, Duration::from_micros(1)));
        assert!(run.outputs.iter().zip(0..).all(|(output, item)| *output == [item]));
        // What cannot be read is not made up for by what follows: the items are what they say.
        let (mut story, mut read) = (Story::default(), Vec::new());
        for (at, message) in messages.iter().enumerate().filter(|(at, _)| *at != 4) {
            story.read_into(&message.bytes, Vec::new(), &mut read).unwrap_or_else(|fault| panic!("{at}: {fault}"));
        }
        let runs = read.iter().filter_map(|record| match record {
            Record::Run(run) => Some((run.first, run.next())),
            _ => None,
        });
        let firsts: Vec<_> = runs.collect();
        assert_eq!(firsts, [(0, 3), (4, 10)]);
        // Of which all but the first were short.
        assert!(messages[1..].iter().all(|message| message.bytes.len() == RESULT_AT - SHORT_AT + 1));
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_and_no_panic() {
        let mut records = Records::default();
        records.started(7, 1);
        records.done(7, 1, |out| {
            out.bytes_mut().push(9);
            vec![1_u8; 100_000].encode::<Postcard>(out).unwrap();
            (Ok(()), None, Duration::ZERO)
        });
        let Message { bytes, bodies } = records.take();
        let read =
            |cut: usize, bodies: &[Blob]| Record::read_all(&bytes[..cut], bodies.to_vec()).map(|read| read.len());
        assert_eq!(read(bytes.len(), &bodies), Ok(2));
        // Behind the first record, 13 bytes long, there is a message that is whole, but for the body that it has not.
        assert_eq!(read(13, &[]), Ok(1));
        for cut in 1..bytes.len() {
            assert!(read(cut, &bodies).is_err(), "cut at {cut}");
        }
        assert!(read(bytes.len(), &[]).is_err(), "without its body");
        assert!(read(bytes.len(), &[bodies.clone(), bodies.clone()].concat()).is_err(), "with a body too many");
    }
}
