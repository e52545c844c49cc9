//! Models of the rings between a pool and a worker, over all orders of their threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p taskloom-procs --test loom --release`
//!
//! The file under test is the crate's own, compiled against loom's atomics; the memory it writes to is loom's too, so that a read
//! of bytes that are not published yet is found. Both sides are threads here: loom knows no processes, and the protocol knows no difference.
#![cfg(loom)]

#[path = "../src/ring.rs"]
#[expect(dead_code, reason = "each model uses some of it")]
mod ring;

/// In place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    /// As the kernel has it: who waits looks at the word and falls asleep in one step.
    pub(crate) mod futex {
        use loom::sync::{Condvar, Mutex, atomic::AtomicU32};

        loom::lazy_static! {
            static ref BEDS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
        }

        /// Loom has no clock: a limit that is over is as if it had been woken for no reason.
        pub(crate) fn wait(word: &AtomicU32, value: u32, limit: Option<std::time::Duration>) {
            let guard = BEDS.0.lock().unwrap();
            if limit.is_none() && word.load(super::Ordering::Relaxed) == value {
                drop(BEDS.1.wait(guard).unwrap());
            }
        }

        pub(crate) fn wake(_: &AtomicU32) {
            drop(BEDS.0.lock().unwrap());
            BEDS.1.notify_all();
        }
    }
}

use loom::{
    cell::UnsafeCell,
    sync::{Arc, Mutex},
    thread,
};
use ring::{Consumer, EAGER, Heap, LAZY, Memory, Producer, Words, sleep};

/// Two packets of a byte.
const SIZE: usize = 32;

struct Shared {
    words: Words,
    bytes: Vec<UnsafeCell<u8>>,
}

#[derive(Clone)]
struct Ring(Arc<Shared>);

impl Memory for Ring {
    fn words(&self) -> &Words {
        &self.0.words
    }

    fn size(&self) -> u64 {
        SIZE as u64
    }

    fn write(&self, place: u64, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            // SAFETY: loom finds out whether anybody else reaches it meanwhile.
            self.0.bytes[place as usize + at].with_mut(|to| unsafe { *to = byte });
        }
    }

    fn word(&self, place: u64) -> u64 {
        let mut word = Vec::new();
        self.read(place, 8, &mut word);
        u64::from_le_bytes(word.try_into().unwrap())
    }

    fn set_word(&self, place: u64, word: u64) {
        self.write(place, &word.to_le_bytes());
    }

    fn read(&self, place: u64, length: u64, out: &mut Vec<u8>) {
        for at in place..place + length {
            // SAFETY: as above.
            out.push(self.0.bytes[at as usize].with(|from| unsafe { *from }));
        }
    }
}

// SAFETY: the bytes are reached through loom's cells alone, which report two threads at one of them.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

fn ring() -> (Producer<Ring>, Consumer<Ring>) {
    let bytes = (0..SIZE).map(|_| UnsafeCell::new(0)).collect();
    let ring = Ring(Arc::new(Shared { words: Words::default(), bytes }));
    (Producer::new(ring.clone()), Consumer::new(ring))
}

/// As `fast::Receiver::receive` does.
fn receive(consumer: &mut Consumer<Ring>, tone: u32) -> u8 {
    let mut out = Vec::new();
    while !consumer.pop(&mut out).unwrap() {
        if consumer.set_bell(tone).unwrap() {
            sleep(consumer.memory().words(), tone, None);
        }
    }
    assert_eq!(out.len(), 1);
    out[0]
}

/// As `fast::Sender::send` does.
fn send(producer: &mut Producer<Ring>, byte: u8, urgent: bool) {
    while !producer.push(&[&[byte]]).unwrap() {
        producer.ring(true);
        producer.wait_for_room(1, || false).unwrap();
    }
    producer.ring(urgent);
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn packets_arrive_whole_and_in_order_and_nobody_sleeps_for_ever() {
    check(|| {
        let (mut producer, mut consumer) = ring();
        let writer = thread::spawn(move || (1..=3).for_each(|byte| send(&mut producer, byte, true)));
        for byte in 1..=3 {
            assert_eq!(receive(&mut consumer, EAGER), byte);
        }
        writer.join().unwrap();
    });
}

#[test]
fn who_rests_lightly_hears_of_what_is_urgent() {
    check(|| {
        let (mut producer, mut consumer) = ring();
        let writer = thread::spawn(move || {
            send(&mut producer, 1, false);
            send(&mut producer, 2, true);
        });
        assert_eq!(receive(&mut consumer, LAZY), 1);
        assert_eq!(receive(&mut consumer, LAZY), 2);
        writer.join().unwrap();
    });
}

/// A third packet finds no room before some have been taken, together or one by one.
#[test]
fn packets_that_are_taken_together_are_whole_and_in_order() {
    check(|| {
        let (mut producer, mut consumer) = ring();
        let writer = thread::spawn(move || (1..=3).for_each(|byte| send(&mut producer, byte, true)));
        let (mut heap, mut heard) = (Heap::default(), Vec::<u8>::new());
        while heard.len() < 3 {
            consumer.pop_heap(&mut heap, |packet| packet != [9]).unwrap();
            heard.extend(heap.packets().flatten().copied());
            if heap.is_empty() && consumer.set_bell(EAGER).unwrap() {
                sleep(consumer.memory().words(), EAGER, None);
            }
        }
        assert_eq!(heard, [1, 2, 3]);
        writer.join().unwrap();
    });
}

/// A caller hears a worker in place of its reader's thread, which sleeps, and then leaves it to that again.
#[test]
fn what_comes_while_a_caller_leaves_is_heard_by_the_thread_that_sleeps() {
    check(|| {
        let (mut producer, consumer) = ring();
        let memory = consumer.memory().clone();
        let ears = Arc::new(Mutex::new((consumer, Vec::new())));
        let [sleeper, bed] = [(ears.clone(), memory.clone()), (ears.clone(), memory)];
        let reader = thread::spawn(move || {
            loop {
                let mut ears = sleeper.0.lock().unwrap();
                let (consumer, heard) = &mut *ears;
                while consumer.pop(heard).unwrap() {}
                if heard.len() == 2 {
                    return;
                }
                let quiet = consumer.set_bell(EAGER).unwrap();
                drop(ears);
                if quiet {
                    sleep(sleeper.1.words(), EAGER, None);
                }
            }
        });
        let writer = thread::spawn(move || {
            send(&mut producer, 1, true);
            send(&mut producer, 2, true);
        });
        // As `Hearing::attend` and `Hearing::leave` do.
        if let Ok(mut ears) = bed.0.try_lock() {
            let (consumer, heard) = &mut *ears;
            consumer.silence();
            consumer.pop(heard).unwrap();
        }
        if let Ok(mut ears) = bed.0.try_lock()
            && !ears.0.set_bell(EAGER).unwrap()
        {
            ring::wake_all(bed.1.words());
        }
        writer.join().unwrap();
        // If it was the caller that heard the last, the reader's thread sleeps for good, as it may; else it is awake, or will be.
        if bed.0.lock().unwrap().1.len() == 2 {
            ring::wake_all(bed.1.words());
        }
        reader.join().unwrap();
    });
}
