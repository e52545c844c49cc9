//! What the codec writes to and reads from: bytes, and *bodies* beside them.
//!
//! A long string of bytes would be copied once more at each step of its way. As a body it is moved
//! from its value into the [`Payload`], and out of the [`Encoded`] into a value again; in between it
//! is sent as it is. In the bytes stands its length, and that is how a reader knows: where there are
//! bodies at all, every byte string from [`LONG`] on is one, and they come in order.

use std::{mem::MaybeUninit, sync::OnceLock, vec};

use super::CodecFault;
use crate::blob::{self, Blob};

/// From so many bytes on a byte string travels beside the others: about what copying costs as much
/// as the body's own place in a message.
pub(crate) const LONG: usize = 32 << 10;

/// Values as bytes: what is written by [`Data::encode`](super::Data::encode).
#[derive(Debug, Clone, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    bodies: Vec<Body>,
    /// Long byte strings become bodies.
    apart: bool,
    /// They are moved if they can be.
    moves: bool,
    /// Bodies before this one are here.
    here: usize,
}

#[derive(Debug, Clone)]
enum Body {
    /// What is here, and what that counts.
    Here(Blob, usize),
    /// Its value still has it, and will [hand it over](super::Data::hand_over).
    Owed(usize),
}

impl Body {
    fn here(blob: Blob) -> Self {
        let weight = blob.weight();
        Self::Here(blob, weight)
    }

    fn weight(&self) -> usize {
        match self {
            Self::Here(_, weight) => *weight,
            Self::Owed(len) => *len,
        }
    }

    fn into_blob(self) -> Blob {
        match self {
            Self::Here(blob, _) => blob,
            // Nobody has handed it over: its length will be found to be false.
            Self::Owed(_) => Blob::default(),
        }
    }
}

/// How far a payload was at some time: bytes and bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, without those of bodies.
    pub bytes: usize,
    /// Number of bodies.
    pub bodies: usize,
}

impl Extent {
    /// How much lies between `start` and this.
    #[must_use]
    pub fn since(self, start: Self) -> Self {
        Self { bytes: self.bytes - start.bytes, bodies: self.bodies - start.bodies }
    }

    /// For a message.
    pub fn to_le_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&(self.bytes as u64).to_le_bytes());
        bytes[8..].copy_from_slice(&(self.bodies as u32).to_le_bytes());
        bytes
    }

    /// What [`to_le_bytes`](Self::to_le_bytes) wrote, from the front of `bytes`.
    pub fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (bodies, rest) = rest.split_first_chunk()?;
        *bytes = rest;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        Some(Self { bytes: length, bodies: usize::try_from(u32::from_le_bytes(*bodies)).ok()? })
    }
}

impl Payload {
    /// Everything becomes bytes, one behind the other.
    pub fn new() -> Self {
        Self::default()
    }

    /// Long byte strings become bodies: those that are values themselves are moved, those within others copied, and
    /// blobs are neither.
    pub fn with_bodies() -> Self {
        Self { apart: true, moves: true, ..Self::default() }
    }

    /// Long byte strings become bodies, and what is written stays whole: all are copied but blobs.
    pub fn with_copies() -> Self {
        Self { apart: true, ..Self::default() }
    }

    /// Where a writer appends.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// All of it, if it has no bodies.
    pub fn plain(&self) -> Option<&[u8]> {
        self.bodies.is_empty().then_some(&self.bytes)
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.bodies.is_empty()
    }

    /// All bytes it keeps, those of bodies included; not those of blobs that somebody else keeps too.
    pub fn size(&self) -> usize {
        self.part_size(Extent::default(), self.extent())
    }

    /// How far it is.
    pub fn extent(&self) -> Extent {
        Extent { bytes: self.bytes.len(), bodies: self.bodies.len() }
    }

    /// Takes back what was written since.
    pub fn truncate(&mut self, to: Extent) {
        self.bytes.truncate(to.bytes);
        self.bodies.truncate(to.bodies);
        self.here = self.here.min(to.bodies);
    }

