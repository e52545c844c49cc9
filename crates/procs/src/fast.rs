//! The fast lane: two rings in shared memory in place of the data and up channels of a worker.
//!
//! ```text
//!   0      words of the ring down     whoever dispatches ══▶ runner
//!   1024   words of the ring up       runner, and threads that log ══▶ the worker's reader
//!   2048   begun: which item the worker began last
//!   2176   places: where either side runs
//!   4096   bytes of the ring down, then of the ring up
//! ```
//!
//! The parent makes the memory, and tells its number among its own open files with the terms; the worker opens it by way of
//! `/proc`, and says whether it could. If not (no `/proc`, a parent that is not dumpable, a system without memory
//! files) the plain channels stay in use. The control channel is always the plain one: its end is how a worker learns of
//! its parent's death.

use std::{
    fs::File,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use taskloom_core::{Blob, backend_api::Spin};

use crate::{
    chaos,
    message::{Begun, Message, Progress, WHOLE, packets},
    os::mapping::{self, Mapping},
    places::{Places, Side},
    ring::{self, Broken, Consumer, EAGER, Heap, Memory, Producer, Words},
    transport::Gone,
};

const WORDS: [usize; 2] = [0, 1024];
/// A number, and its opposite, so that noise is not taken for one.
const BEGUN: [usize; 2] = [2048, 2056];
const BYTES: usize = 4096;
/// Bytes of each ring.
const RING: usize = 256 << 10;
const SIZE: usize = BYTES + 2 * RING;
/// How long a worker that has nothing to do looks for more: whoever has to wake up first, to send it, takes about as long.
const ATTENTION: Duration = Duration::from_micros(50);
/// A long message goes in parts of so many bytes, so that one is read while the next is written.
const PART: usize = 32 << 10;

/// A worker's shared memory.
#[derive(Debug)]
pub(crate) struct Rings {
    mapping: Arc<Mapping>,
    ended: Arc<AtomicBool>,
}

/// One of the two directions.
#[derive(Debug, Clone, Copy)]
enum Way {
    Down,
    Up,
}

impl Rings {
    /// Makes memory for a worker. The file is to be kept open until the worker has said that it has it.
    pub(crate) fn create() -> io::Result<(Self, File)> {
        let file = mapping::create(SIZE)?;
        Ok((Self::of(&file)?, file))
    }

    /// Takes hold of the memory that the parent has open under this number.
    pub(crate) fn open(parent: u32, fd: i32) -> io::Result<Self> {
        Self::of(&mapping::open_of(parent, fd, SIZE)?)
    }

    fn of(file: &File) -> io::Result<Self> {
        Ok(Self { mapping: Arc::new(Mapping::new(file, SIZE)?), ended: Arc::default() })
    }

    /// The parent's ends.
    pub(crate) fn parents(self) -> (Sender, Receiver, Fate) {
        let fate = Fate { mapping: self.mapping.clone(), ended: self.ended.clone() };
        (self.sender(Way::Down), self.receiver(Way::Up), fate)
    }

    /// The worker's ends.
    pub(crate) fn workers(self) -> (Receiver, Sender, Note) {
        (self.receiver(Way::Down), self.sender(Way::Up), Note(self.mapping.clone()))
    }

    fn sender(&self, way: Way) -> Sender {
        let places = matches!(way, Way::Down).then(|| Places::new(self.mapping.clone(), Side::Parent));
        Sender { producer: Mutex::new(Producer::new(self.ring(way))), places, ended: self.ended.clone() }
    }

    fn receiver(&self, way: Way) -> Receiver {
        let own = match way {
            Way::Down => Side::Worker,
            Way::Up => Side::Parent,
        };
        Receiver {
            consumer: Consumer::new(self.ring(way)),
            places: Places::new(self.mapping.clone(), own),
            ended: self.ended.clone(),
            begun: None,
            spin: Spin::lasting(ATTENTION),
        }
    }

    fn ring(&self, way: Way) -> Ring {
        Ring { mapping: self.mapping.clone(), way }
    }
}

/// One direction's part of the memory.
#[derive(Debug)]
struct Ring {
    mapping: Arc<Mapping>,
    way: Way,
}

impl Ring {
    fn bed(&self) -> Bed {
        Bed { mapping: self.mapping.clone(), way: self.way }
    }

    fn place(&self, place: u64) -> usize {
        BYTES + RING * self.way as usize + place as usize
    }
}

impl Memory for Ring {
    fn words(&self) -> &Words {
        self.mapping.get(WORDS[self.way as usize])
    }

    fn size(&self) -> u64 {
        RING as u64
    }

    fn write(&self, place: u64, bytes: &[u8]) {
        self.mapping.write(self.place(place), bytes);
    }

    fn word(&self, place: u64) -> u64 {
        u64::from_le(self.mapping.get::<AtomicU64>(self.place(place)).load(Ordering::Relaxed))
    }

    fn set_word(&self, place: u64, word: u64) {
        self.mapping.get::<AtomicU64>(self.place(place)).store(word.to_le(), Ordering::Relaxed);
    }

    fn read(&self, place: u64, length: u64, out: &mut Vec<u8>) {
        self.mapping.read(self.place(place), length as usize, out);
    }
}

/// Ends a worker's rings from the parent's side, when the worker is dead.
#[derive(Debug)]
pub(crate) struct Fate {
    mapping: Arc<Mapping>,
    ended: Arc<AtomicBool>,
}

impl Fate {
    /// What has arrived can still be read; then comes the end, and nobody waits for room any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        WORDS.into_iter().for_each(|at| ring::wake_all(self.mapping.get(at)));
    }

    /// The token and item that the worker began last, if it has begun any, and has not overwritten that.
    pub(crate) fn begun(&self) -> Option<(u64, u32)> {
        let [begun, opposite] = BEGUN.map(|at| self.mapping.get::<AtomicU64>(at).load(Ordering::Relaxed));
        let begun = begun.checked_sub(1).filter(|_| begun == !opposite)?;
        let item = (begun & LAST_ITEM) as u32;
        Some((begun >> ITEM_BITS, if u64::from(item) == LAST_ITEM { u32::MAX } else { item }))
    }
}

