//! How arguments and results become bytes.
//!
//! [`Data`] is what may travel: any serde type that owns its content. [`Codec`] is the format; the
//! only one is [`Postcard`], under strict rules: what it cannot carry faithfully is refused,
//! never altered. Paths travel byte for byte although serde refuses those that are not UTF-8,
//! and `Vec<u8>` is copied whole instead of byte by byte, both as arguments and results of their own.

mod direct;
mod strict;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

/// A value that can travel between processes: any `Serialize + DeserializeOwned + Send + 'static` type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between processes",
    label = "not a serde type that owns its content",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or write `#[task(local)]` to keep the task in this process"
)]
pub trait Data: Sized + Send + 'static {
    /// Appends the value to `out`.
    ///
    /// # Errors
    /// If the format cannot carry the value as it is.
    fn encode<C: Codec>(&self, out: &mut Vec<u8>) -> Result<(), CodecFault>;
    /// Reads a value from the front of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// If the bytes are not such a value.
    fn decode<C: Codec>(bytes: &mut &[u8]) -> Result<Self, CodecFault>;
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
    fn encode<C: Codec>(&self, out: &mut Vec<u8>) -> Result<(), CodecFault> {
        direct::encode::<T, C>(self, out)
    }
    fn decode<C: Codec>(bytes: &mut &[u8]) -> Result<Self, CodecFault> {
        direct::decode::<T, C>(bytes)
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
    fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecFault>;
    /// Reads a value from the front of `bytes` and moves `bytes` behind it.
    ///
    /// # Errors
    /// If the bytes are not such a value.
    fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecFault>;
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
    fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecFault> {
        strict::encode(value, out)
    }
    fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecFault> {
        strict::decode(bytes)
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

/// Refuses bytes behind the end of a value: they are a sign that writer and reader disagree.
pub(crate) fn at_end<T>(rest: &[u8], value: T) -> Result<T, CodecFault> {
    match rest.len() {
        0 => Ok(value),
        n => Err(CodecFault::new(format_args!("{n} bytes left over behind the value"))),
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
    let mut bytes = Vec::new();
    if let Err(fault) = value.encode::<Postcard>(&mut bytes) {
        panic!("{value:?} cannot be written: {fault}");
    }
    let mut rest = &bytes[..];
    match T::decode::<Postcard>(&mut rest).and_then(|back| at_end(rest, back)) {
        Ok(back) => assert_eq!(*value, back, "the value came back different"),
        Err(fault) => panic!("{value:?} cannot be read back: {fault}"),
    }
}