    /// Bytes, and bodies in order.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Blob>) {
        (self.bytes, self.bodies.into_iter().map(Body::into_blob).collect())
    }

    /// Appends what is encoded already; its bodies are moved.
    pub(crate) fn append(&mut self, encoded: Encoded<'_>) {
        self.bytes.extend_from_slice(encoded.bytes);
        self.bodies.extend(encoded.bodies.map(Body::here));
    }

    /// All of it, for a reader; its bodies are shared, not copied.
    pub(crate) fn read(&self) -> Encoded<'_> {
        self.part(Extent::default(), self.extent())
    }

    /// A part of it, for a reader: from one extent to another.
    pub(crate) fn part(&self, from: Extent, to: Extent) -> Encoded<'_> {
        let bodies = self.bodies[from.bodies..to.bodies].iter().cloned();
        Encoded::new(&self.bytes[from.bytes..to.bytes], bodies.map(Body::into_blob).collect())
    }

    /// The bytes of a part; `None` if it has bodies.
    pub(crate) fn plain_part(&self, from: Extent, to: Extent) -> Option<&[u8]> {
        (from.bodies == to.bodies).then(|| &self.bytes[from.bytes..to.bytes])
    }

    /// Puts another blob in the place of each body from a number on for which there is one.
    pub fn exchange(&mut self, first: usize, mut by: impl FnMut(&Blob) -> Option<Blob>) {
        for body in self.bodies.iter_mut().skip(first) {
            if let Body::Here(blob, _) = body
                && let Some(other) = by(blob)
            {
                *blob = other;
            }
        }
    }

    /// [`size`](Self::size) of a part.
    pub(crate) fn part_size(&self, from: Extent, to: Extent) -> usize {
        let bodies = &self.bodies[from.bodies..to.bodies];
        to.bytes - from.bytes + bodies.iter().map(Body::weight).sum::<usize>()
    }

    /// The bodies of a part that are here.
    pub(crate) fn part_bodies(&self, from: Extent, to: Extent) -> impl Iterator<Item = &Blob> {
        self.bodies[from.bodies..to.bodies].iter().filter_map(|body| match body {
            Body::Here(blob, _) => Some(blob),
            Body::Owed(_) => None,
        })
    }

    /// The bodies that are here.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Blob> {
        self.part_bodies(Extent::default(), self.extent())
    }

    /// Appends a body: the blob that shows itself with these bytes, or a copy of them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bodies.push(Body::here(blob::shown(bytes).unwrap_or_else(|| Blob::of_one(copied(bytes)))));
    }

    /// Whether a byte string of this length is to be a body.
    pub(crate) fn wants(&self, len: usize) -> bool {
        self.apart && len >= LONG
    }

    /// Appends a body that will be handed over, if it can be, or a copy.
    pub(crate) fn push_own(&mut self, bytes: &[u8]) {
        if self.moves { self.bodies.push(Body::Owed(bytes.len())) } else { self.push(bytes) }
    }

    /// Puts bytes in the place that was kept for them; if none was, they have been written already.
    pub(crate) fn pay(&mut self, bytes: Vec<u8>) {
        let here = |body: &Body| matches!(body, Body::Here(..));
        self.here += self.bodies[self.here..].iter().take_while(|body| here(body)).count();
        if let Some(body @ Body::Owed(_)) = self.bodies.get_mut(self.here) {
            *body = Body::here(Blob::of_one(bytes));
        }
    }
}

/// Values as bytes, for a reader: what [`Data::decode`](super::Data::decode) takes from the front of.
#[derive(Debug)]
pub struct Encoded<'b> {
    bytes: &'b [u8],
    bodies: vec::IntoIter<Blob>,
    /// Long byte strings are bodies.
    apart: bool,
}

impl From<Vec<u8>> for Payload {
    /// Goes on behind these bytes, without bodies.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl<'b> Encoded<'b> {
    /// What a payload [was taken apart into](Payload::into_parts).
    pub fn new(bytes: &'b [u8], bodies: Vec<Blob>) -> Self {
        Self { bytes, apart: !bodies.is_empty(), bodies: bodies.into_iter() }
    }

