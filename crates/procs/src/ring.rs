//! One direction of the fast lane: a ring of packets in shared memory, one process writes and one reads.
//!
//! ```text
//!   words:   tail (written)   head (read)   bell (the reader sleeps)   room (the writer sleeps)
//!   bytes:   ┌────────┬──────────────────────────────┬────────┐
//!            │  free  │ head … packets, whole … tail │  free  │    positions only grow; their place is the
//!            └────────┴──────────────────────────────┴────────┘    position modulo the size, a power of two
//!   packet:  length (32 bits) , position (32) ; bytes ; up to the next multiple of 8
//! ```
//!
//! # Order
//! The writer copies a packet, header and all, and then moves `tail` behind it with a release store; the reader loads `tail`
//! with acquire, so it sees whole packets or none. The reader copies a packet out and then moves `head` with
//! release; the writer loads `head` with acquire before it reuses the place. Each side keeps its own position to itself and
//! only publishes it: what the other side writes over it changes nothing here.
//!
//! # Sleeping, and why no wake-up is lost
//! A reader that finds nothing sets `bell`, then looks once more, then sleeps while `bell` is set. A writer moves
//! `tail`, then looks at `bell`; if it is set, it clears it and wakes. Between the two steps of each there is a fence, sequentially
//! consistent. So of "the reader's second look" and "the writer's look at the bell" at least one sees what the other side did
//! before: the reader finds the packet, or the writer finds the bell. If the writer clears the bell before the reader
//! sleeps, the futex finds another value and does not sleep. The same with the roles exchanged for `room`. Bells are swapped, never just
//! stored: each change reads the one before it, so that there is one chain of them whoever makes them.
//!
//! A bell has two tones. [`EAGER`] wants to hear of everything; [`LAZY`] only of what is urgent: the reader has just taken
//! a heap of packets and looks again by itself in a moment, and the writer saves a system call a packet. What is urgent is the
//! writer's to say: that it has nothing more to do.
//!
//! # What the other side can do
//! Everything that comes from it is checked before it is believed: `head` and `tail` can be no further apart than
//! the ring is long, a packet ends before `tail`, its header has its own position in it. What is read has been copied before
//! anybody looks at it. A writer looks at its own `tail` before it writes: if that is not what it left there, somebody writes anywhere.
//! If a check fails the ring is [`Broken`], for good: nothing tells where the next packet begins. A side that
//! does not read, or does not wake, is a side that has stopped: its owner's clocks and its death end the wait.

use std::ops::Range;

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, futex};

/// The words of one direction, in shared memory; each on cache lines of its own, as the two sides write to them all the time.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct Words {
    tail: Apart<AtomicU64>,
    head: Apart<AtomicU64>,
    bell: Apart<AtomicU32>,
    room: Apart<AtomicU32>,
}

#[repr(C, align(128))]
#[derive(Debug, Default)]
struct Apart<T>(T);

/// The other side is awake, or will look by itself.
pub(crate) const AWAKE: u32 = 0;
/// Wake me when anything comes.
pub(crate) const EAGER: u32 = 1;
/// Wake me when something urgent comes; I look by myself soon.
pub(crate) const LAZY: u32 = 2;

/// Where a ring's words and bytes are.
pub(crate) trait Memory {
    fn words(&self) -> &Words;
    /// Number of bytes, a power of two.
    fn size(&self) -> u64;
    /// Copies bytes to a place, which has room for them up to the end of the memory.
    fn write(&self, place: u64, bytes: &[u8]);
    /// The eight bytes at a place, which is a multiple of eight; little endian.
    fn word(&self, place: u64) -> u64;
    fn set_word(&self, place: u64, word: u64);
    /// Appends bytes from a place on.
    fn read(&self, place: u64, length: u64, out: &mut Vec<u8>);
}

/// The other side has written what cannot be: no packet will be found any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

const HEADER: u64 = 8;
/// What of a packet's position is in its header: memory that was scribbled over is not taken for a packet.
fn mark(position: u64) -> u64 {
    (position / HEADER + 1) << 32
}

/// Bytes that a packet takes in the ring.
pub(crate) fn footprint(length: usize) -> u64 {
    HEADER + (length as u64).next_multiple_of(HEADER)
}

/// The writing end. One thread at a time.
#[derive(Debug)]
pub(crate) struct Producer<M> {
    memory: M,
    tail: u64,
    /// `head`, when it was looked at last.
    head: u64,
}

