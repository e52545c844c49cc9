//! By what a success is known.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::input::Text;

/// A hash of task, version and input: 96 bits, of which two are equal by accident once in 10^17 among a million inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 12]);

/// Makes the keys of one task's inputs.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Sha256);

impl Keys {
    pub(crate) fn new(task: &str, version: &str) -> Self {
        let mut hash = Sha256::new();
        part(&mut hash, task.as_bytes());
        part(&mut hash, version.as_bytes());
        Self(hash)
    }

    pub(crate) fn key(&self, text: &Text) -> Key {
        let mut hash = self.0.clone();
        match text {
            // A string that is no JSON is another input than the same letters as JSON.
            Text::Json(text) => part(hash_of(&mut hash, b"j"), text.as_bytes()),
            Text::Plain(text) => part(hash_of(&mut hash, b"p"), text.as_bytes()),
            Text::Bytes(bytes) | Text::BadJson(bytes) => part(hash_of(&mut hash, b"p"), bytes),
            Text::Several(words) => words.iter().for_each(|word| part(hash_of(&mut hash, b"s"), word)),
        }
        let digest = hash.finalize();
        let mut key = [0; 12];
        key.copy_from_slice(&digest[..12]);
        Key(key)
    }
}

fn hash_of<'a>(hash: &'a mut Sha256, kind: &[u8]) -> &'a mut Sha256 {
    hash.update(kind);
    hash
}

/// With its length, so that two parts are never one.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

impl Key {
    /// How many hexadecimal digits it is written with.
    pub(crate) const DIGITS: usize = 24;

    /// Writes its digits.
    pub(crate) fn append_to(&self, text: &mut String) {
        let mut digits = [0; Self::DIGITS];
        for (pair, byte) in digits.chunks_mut(2).zip(self.0) {
            for (digit, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"[usize::from(value)];
            }
        }
        text.push_str(str::from_utf8(&digits).unwrap_or_default());
    }

    /// Reads them.
    fn of_digits(digits: &[u8]) -> Option<Self> {
        let mut key = [0; 12];
        if digits.len() != Self::DIGITS {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
        }
        Some(Self(key))
    }

    /// Reads keys that were written one behind the other.
    pub(super) fn several(digits: &str) -> impl Iterator<Item = Self> {
        digits.as_bytes().chunks(Self::DIGITS).filter_map(Self::of_digits)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = String::with_capacity(Self::DIGITS);
        self.append_to(&mut digits);
        f.write_str(&digits)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::of_digits(text.as_bytes()).ok_or_else(|| D::Error::custom("not a key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_inputs_tasks_or_versions_do() {
        let plain = |text: &str| Text::Plain(text.into());
        let keys = Keys::new("a", "1");
        let mut all = vec![
            keys.key(&plain("x")),
            keys.key(&Text::Json("x".into())),
            keys.key(&Text::Several(vec![b"x".to_vec()])),
            keys.key(&Text::Several(vec![b"x".to_vec(), Vec::new()])),
            keys.key(&plain("y")),
            Keys::new("a", "2").key(&plain("x")),
            Keys::new("b", "1").key(&plain("x")),
            Keys::new("a1", "").key(&plain("x")),
        ];
        assert_eq!(keys.key(&plain("x")), keys.key(&plain("x")));
        let count = all.len();
        all.sort_by_key(ToString::to_string);
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_key_is_read_back() {
        let key = Keys::new("a", "1").key(&Text::Plain("x".into()));
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!((text.len(), serde_json::from_str::<Key>(&text).unwrap()), (26, key));
        assert!(serde_json::from_str::<Key>("\"12\"").is_err());
        assert!(serde_json::from_str::<Key>("\"xxxxxxxxxxxxxxxxxxxxxxxx\"").is_err());
    }
}
