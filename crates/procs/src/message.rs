//! What goes through a channel, and how it is cut into packets and put together again.

mod begun;

use taskloom_core::{Blob, Payload};

pub(crate) use begun::{Begun, Progress};

/// What goes through a channel: bytes, and bodies that they speak of, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    /// Sent from where they are, and received into memory of their own: neither side copies them otherwise.
    pub(crate) bodies: Vec<Blob>,
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, bodies: Vec::new() }
    }
}

impl From<Payload> for Message {
    fn from(payload: Payload) -> Self {
        let (bytes, bodies) = payload.into_parts();
        Self { bytes, bodies }
    }
}

impl Message {
    /// All bytes of it.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.bodies.iter().map(|body| body.len()).sum::<usize>()
    }
}

/// The last byte of a message's first packet: nothing else follows.
pub(crate) const WHOLE: u8 = 0;
/// The last byte of a message's first packet: in front of it stands how much there is in all.
pub(crate) const HEAD: u8 = 1;

/// Cuts a message into packets of at most so many bytes, and a few for the first one, and sends them in order: each in pieces, and
/// with whether others follow.
///
/// The first packet has the beginning of the bytes. If that is not all, their length and the number of
/// bodies stand behind it; the bodies' lengths stand behind the bytes, and the bodies come last.
pub(crate) fn packets<E>(
    bytes: &[u8],
    bodies: &[Blob],
    part: usize,
    mut send: impl FnMut(&[&[u8]], bool) -> Result<(), E>,
) -> Result<(), E> {
    if bodies.is_empty() && bytes.len() <= part {
        return send(&[bytes, &[WHOLE]], false);
    }
    let lengths: Vec<u8> = bodies.iter().flat_map(|body| (body.len() as u64).to_le_bytes()).collect();
    let ends = [bytes.len() as u64, bodies.len() as u64].map(u64::to_le_bytes);
    let joined;
    let all = if lengths.is_empty() {
        bytes
    } else {
        joined = [bytes, &lengths].concat();
        &joined
    };
    let (first, rest) = all.split_at(all.len().min(part));
    let mut parts = rest.chunks(part).chain(bodies.iter().flat_map(|body| body.chunks(part))).peekable();
    send(&[first, &ends[0], &ends[1], &[HEAD]], parts.peek().is_some())?;
    while let Some(next) = parts.next() {
        send(&[next], parts.peek().is_some())?;
    }
    Ok(())
}