impl<M: Memory> Producer<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory, tail: 0, head: 0 }
    }

    /// Writes a packet that consists of these pieces, if there is room. Wakes nobody.
    pub(crate) fn push(&mut self, pieces: &[&[u8]]) -> Result<bool, Broken> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if !self.is_intact() {
            return Err(Broken("the end of what was written has been overwritten"));
        }
        if !self.has_room(footprint(length))? {
            return Ok(false);
        }
        self.memory.set_word(self.tail & (self.memory.size() - 1), length as u64 | mark(self.tail));
        let mut at = self.tail + HEADER;
        pieces.iter().for_each(|piece| self.put(&mut at, piece));
        self.tail += footprint(length);
        self.memory.words().tail.0.store(self.tail, Ordering::Release);
        Ok(true)
    }

    /// Wakes the reader, if it wants to be woken by this.
    pub(crate) fn ring(&self, urgent: bool) {
        fence(Ordering::SeqCst);
        let bell = &self.memory.words().bell.0;
        let tone = bell.load(Ordering::Relaxed);
        if tone == EAGER || (urgent && tone != AWAKE) {
            wake(bell);
        }
    }

    /// Sleeps until there may be more room than there was. Returns for no reason too.
    pub(crate) fn wait_for_room(&mut self, length: usize, ended: impl Fn() -> bool) -> Result<(), Broken> {
        let room = &self.memory.words().room.0;
        room.swap(EAGER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if ended() || self.has_room(footprint(length))? {
            self.memory.words().room.0.swap(AWAKE, Ordering::Relaxed);
        } else {
            futex::wait(&self.memory.words().room.0, EAGER, None);
        }
        Ok(())
    }

    /// Whether the word that is ours alone is as we left it: what overwrites memory by the way does not leave it so.
    pub(crate) fn is_intact(&self) -> bool {
        self.memory.words().tail.0.load(Ordering::Relaxed) == self.tail
    }

    /// Writes bytes where packets are expected, and says that they are there, as a program would that writes anywhere.
    #[cfg(any(test, feature = "chaos"))]
    pub(crate) fn scribble(&self, noise: &[u8]) {
        let mut at = self.tail;
        self.put(&mut at, noise);
        self.memory.words().tail.0.store(self.tail + footprint(noise.len()), Ordering::Release);
        self.ring(true);
    }

    fn has_room(&mut self, bytes: u64) -> Result<bool, Broken> {
        let size = self.memory.size();
        if self.tail + bytes - self.head > size {
            let head = self.memory.words().head.0.load(Ordering::Acquire);
            // It never goes back, nor beyond what was written.
            if head < self.head || head > self.tail {
                return Err(Broken("it has read what was never written"));
            }
            self.head = head;
        }
        Ok(self.tail + bytes - self.head <= size)
    }

    fn put(&self, at: &mut u64, bytes: &[u8]) {
        let size = self.memory.size();
        let place = *at & (size - 1);
        let (first, rest) = bytes.split_at(bytes.len().min((size - place) as usize));
        self.memory.write(place, first);
        if !rest.is_empty() {
            self.memory.write(0, rest);
        }
        *at += bytes.len() as u64;
    }
}

/// Most bytes of a ring that are copied out together: what is larger comes by itself.
const MOST_IN_HEAP: u64 = 8 << 10;

/// Packets that have been copied out of a ring together.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    bytes: Vec<u8>,
    packets: Vec<Range<usize>>,
}

impl Heap {
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().map(|packet| &self.bytes[packet.clone()])
    }
}

/// The reading end. One thread at a time.
#[derive(Debug)]
pub(crate) struct Consumer<M> {
    memory: M,
    head: u64,
    /// `tail`, when it was looked at last.
    tail: u64,
}

