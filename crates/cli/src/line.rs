//! Text that is short more often than not.

use std::{fmt, ops::Deref};

/// Longest text that takes no memory of its own: with its length and kind it is as long as four words.
const SHORT: usize = 30;

/// A text, in place if it is short: most of what a short input costs would be the memory for it.
pub(crate) struct Line(Kept);

enum Kept {
    Short(u8, [u8; SHORT]),
    Long(String),
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self(Kept::Short(text.len() as u8, short))
            }
            None => Self(Kept::Long(text.to_owned())),
        }
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        if text.len() <= SHORT { text.as_str().into() } else { Self(Kept::Long(text)) }
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // It was text when it was put there.
            Kept::Short(length, bytes) => str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Kept::Long(text) => text,
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_what_it_was() {
        for length in [0, 1, 14, 15, 16, 29, 30, 31, 32, 1000] {
            for text in ["x".repeat(length), "é".repeat(length)] {
                assert_eq!((&*Line::from(&*text), &*Line::from(text.clone())), (&*text, &*text));
            }
        }
        assert_eq!(size_of::<Line>(), 32);
    }
}