const ITEM_BITS: u32 = 20;
const LAST_ITEM: u64 = (1 << ITEM_BITS) - 1;

/// Where a worker notes what it begins, apart from the ring: it is known even if the ring is scribbled over.
#[derive(Debug)]
pub(crate) struct Note(Arc<Mapping>);

impl Note {
    pub(crate) fn note(&self, token: u64, item: u32) {
        // Of a chunk that is longer than can be noted all has begun when so much has.
        let value = (token << ITEM_BITS | u64::from(item).min(LAST_ITEM)) + 1;
        for (at, value) in BEGUN.into_iter().zip([value, !value]) {
            self.0.get::<AtomicU64>(at).store(value, Ordering::Relaxed);
        }
    }
}

/// Sends messages. Several threads may; a message is never torn by another.
#[derive(Debug)]
pub(crate) struct Sender {
    producer: Mutex<Producer<Ring>>,
    /// The parent's.
    places: Option<Places>,
    ended: Arc<AtomicBool>,
}

impl Sender {
    /// Sends a message; waits for room if there is none. The reader is woken if it wants to be, see [`ring`](crate::ring).
    pub(crate) fn send(&self, bytes: &[u8], bodies: &[Blob], urgent: bool) -> Result<(), Gone> {
        // Nothing panics while it holds this lock.
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        // The worker's runner notes its place when it goes to rest, not with each of its many messages.
        if let Some(places) = &self.places {
            places.note();
        }
        packets(bytes, bodies, PART, |pieces, more| {
            while !producer.push(pieces).map_err(|Broken(_)| Gone)? {
                self.wait_for_room(&mut producer, pieces.iter().map(|piece| piece.len()).sum())?;
            }
            producer.ring(urgent || more);
            if more {
                chaos::at_either(chaos::Point::Part);
            }
            Ok(())
        })
    }

    #[cold]
    fn wait_for_room(&self, producer: &mut Producer<Ring>, length: usize) -> Result<(), Gone> {
        producer.ring(true);
        producer.wait_for_room(length, || self.has_ended()).map_err(|Broken(_)| Gone)?;
        if self.has_ended() { Err(Gone) } else { Ok(()) }
    }

