//! Postcard, minus what it would alter without a word.
//!
//! Postcard writes no names and no types: a reader that expects other parts than were written takes
//! the bytes of one part for another, and often succeeds. [`ser`] and [`de`] leave scalars, texts and
//! byte strings to postcard, handle everything that has parts themselves, and refuse:
//!
//! - a field left out by one side only (`skip_serializing`, `skip_serializing_if`, `skip_deserializing`);
//! - an enum whose variants are numbered differently by the two sides, which serde_derive does behind a
//!   variant with `skip`;
//! - maps and sequences of unknown length (`flatten` is one) and announced lengths that turn out wrong;
//! - types that ask what comes next: enums tagged otherwise than by default, `serde_json::Value`;
//! - parts that a visitor leaves unread, and errors that somebody on the way swallowed;
//! - what lies deeper than [`DEPTH`] levels, before the stack ends.
//!
//! Bytes may also be wrong on purpose or by accident. Nothing is reserved on the word of a length alone,
//! and whoever reads does work in proportion to the bytes that are there: at most [`FREE`] elements of a
//! whole message may take no bytes, as those of a `Vec<()>`.
//!
//! ```text
//! struct, tuple struct   number of fields (varint)  fields…
//! variant                index (varint)  mark (2 bytes)  content as above; newtype: the value; unit: nothing
//! byte string            as postcard has it; of a body the length alone
//! anything else          as postcard has it
//! ```
//!
//! The mark is a hash of the variant's name and says whether there is content.
//!
//! Not detected, because nothing in the bytes or in serde's calls shows it: a `Serialize` and a
//! `Deserialize` written by hand that contradict each other but agree in shape; `skip_serializing` on
//! one field together with `skip_deserializing` on another of the same struct; a `skip` on both sides,
//! which says itself that the value does not travel. `assert_round_trip` finds all three.

mod de;
mod ser;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use super::{CodecFault, Encoded, Extent, Payload, direct::put_len};

/// How many values may lie within each other, options and newtypes included.
///
/// Both sides count alike, so that what could be written can be read. In unoptimised builds 128 levels
/// of small types fit in 256 KiB of stack, and threads have two megabytes: room for larger types.
const DEPTH: u32 = 128;

/// How many elements without bytes a message may have. Reading them costs time but no bytes, so an
/// announced length must not decide alone; optimised code reads a million within milliseconds.
const FREE: usize = 1 << 20;

const TOO_DEEP: &str = "the value is nested more than 128 levels deep: send it flat, as a list whose elements refer to each other by index";

/// Appends `value` to `out`. On an error, and if `value` panics, `out` is as it was.
pub(super) fn encode<T: Serialize>(value: &T, out: &mut Payload) -> Result<(), CodecFault> {
    let mut undo = Undo { keep: out.extent(), out };
    ser::write(value, undo.out)?;
    undo.keep = undo.out.extent();
    Ok(())
}

/// Takes a value from the front of `from`; on an error its bytes stay.
pub(super) fn decode<T: DeserializeOwned>(from: &mut Encoded<'_>) -> Result<T, CodecFault> {
    Ok(de::read(from)?)
}

/// Appends `value` to plain bytes, as [`encode`] does.
pub(super) fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecFault> {
    let mut payload = Payload::from(std::mem::take(out));
    let done = encode(value, &mut payload);
    *out = payload.into_parts().0;
    done
}

/// Reads a value from the front of plain bytes, as [`decode`] does.
pub(super) fn split<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecFault> {
    let mut from = Encoded::from(*bytes);
    let value = decode(&mut from)?;
    *bytes = from.bytes_mut();
    Ok(value)
}

/// Cuts `out` back to `keep` when dropped: a `Serialize` may panic, and its caller may catch that.
struct Undo<'a> {
    out: &'a mut Payload,
    keep: Extent,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.keep);
    }
}

/// [`CodecFault`] inside serde; its own type so that serde's traits stay out of the public one, and one
/// word long because it is part of every result.
#[derive(Debug)]
struct Fault(Box<CodecFault>);

impl Fault {
    #[cold]
    fn new(message: impl fmt::Display) -> Self {
        Self(Box::new(CodecFault::new(message)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl From<Fault> for CodecFault {
    fn from(fault: Fault) -> Self {
        *fault.0
    }
}

/// A struct, or a variant of an enum, as its author calls it.
#[derive(Clone, Copy)]
struct Name {
    of: &'static str,
    variant: Option<&'static str>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            Some(variant) => write!(f, "`{}::{variant}`", self.of),
            None => write!(f, "`{}`", self.of),
        }
    }
}

/// What is written beside a variant's index: whether it has content, and 15 bits of its name
/// ([FNV-1a](http://www.isthe.com/chongo/tech/comp/fnv/), folded).
fn mark(variant: &str, content: bool) -> [u8; 2] {
    let hash = variant.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (((hash ^ (hash >> 16)) as u16) << 1 | u16::from(content)).to_le_bytes()
}