    /// Where a reader takes from the front.
    pub fn bytes_mut(&mut self) -> &mut &'b [u8] {
        &mut self.bytes
    }

    /// All bytes that are left, those of bodies included.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.bodies.as_slice().iter().map(|body| body.len()).sum::<usize>()
    }

    /// Puts another blob in the place of each body for which there is one.
    pub fn exchange(&mut self, mut by: impl FnMut(&Blob) -> Option<Blob>) {
        for body in self.bodies.as_mut_slice() {
            if let Some(other) = by(body) {
                *body = other;
            }
        }
    }

    /// All that is left, if there are no bodies.
    pub(crate) fn plain(&self) -> Option<&'b [u8]> {
        (self.bodies.len() == 0).then_some(self.bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.left() == Extent::default()
    }

    /// How much is left.
    pub(crate) fn left(&self) -> Extent {
        Extent { bytes: self.bytes.len(), bodies: self.bodies.len() }
    }

    /// Cuts so much off the front; `None`, and nothing happens, if it is not there.
    pub fn split(&mut self, extent: Extent) -> Option<Self> {
        if self.bodies.len() < extent.bodies {
            return None;
        }
        let bytes = self.bytes.split_off(..extent.bytes)?;
        Some(Self::new(bytes, self.bodies.by_ref().take(extent.bodies).collect()))
    }

    /// What is left, for later.
    pub(crate) fn into_payload(self) -> Payload {
        Payload { bytes: self.bytes.to_vec(), bodies: self.bodies.map(Body::here).collect(), ..Payload::default() }
    }

    /// The body of this length that was announced in the bytes; `None` if it is in the bytes too.
    pub(crate) fn body(&mut self, len: usize) -> Result<Option<Blob>, CodecFault> {
        if !self.apart || len < LONG {
            return Ok(None);
        }
        match self.bodies.next() {
            Some(body) if body.len() == len => Ok(Some(body)),
            Some(body) => Err(match body.missing() {
                Some(why) => CodecFault::new(format_args!("a blob of {len} bytes is not to be had: {why}")),
                None => {
                    let there = body.len();
                    CodecFault::new(format_args!("a body of {len} bytes announced, one of {there} is there"))
                }
            }),
            None => Err(CodecFault::new(format_args!("a body of {len} bytes announced, none is there"))),
        }
    }
}

impl<'b> From<&'b [u8]> for Encoded<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Self::new(bytes, Vec::new())
    }
}

/// Called with room that is about to be filled, if it is long.
type Prepare = fn(&mut [MaybeUninit<u8>]);

static PREPARE: OnceLock<Prepare> = OnceLock::new();

/// Has `prepare` called before a long byte string is copied: a backend may know how to make that cheaper.
pub fn prepare_copies(prepare: Prepare) {
    // Whoever comes first.
    let _ = PREPARE.set(prepare);
}