    /// Whether the ring is as it was left.
    pub(crate) fn is_intact(&self) -> bool {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).is_intact()
    }

    /// Writes noise: as a message, or past whatever protocol the ring has. Not in the middle of a message, whose sender has the
    /// lock: that may be this thread.
    #[cfg(any(test, feature = "chaos"))]
    pub(crate) fn garble(&self, noise: &[u8], framed: bool) {
        let Ok(mut producer) = self.producer.try_lock() else { return };
        if framed {
            let _ = producer.push(&[noise]);
            producer.ring(true);
        } else {
            producer.scribble(noise);
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Receives messages.
#[derive(Debug)]
pub(crate) struct Receiver {
    consumer: Consumer<Ring>,
    places: Places,
    ended: Arc<AtomicBool>,
    /// The message of which some packets have come.
    begun: Option<Begun>,
    spin: Spin,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    Nothing,
    /// A message of one packet: its bytes have been appended.
    Small,
    Large(Message),
}

/// Something that our own code does not send.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It has been taken out: one may go on.
    Garbage(String),
    Broken(Broken),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The messages in a [heap](Receiver::receive_heap).
pub(crate) fn small_messages(heap: &Heap) -> impl Iterator<Item = &[u8]> {
    heap.packets().map(|packet| &packet[..packet.len() - 1])
}

impl Receiver {
    /// Takes the next message out, if it is there; a small one is appended to `small`.
    pub(crate) fn try_receive(&mut self, small: &mut Vec<u8>) -> Result<Came, Trouble> {
        loop {
            let progress = match self.begun.take() {
                None => {
                    let start = small.len();
                    if !self.consumer.pop(small)? {
                        return Ok(Came::Nothing);
                    }
                    if small.len() > start && small.last() == Some(&WHOLE) {
                        small.pop();
                        return Ok(Came::Small);
                    }
                    Begun::read(small.split_off(start), PART)
                }
                Some(mut begun) => {
                    let room = begun.room().map_err(Trouble::Garbage)?;
                    let start = room.len();
                    if !self.consumer.pop(room)? {
                        self.begun = Some(begun);
                        return Ok(Came::Nothing);
                    }
                    let bytes = room.len() - start;
                    begun.came(bytes)
                }
            };
            match progress.map_err(Trouble::Garbage)? {
                Progress::Done(message) => return Ok(Came::Large(message)),
                Progress::More(begun) => self.begun = Some(begun),
            }
        }
    }

    /// Takes small messages out, as many as are there or a heap holds: see [`small_messages`]. None, if the next one is large.
    pub(crate) fn receive_heap(&mut self, heap: &mut Heap) -> Result<(), Trouble> {
        let is_small = |packet: &[u8]| self.begun.is_none() && packet.last() == Some(&WHOLE);
        Ok(self.consumer.pop_heap(heap, is_small)?)
    }

    /// Waits for a message; `None` at the end. Looks for a moment before it sleeps, and does `idle` in between.
    pub(crate) fn receive(&mut self, mut idle: impl FnMut()) -> Result<Option<Message>, Trouble> {
        let mut message = Vec::new();
        loop {
            match self.try_receive(&mut message)? {
                Came::Small => return Ok(Some(message.into())),
                Came::Large(message) => return Ok(Some(message)),
                Came::Nothing if self.has_ended() => return Ok(None),
                Came::Nothing => {}
            }
            if self.spin.pays() {
                self.places.part();
                if self.spin.look(|| self.consumer.peek()) {
                    continue;
                }
            }
            idle();
            self.places.note_rest();
            if self.set_bell(EAGER)? {
                self.bed().rest(EAGER, None);
                self.spin.came();
            }
            self.places.note();
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Says how it wants to be woken. Whether it may rest then: nothing has come before that.
    pub(crate) fn set_bell(&mut self, tone: u32) -> Result<bool, Broken> {
        let quiet = self.consumer.set_bell(tone)?;
        if self.has_ended() {
            // Somebody else may have gone to rest by this bell since the end was told.
            self.consumer.silence();
            self.bed().wake();
            return Ok(false);
        }
        Ok(quiet)
    }

    /// It is awake, and wants no waking.
    pub(crate) fn silence(&self) {
        self.consumer.silence();
    }

    /// Where to sleep without holding the receiver.
    pub(crate) fn bed(&self) -> Bed {
        self.consumer.memory().bed()
    }

    /// Whether something is there.
    pub(crate) fn has_some(&mut self) -> bool {
        self.consumer.has_some().unwrap_or(true)
    }

    /// Whether nothing will come beyond what is there.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Where a reader sleeps.
#[derive(Debug, Clone)]
pub(crate) struct Bed {
    mapping: Arc<Mapping>,
    way: Way,
}

impl Bed {
    /// Sleeps until the bell of this tone is rung, or for so long. Returns for no reason too.
    pub(crate) fn rest(&self, tone: u32, limit: Option<Duration>) {
        ring::sleep(self.words(), tone, limit);
    }

    /// Wakes whoever sleeps there, whatever the bell says.
    pub(crate) fn wake(&self) {
        ring::wake_all(self.words());
    }

    fn words(&self) -> &Words {
        self.mapping.get(WORDS[self.way as usize])
    }
}

/// Both sides of a worker's rings, in one process.
#[cfg(test)]
pub(crate) fn pair() -> ((Sender, Receiver, Fate), (Receiver, Sender, Note)) {
    let (parents, file) = Rings::create().unwrap();
    (parents.parents(), Rings::of(&file).unwrap().workers())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn body(byte: u8, size: usize) -> Blob {
        Blob::from(vec![byte; size])
    }

    #[test]
    fn messages_of_all_sizes_arrive_in_order() {
        let ((sender, _, _fate), (mut receiver, ..)) = pair();
        let sizes = [0, 1, 7, 8, 9, 1000, PART - 1, PART, PART + 1, RING - 1, RING, 3_000_000];
        let sent = thread::spawn(move || {
            for round in 0..50 {
                for size in sizes {
                    let bodies = if round % 10 == 0 { vec![body(2, 2 * PART + 1), body(3, 0)] } else { Vec::new() };
                    sender.send(&vec![round; size], &bodies, true).unwrap();
                }
            }
        });
        for round in 0..50 {
            for size in sizes {
                let Message { bytes, bodies } = receiver.receive(|| {}).unwrap().expect("it goes on");
                assert!(bytes == vec![round; size], "{} bytes of {size}", bytes.len());
                let wanted = if round % 10 == 0 { vec![body(2, 2 * PART + 1), body(3, 0)] } else { Vec::new() };
                assert_eq!(bodies, wanted);
            }
        }
        sent.join().unwrap();
    }

    #[test]
    fn small_messages_come_together_and_large_ones_between_them() {
        let ((sender, ..), (mut receiver, ..)) = pair();
        let sizes = [1, 0, 30, 2 * PART, 7, 9000, 5, 5, PART, 3];
        let sent = thread::spawn(move || {
            for round in 0..200 {
                sizes.iter().for_each(|&size| sender.send(&vec![round; size], &[], true).unwrap());
            }
        });
        let (mut heap, mut heard, mut together) = (Heap::default(), Vec::new(), 0);
        while heard.len() < 200 * sizes.len() {
            receiver.receive_heap(&mut heap).unwrap();
            heard.extend(small_messages(&heap).map(<[u8]>::to_vec));
            together += usize::from(small_messages(&heap).count() > 1);
            let mut small = Vec::new();
            match receiver.try_receive(&mut small).unwrap() {
                Came::Nothing => {}
                Came::Small => heard.push(small),
                Came::Large(message) => heard.push(message.bytes),
            }
        }
        let expected = (0..200).flat_map(|round| sizes.map(|size| vec![round; size]));
        assert!(heard.into_iter().eq(expected));
        assert!(together > 0, "never");
        sent.join().unwrap();
    }

    #[test]
    fn the_end_comes_behind_what_has_arrived_and_wakes_who_waits() {
        let ((sender, mut receiver, fate), (_, up, _)) = pair();
        up.send(b"last words", &[], true).unwrap();
        let waits = thread::spawn(move || {
            let last = receiver.receive(|| {}).unwrap().map(|message| message.bytes);
            (last, receiver.receive(|| {}).unwrap())
        });
        // Nobody reads it: it fills the ring, and waits for room.
        let fills = thread::spawn(move || sender.send(&vec![7; 2 * RING], &[], true));
        thread::sleep(Duration::from_millis(20));
        assert!(!fills.is_finished() && !waits.is_finished());
        fate.end();
        assert_eq!(fills.join().unwrap(), Err(Gone));
        assert_eq!(waits.join().unwrap(), (Some(b"last words".to_vec()), None));
    }

    #[test]
    fn who_rests_is_woken_by_what_it_wants_to_hear_of() {
        let ((_, mut receiver, _fate), (_, up, _)) = pair();
        let mut small = Vec::new();
        assert!(receiver.set_bell(ring::LAZY).unwrap());
        up.send(b"no hurry", &[], false).unwrap();
        let bed = receiver.bed();
        let start = std::time::Instant::now();
        bed.rest(ring::LAZY, Some(Duration::from_millis(30)));
        assert!(start.elapsed() >= Duration::from_millis(30), "nobody wakes for that");
        let rests = thread::spawn(move || bed.rest(ring::LAZY, None));
        thread::sleep(Duration::from_millis(20));
        up.send(b"now", &[], true).unwrap();
        rests.join().unwrap();
        assert!(!receiver.set_bell(EAGER).unwrap(), "there is something");
        for word in [&b"no hurry"[..], b"now"] {
            small.clear();
            assert!(matches!(receiver.try_receive(&mut small), Ok(Came::Small)));
            assert_eq!(small, word);
        }
    }

    /// What is overwritten by the way is noticed by both: by who reads it, and by who is about to write.
    #[test]
    fn noise_is_no_message_and_what_came_before_it_is() {
        let ((_, mut receiver, fate), (_, up, note)) = pair();
        let mut small = Vec::new();
        up.send(b"true", &[], true).unwrap();
        note.note(7, 3);
        up.garble(&[0xa5; 3000], false);
        assert!(!up.is_intact());
        assert_eq!(up.send(b"behind it", &[], true), Err(Gone));
        let mut heap = Heap::default();
        receiver.receive_heap(&mut heap).unwrap();
        assert_eq!(small_messages(&heap).collect::<Vec<_>>(), [b"true"]);
        assert!(matches!(receiver.receive_heap(&mut heap), Err(Trouble::Broken(_))) && heap.is_empty());
        assert!(matches!(receiver.try_receive(&mut small), Err(Trouble::Broken(_))));
        assert_eq!(fate.begun(), Some((7, 3)));
    }

    #[test]
    fn what_has_begun_is_known_unless_it_was_overwritten() {
        let ((_, _, fate), (_, _, note)) = pair();
        assert_eq!(fate.begun(), None);
        for begun in [(0, 0), (5, 1 << 19), (1 << 40, 9)] {
            note.note(begun.0, begun.1);
            assert_eq!(fate.begun(), Some(begun));
        }
        // More than can be noted of one chunk: all of it.
        note.note(6, 1 << 20);
        assert_eq!(fate.begun(), Some((6, u32::MAX)));
        fate.mapping.write(BEGUN[0], &[0xa5; 8]);
        assert_eq!(fate.begun(), None);
    }

    /// Whatever stands in the words and the bytes: an error, or nothing, or a message; no panic, and no end of waiting but ours.
    #[test]
    fn no_memory_of_the_other_side_makes_this_one_panic() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        };
        for _ in 0..3000 {
            let ((sender, mut receiver, fate), (_, up, _)) = pair();
            fate.end();
            for _ in 0..random() % 5 {
                up.send(&vec![1; (random() % 2000) as usize], &[], true).unwrap();
                let _ = receiver.try_receive(&mut Vec::new());
            }
            for _ in 0..1 + random() % 4 {
                // Words more often than others, and small numbers more often than large ones.
                let place = if random() % 2 == 0 { (random() % 32) * 128 } else { random() % (SIZE as u64 - 8) };
                let value = if random() % 2 == 0 { random() % 4096 } else { random().wrapping_mul(random()) };
                fate.mapping.write(place as usize, &value.to_le_bytes());
            }
            let (mut small, mut heap) = (Vec::new(), Heap::default());
            for _ in 0..20 {
                if receiver.receive_heap(&mut heap).is_err() {
                    break;
                }
                small_messages(&heap).for_each(|message| assert!(message.len() < RING));
                if matches!(receiver.try_receive(&mut small), Err(_) | Ok(Came::Nothing)) {
                    break;
                }
            }
            let _ = receiver.set_bell(EAGER);
            for _ in 0..20 {
                if sender.send(&vec![1; (random() % 40_000) as usize], &[], true).is_err() {
                    break;
                }
            }
            fate.begun();
        }
    }
}
