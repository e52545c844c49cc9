//! A message of which some packets have come: nothing in it is believed before it is there.

use std::sync::LazyLock;

use taskloom_core::Blob;

use super::{HEAD, Message, WHOLE};
use crate::os;

/// A message is put together in memory: one that cannot fit would abort us.
static LONGEST: LazyLock<u64> = LazyLock::new(os::files::machine_memory);

/// Most memory that is set aside on the word of a length alone.
const CREDIBLE: usize = 256 << 20;

/// A message that has not come whole.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The bytes so far; when they are here, the bodies' lengths stand behind them.
    bytes: Part,
    length: usize,
    /// Lengths of the bodies that have not begun, last first.
    lengths: Option<Vec<usize>>,
    bodies: Vec<Blob>,
    body: Option<Part>,
    /// Most bytes of a packet.
    part: usize,
}

/// A message, whole or not.
#[derive(Debug)]
pub(crate) enum Progress {
    Done(Message),
    More(Begun),
}

impl Begun {
    /// Reads the first packet of a message.
    pub(crate) fn read(mut packet: Vec<u8>, part: usize) -> Result<Progress, String> {
        match packet.pop() {
            Some(WHOLE) => Ok(Progress::Done(packet.into())),
            Some(HEAD) => {
                let count = number(&mut packet).ok_or_else(no_message)?;
                let length = number(&mut packet).ok_or_else(no_message)?;
                let lengths = count.checked_mul(8).ok_or_else(too_long)?;
                let total = length.checked_add(lengths).filter(|total| *total <= *LONGEST).ok_or_else(too_long)?;
                let mut bytes = Part::new(total as usize)?;
                bytes.room(part)?.extend_from_slice(&packet);
                bytes.came(packet.len(), part)?;
                let begun =
                    Self { bytes, length: length as usize, lengths: None, bodies: Vec::new(), body: None, part };
                begun.advance()
            }
            _ => Err(no_message()),
        }
    }

    /// Takes another packet.
    pub(crate) fn go_on(mut self, packet: &[u8]) -> Result<Progress, String> {
        self.room()?.extend_from_slice(packet);
        self.came(packet.len())
    }

    /// Where another packet is to be appended.
    pub(crate) fn room(&mut self) -> Result<&mut Vec<u8>, String> {
        self.body.as_mut().unwrap_or(&mut self.bytes).room(self.part)
    }

    /// A packet of so many bytes has been appended.
    pub(crate) fn came(mut self, bytes: usize) -> Result<Progress, String> {
        self.body.as_mut().unwrap_or(&mut self.bytes).came(bytes, self.part)?;
        self.advance()
    }

    /// Begins with what comes next, when something has come whole.
    fn advance(mut self) -> Result<Progress, String> {
        if self.lengths.is_none() && self.bytes.is_whole() {
            self.lengths = Some(self.read_lengths()?);
        }
        let Some(lengths) = &mut self.lengths else { return Ok(Progress::More(self)) };
        loop {
            match &self.body {
                Some(part) if !part.is_whole() => return Ok(Progress::More(self)),
                _ => self.bodies.extend(self.body.take().map(|part| Blob::from(part.bytes))),
            }
            match lengths.pop() {
                Some(length) => self.body = Some(Part::new(length)?),
                None => return Ok(Progress::Done(Message { bytes: self.bytes.bytes, bodies: self.bodies })),
            }
        }
    }

    fn read_lengths(&mut self) -> Result<Vec<usize>, String> {
        let bytes = &mut self.bytes.bytes;
        let mut lengths = Vec::with_capacity((bytes.len() - self.length) / 8);
        let mut all = self.length as u64;
        while bytes.len() > self.length {
            let length = number(bytes).ok_or_else(no_message)?;
            all = all.checked_add(length).filter(|all| *all <= *LONGEST).ok_or_else(too_long)?;
            lengths.push(length as usize);
        }
        Ok(lengths)
    }
}

/// Bytes of a length that is known.
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    length: usize,
}

impl Part {
    fn new(length: usize) -> Result<Self, String> {
        let mut this = Self { bytes: Vec::new(), length };
        this.reserve()?;
        Ok(this)
    }

    fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }

    fn room(&mut self, part: usize) -> Result<&mut Vec<u8>, String> {
        if self.bytes.capacity() - self.bytes.len() < part.min(self.length - self.bytes.len()) {
            self.reserve()?;
        }
        Ok(&mut self.bytes)
    }

    /// A packet has as much as is wanted and fits into one.
    fn came(&self, bytes: usize, part: usize) -> Result<(), String> {
        if bytes == (self.length + bytes).saturating_sub(self.bytes.len()).min(part) {
            Ok(())
        } else {
            Err(format!("{bytes} bytes in the middle of a message"))
        }
    }

    /// Room for all of it; or, if that is a lot, for as much again as has come.
    fn reserve(&mut self) -> Result<(), String> {
        let most = CREDIBLE.max(self.bytes.len());
        let more = (self.length - self.bytes.len()).min(most);
        self.bytes.try_reserve_exact(more).map_err(|_| too_long())?;
        os::memory::prefer_large_pages(self.bytes.spare_capacity_mut());
        Ok(())
    }
}

/// A number from the end of some bytes.
fn number(bytes: &mut Vec<u8>) -> Option<u64> {
    let (rest, number) = bytes.split_last_chunk()?;
    let (left, number) = (rest.len(), u64::from_le_bytes(*number));
    bytes.truncate(left);
    Some(number)
}

fn no_message() -> String {
    "a packet that begins no message".to_owned()
}

fn too_long() -> String {
    "a message longer than this machine's memory".to_owned()
}
