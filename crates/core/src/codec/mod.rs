//! How arguments and results become bytes.
//!
//! [`Data`] is what may travel: any serde type that owns its content. [`Codec`] is the format; the
//! only one is [`Postcard`], under strict rules: what it cannot carry faithfully is refused,
//! never altered. Paths travel byte for byte although serde refuses those that are not UTF-8,
//! and `Vec<u8>` is moved or copied whole instead of byte by byte, both as arguments and results of their own.

mod direct;
mod payload;
mod strict;

use std::fmt;

pub(crate) use payload::LONG;
pub use payload::{Encoded, Extent, Payload, prepare_copies};
use serde::{Serialize, de::DeserializeOwned};

/// A value that can travel between processes: any `Serialize + DeserializeOwned + Send + 'static` type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between processes",
    label = "not a serde type that owns its content",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or write `#[task(local)]` to keep the task in this process"
)]
pub trait Data: Sized + Send + 'static {
    /// Appends the value to `out`. Bodies that can be moved there are not there before [`hand_over`](Self::hand_over).
    ///
    /// # Errors
    /// If the format cannot carry the value as it is.
    fn encode<C: Codec>(&self, out: &mut Payload) -> Result<(), CodecFault>;
    /// Moves into `out` what [`encode`](Self::encode) has left in the value. Several values do both in the same order.
    /// What is left is dropped; a panic in that is logged.
    fn hand_over(self, out: &mut Payload);
    /// Takes a value from the front of `from`.
    ///
    /// # Errors
    /// If that is no such value.
    fn decode<C: Codec>(from: &mut Encoded<'_>) -> Result<Self, CodecFault>;
    /// Reads a value from JSON text.
    ///
    /// # Errors
    /// serde_json's, with line and column.
    fn from_json(text: &str) -> Result<Self, serde_json::Error>;
    /// Writes the value as JSON.
    ///
    /// # Errors
    /// serde_json's, where JSON has no such value.
    fn to_json(&self) -> Result<serde_json::Value, serde_json::Error>;
}

// Without this the compiler descends into serde's bounds, and our words are never shown.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Data for T {
    fn encode<C: Codec>(&self, out: &mut Payload) -> Result<(), CodecFault> {
        direct::encode::<T, C>(self, out)
    }
    fn hand_over(self, out: &mut Payload) {
        direct::hand_over(self, out);
    }
    fn decode<C: Codec>(from: &mut Encoded<'_>) -> Result<Self, CodecFault> {
        direct::decode::<T, C>(from)
    }
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
    fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// A format for serde values.
pub trait Codec: 'static {
    /// Appends a value.
    ///
    /// # Errors
    /// If the format cannot carry it as it is.
    fn encode<T: Serialize>(value: &T, out: &mut Payload) -> Result<(), CodecFault>;
    /// Takes a value from the front of `from`.
    ///
    /// # Errors
    /// If that is no such value.
    fn decode<T: DeserializeOwned>(from: &mut Encoded<'_>) -> Result<T, CodecFault>;
}

/// The default format: [postcard](https://postcard.jamesmunns.com/wire-format), with checks.
///
/// It refuses, with words that say what to do:
///
/// - a field that only one side leaves out (`skip_serializing`, `skip_serializing_if`, `skip_deserializing`;
///   `skip` on both is fine), and variants behind one with `skip`, which serde numbers differently on both sides;
/// - `flatten`, `untagged`, `tag`, `serde_json::Value`, and maps and sequences of unknown length;
/// - more than 128 levels of nesting, and more than 2^20 elements that take no bytes, like `()`.
///
/// Structs cost one byte more than in plain postcard, variants of enums two.
#[derive(Debug)]
pub enum Postcard {}

impl Codec for Postcard {
    fn encode<T: Serialize>(value: &T, out: &mut Payload) -> Result<(), CodecFault> {
        strict::encode(value, out)
    }
    fn decode<T: DeserializeOwned>(from: &mut Encoded<'_>) -> Result<T, CodecFault> {
        strict::decode(from)
    }
}

impl Postcard {
    /// Appends a value to bytes; none of it becomes a body.
    ///
    /// # Errors
    /// If the format cannot carry it as it is. `out` is as it was then.
    pub fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecFault> {
        strict::append(value, out)
    }

    /// Reads a value from the front of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// If the bytes are not such a value.
    pub fn split<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecFault> {
        strict::split(bytes)
    }
}

/// Why a value could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecFault(pub(crate) String);

impl CodecFault {
    /// A fault with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl fmt::Display for CodecFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecFault {}

/// Refuses what stands behind the end of a value: it is a sign that writer and reader disagree.
pub(crate) fn at_end<T>(rest: &Encoded<'_>, value: T) -> Result<T, CodecFault> {
    match rest.left() {
        Extent { bytes: 0, bodies: 0 } => Ok(value),
        Extent { bytes: 0, bodies } => Err(CodecFault::new(format_args!("{bodies} bodies left over behind the value"))),
        Extent { bytes, .. } => Err(CodecFault::new(format_args!("{bytes} bytes left over behind the value"))),
    }
}

/// Panics unless `value` survives the way to a worker and back unaltered. For tests of your own types.
///
/// # Panics
/// If the value cannot be written, cannot be read, or comes back different.
///
/// ```
/// taskloom_core::assert_round_trip(&(7_u8, Some("text".to_owned())));
/// ```
#[track_caller]
pub fn assert_round_trip<T: Data + PartialEq + fmt::Debug>(value: &T) {
    let mut out = Payload::new();
    if let Err(fault) = value.encode::<Postcard>(&mut out) {
        panic!("{value:?} cannot be written: {fault}");
    }
    let (bytes, bodies) = out.into_parts();
    let mut rest = Encoded::new(&bytes, bodies);
    match T::decode::<Postcard>(&mut rest).and_then(|back| at_end(&rest, back)) {
        Ok(back) => assert_eq!(*value, back, "the value came back different"),
        Err(fault) => panic!("{value:?} cannot be read back: {fault}"),
    }
}