impl<M: Memory> Consumer<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory, head: 0, tail: 0 }
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Whether there is a packet.
    pub(crate) fn has_some(&mut self) -> Result<bool, Broken> {
        if self.head == self.tail {
            let tail = self.memory.words().tail.0.load(Ordering::Acquire);
            if tail < self.tail || tail - self.head > self.memory.size() || !tail.is_multiple_of(HEADER) {
                return Err(Broken("it has written more than there is room for"));
            }
            self.tail = tail;
        }
        Ok(self.head != self.tail)
    }

    /// Whether there may be a packet. Takes no note of anything: for looking.
    pub(crate) fn peek(&self) -> bool {
        self.memory.words().tail.0.load(Ordering::Relaxed) != self.head
    }

    /// Appends the packet at the front to `out`. Whether there was one. A writer who waits for room is woken.
    pub(crate) fn pop(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        if !self.has_some()? {
            return Ok(false);
        }
        let length = self.length(0, self.memory.word(self.head & (self.memory.size() - 1)))?;
        self.get(self.head + HEADER, length, out);
        self.leave_behind(footprint(length as usize));
        Ok(true)
    }

    /// Copies packets from the front out together: as many as lie within [`MOST_IN_HEAP`] bytes, up to one that is not `wanted`.
    pub(crate) fn pop_heap(&mut self, heap: &mut Heap, wanted: impl Fn(&[u8]) -> bool) -> Result<(), Broken> {
        heap.bytes.clear();
        heap.packets.clear();
        if !self.has_some()? {
            return Ok(());
        }
        self.get(self.head, (self.tail - self.head).min(MOST_IN_HEAP), &mut heap.bytes);
        let mut at = 0;
        while let Some((head, rest)) = heap.bytes.get(at..).and_then(|rest| rest.split_first_chunk()) {
            let length = match self.length(at as u64, u64::from_le_bytes(*head)) {
                Ok(length) => length as usize,
                // It will be found again when it is the first.
                Err(broken) if at == 0 => return Err(broken),
                Err(_) => break,
            };
            if !rest.get(..length).is_some_and(&wanted) {
                break;
            }
            let start = at + HEADER as usize;
            heap.packets.push(start..start + length);
            at += footprint(length) as usize;
        }
        if at > 0 {
            self.leave_behind(at as u64);
        }
        Ok(())
    }

    /// The length of a packet that begins so far behind the front, by its header.
    fn length(&self, behind: u64, header: u64) -> Result<u64, Broken> {
        let (position, length) = (self.head + behind, header & u64::from(u32::MAX));
        if header & !u64::from(u32::MAX) != mark(position) || footprint(length as usize) > self.tail - position {
            return Err(Broken("what should be a packet is none"));
        }
        Ok(length)
    }

    /// So much has been copied out. A writer who waits for room is woken.
    fn leave_behind(&mut self, bytes: u64) {
        self.head += bytes;
        self.memory.words().head.0.store(self.head, Ordering::Release);
        fence(Ordering::SeqCst);
        let room = &self.memory.words().room.0;
        if room.load(Ordering::Relaxed) != AWAKE {
            wake(room);
        }
    }

    /// Says how it wants to be woken. Whether it may [sleep](sleep): nothing has come before that.
    pub(crate) fn set_bell(&mut self, tone: u32) -> Result<bool, Broken> {
        self.memory.words().bell.0.swap(tone, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet = !self.has_some()?;
        if !quiet {
            self.silence();
        }
        Ok(quiet)
    }

    /// It is awake, and wants no waking.
    pub(crate) fn silence(&self) {
        let bell = &self.memory.words().bell.0;
        // Not written to without need: the other side looks at it all the time.
        if bell.load(Ordering::Relaxed) != AWAKE {
            bell.swap(AWAKE, Ordering::Relaxed);
        }
    }

    fn get(&self, at: u64, length: u64, out: &mut Vec<u8>) {
        let size = self.memory.size();
        let place = at & (size - 1);
        let first = length.min(size - place);
        self.memory.read(place, first, out);
        if first < length {
            self.memory.read(0, length - first, out);
        }
    }
}

/// Sleeps until the bell of this tone is rung, or for this long. Returns for no reason too.
pub(crate) fn sleep(words: &Words, tone: u32, limit: Option<std::time::Duration>) {
    futex::wait(&words.bell.0, tone, limit);
}

/// Wakes whoever sleeps at either end, for a reason that is not in the ring: told before this, and looked at by whoever has
/// set a bell and is about to sleep.
pub(crate) fn wake_all(words: &Words) {
    fence(Ordering::SeqCst);
    for word in [&words.bell.0, &words.room.0] {
        word.swap(AWAKE, Ordering::Relaxed);
        // Whatever the word was: another thread may have silenced the bell by which one sleeps.
        futex::wake(word);
    }
}

fn wake(word: &AtomicU32) {
    if word.swap(AWAKE, Ordering::Relaxed) != AWAKE {
        futex::wake(word);
    }
}