fn copied(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len());
    if let Some(prepare) = PREPARE.get() {
        prepare(copy.spare_capacity_mut());
    }
    copy.extend_from_slice(bytes);
    copy
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

    use super::*;
    use crate::codec::{Data, Postcard, at_end};

    fn long(byte: u8) -> Vec<u8> {
        vec![byte; LONG]
    }

    /// Writes a value and hands it over, as a submission does.
    fn written<T: Data>(value: T) -> (Vec<u8>, Vec<Blob>) {
        let mut out = Payload::with_bodies();
        value.encode::<Postcard>(&mut out).expect("writable");
        value.hand_over(&mut out);
        out.into_parts()
    }

    fn read<T: Data>(bytes: &[u8], bodies: Vec<Blob>) -> Result<T, CodecFault> {
        let mut from = Encoded::new(bytes, bodies);
        let value = T::decode::<Postcard>(&mut from)?;
        at_end(&from, value)
    }

    #[test]
    fn long_bytes_and_texts_are_moved_and_never_copied() {
        let bytes = long(7);
        let at = bytes.as_ptr();
        let (written_bytes, bodies) = written(bytes);
        assert_eq!((written_bytes.len(), bodies.len(), bodies[0].as_ptr()), (3, 1, at));
        let back: Vec<u8> = read(&written_bytes, bodies).expect("readable");
        assert_eq!((back.as_ptr(), back.len()), (at, LONG));

        let text = "ä".repeat(LONG);
        let (at, same) = (text.as_ptr(), text.clone());
        let (written_bytes, bodies) = written(text);
        assert_eq!(bodies[0].as_ptr(), at);
        let back: String = read(&written_bytes, bodies).expect("readable");
        assert_eq!((back.as_ptr(), &back), (at, &same));
    }

    /// Bytes in one piece, as the crate `serde_bytes` has them.
    #[derive(Debug, PartialEq)]
    struct Whole(Vec<u8>);

    impl Serialize for Whole {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_bytes(&self.0)
        }
    }

    impl<'de> Deserialize<'de> for Whole {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Bytes;
            impl Visitor<'_> for Bytes {
                type Value = Whole;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Whole, E> {
                    Ok(Whole(bytes.to_vec()))
                }
                fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Whole, E> {
                    Ok(Whole(bytes))
                }
            }
            from.deserialize_byte_buf(Bytes)
        }
    }

    #[test]
    fn nested_long_bytes_are_copied_once_and_then_moved() {
        let value = (1_u8, vec![Whole(long(1)), Whole(vec![2]), Whole(long(3))], "text".to_owned());
        let same = (1_u8, vec![Whole(long(1)), Whole(vec![2]), Whole(long(3))], "text".to_owned());
        let (bytes, bodies) = written(value);
        let at: Vec<_> = bodies.iter().map(|body| body.as_ptr()).collect();
        assert!(bytes.len() < 20, "{bytes:?}");
        let back: (u8, Vec<Whole>, String) = read(&bytes, bodies.clone()).expect("readable, by copying what is shared");
        assert_eq!(back, same);
        let back: (u8, Vec<Whole>, String) = read(&bytes, bodies).expect("readable");
        assert_eq!((back.1[0].0.as_ptr(), back.1[2].0.as_ptr()), (at[0], at[1]));
        assert_eq!(back, same);
    }

    #[test]
    fn short_bytes_and_values_without_bodies_stay_in_one_piece() {
        let (bytes, bodies) = written(vec![7_u8; LONG - 1]);
        assert_eq!((bytes.len(), bodies.len()), (LONG - 1 + 3 - usize::from(LONG - 1 < 1 << 14), 0));
        let mut out = Payload::new();
        long(7).encode::<Postcard>(&mut out).expect("writable");
        long(7).hand_over(&mut out);
        let (bytes, bodies) = out.into_parts();
        assert_eq!((bytes, bodies.len()), (postcard::to_allocvec(&long(7)).unwrap(), 0));
    }

    #[test]
    fn several_values_find_their_bodies_again() {
        let mut out = Payload::with_bodies();
        let values = [long(1), vec![2], long(3)];
        values.iter().for_each(|value| value.encode::<Postcard>(&mut out).expect("writable"));
        let size = out.size();
        values.into_iter().for_each(|value| value.hand_over(&mut out));
        assert_eq!((out.size(), out.extent().bodies), (size, 2));
        let (bytes, bodies) = out.into_parts();
        let mut from = Encoded::new(&bytes, bodies);
        for expected in [long(1), vec![2], long(3)] {
            assert_eq!(Vec::<u8>::decode::<Postcard>(&mut from).expect("readable"), expected);
        }
        assert!(from.is_empty());
    }

    #[test]
    fn bodies_that_are_false_are_refused() {
        let (bytes, bodies) = written(long(7));
        let says = |bodies: Vec<Blob>| read::<Vec<u8>>(&bytes, bodies).expect_err("must not be read").to_string();
        assert!(says(vec![vec![7; LONG - 1].into()]).contains("one of 32767 is there"));
        assert!(says(Vec::new()).contains("0 are there"));
        assert!(says([bodies.clone(), bodies.clone()].concat()).contains("1 bodies left over"));
        let none = [&bytes[..], &bytes[..]].concat();
        let fault = read::<(Vec<u8>, Vec<u8>)>(&none, bodies.clone()).expect_err("byte by byte, or not at all");
        assert!(!fault.to_string().is_empty());
        // 2^40 bytes, as a body and as none.
        let large = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        assert!(read::<Vec<u8>>(&large, bodies).is_err());
        assert!(read::<Vec<u8>>(&large, Vec::new()).is_err());
        let not_text = read::<String>(&bytes, vec![vec![0xff; LONG].into()]).expect_err("no text");
        assert!(not_text.to_string().contains("utf-8"), "{not_text}");
    }

    #[test]
    fn what_is_owed_and_never_comes_is_an_error_of_the_reader() {
        let mut out = Payload::with_bodies();
        long(7).encode::<Postcard>(&mut out).expect("writable");
        let (bytes, bodies) = out.into_parts();
        let fault = read::<Vec<u8>>(&bytes, bodies).expect_err("must not be read");
        assert!(fault.to_string().contains("one of 0 is there"), "{fault}");
    }

    #[test]
    fn what_is_taken_back_leaves_no_place() {
        let mut out = Payload::with_bodies();
        let start = out.extent();
        long(1).encode::<Postcard>(&mut out).expect("writable");
        out.truncate(start);
        assert!(out.is_empty());
        long(2).encode::<Postcard>(&mut out).expect("writable");
        long(2).hand_over(&mut out);
        let (bytes, bodies) = out.into_parts();
        assert_eq!(read::<Vec<u8>>(&bytes, bodies).expect("readable"), long(2));
    }

    #[test]
    fn parts_are_cut_off_only_where_they_are() {
        let bytes = [1, 2, 3];
        let mut whole = Encoded::new(&bytes, vec![long(1).into(), long(2).into()]);
        assert!(whole.split(Extent { bytes: 4, bodies: 0 }).is_none());
        assert!(whole.split(Extent { bytes: 1, bodies: 3 }).is_none());
        assert!(whole.split(Extent { bytes: usize::MAX, bodies: usize::MAX }).is_none());
        assert_eq!(whole.size(), 3 + 2 * LONG);
        let front = whole.split(Extent { bytes: 2, bodies: 1 }).expect("it is there");
        assert_eq!((front.size(), whole.size()), (2 + LONG, 1 + LONG));
    }
}
