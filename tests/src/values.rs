//! Values that are hard to carry, to panic with, or to drop.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::scratch::Gate;

/// Cannot be written: its `Serialize` says why.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Unwritable(pub u64);

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("too heavy to lift"))
    }
}

/// Cannot be read back: its `Deserialize` says why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unreadable(pub u64);

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        Err(de::Error::custom(format_args!("the seal of {number} is broken")))
    }
}

/// Panics while it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PanicsWhenWritten;

impl Serialize for PanicsWhenWritten {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("dropped while writing")
    }
}

/// Panics while it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanicsWhenRead;

impl<'de> Deserialize<'de> for PanicsWhenRead {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("dropped while reading")
    }
}

/// A number that cannot be read if it ends with a 7, and panics while it is read if it ends with a 3.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moody(pub u64);

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        match number % 10 {
            3 => panic!("dropped {number} while reading"),
            7 => Err(serde::de::Error::custom(format!("{number} is not for reading"))),
            _ => Ok(Self(number)),
        }
    }
}

/// Its reader must look at the bytes to know what they are, which the codec does not show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Untagged {
    /// As a number.
    Number(u64),
    /// As text.
    Text(String),
}

/// A map whose length nobody knows before its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flat {
    /// First.
    pub name: String,
    /// The rest.
    #[serde(flatten)]
    pub rest: BTreeMap<String, u64>,
}

/// Its writer leaves a field out that its reader expects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shifting {
    /// Left out where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<u64>,
    /// What would be taken for it.
    pub second: Option<u64>,
}

/// A map that does not say how long it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Endless(pub BTreeMap<u64, u64>);

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeMap;
        let mut map = to.serialize_map(None)?;
        self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// Says itself that a part of it does not travel: only a round trip shows that it comes back different.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgetful {
    /// Travels.
    pub kept: u64,
    /// Does not.
    #[serde(skip)]
    pub forgotten: u64,
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Whoever reads it waits at the gate, if there is one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Unheld")]
pub struct Held {
    /// Opened by the test.
    pub gate: Option<Gate>,
    /// What it carries.
    pub text: String,
}

/// What is there before the wait.
#[derive(Deserialize)]
struct Unheld {
    gate: Option<Gate>,
    text: String,
}

impl From<Unheld> for Held {
    fn from(Unheld { gate, text }: Unheld) -> Self {
        if let Some(gate) = &gate {
            gate.pass(|| false);
        }
        Self { gate, text }
    }
}

/// Counts how many of its kind are alive in this process.
#[derive(Debug)]
pub struct Counted(u64);

impl Counted {
    /// One more.
    pub fn new(number: u64) -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.0
    }

    /// How many there are.
    pub fn live() -> usize {
        LIVE.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(Self::new)
    }
}

/// A panic payload that panics when it is dropped, with another one as payload, so many times.
#[derive(Debug)]
pub struct Bomb(pub u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Self(self.0 - 1));
        }
    }
}
