//! The thread that says what happens: a reader of our output that takes its time holds it up, and never the supervisor.

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::Duration,
};

use super::bell::Bell;
use crate::{
    Stop,
    bad_input::BadInput,
    exit,
    input::Origin,
    outcome::Done,
    reader::{Credits, no_thread},
    report::{End, Report},
};

/// Something to be said.
pub(crate) enum Word {
    /// An input has its outcome; the number is its turn.
    Done(u64, Done),
    Retrying(Done, Duration),
    Slow(u64, String, Duration),
    Remark(String),
    Stopping(usize, Duration),
    Bad(BadInput),
    Skipped(BadInput),
    /// An input was done before.
    Before(u64, Origin),
    /// Nothing follows: the reason, and how many inputs were read.
    End(End, usize),
}

/// The supervisor's end of it.
pub(crate) struct Reporter {
    words: Sender<Word>,
    shared: Arc<Shared>,
}

struct Shared {
    /// What cannot be written.
    broken: Mutex<Option<Stop>>,
    /// The exit code.
    result: Mutex<Option<Result<u8, Stop>>>,
    /// Somebody waits for held files to be written.
    awaited: AtomicBool,
    bell: Arc<Bell>,
}

impl Reporter {
    /// Begins to say things about a run.
    pub(crate) fn start(
        mut report: Report,
        credits: Arc<Credits>,
        keep_order: bool,
        bell: Arc<Bell>,
    ) -> Result<Self, Stop> {
        report.started()?;
        let (words, said) = mpsc::channel();
        let shared = Arc::new(Shared {
            broken: Mutex::default(),
            result: Mutex::default(),
            awaited: AtomicBool::new(false),
            bell,
        });
        let for_thread = shared.clone();
        let speak = move || {
            let speaker = Speaker { report, credits, said, shared: for_thread.clone(), keep_order };
            // A bug in here must not leave the supervisor waiting.
            let result = panic::catch_unwind(AssertUnwindSafe(|| speaker.speak()));
            let result = result
                .unwrap_or_else(|_| Err(Stop::new(exit::BUG, "bug", "the thread that reports outcomes panicked")));
            for_thread.tell(&for_thread.result, result);
        };
        let started = thread::Builder::new().name("taskloom-report".to_owned()).spawn(speak);
        started.map_err(|error| no_thread(&error))?;
        Ok(Self { words, shared })
    }

    pub(crate) fn say(&self, word: Word) {
        // A thread that has ended says nothing more; why, stands in its result.
        let _ = self.words.send(word);
    }

    /// Why nothing can be written any more. Told once.
    pub(crate) fn broken(&self) -> Option<Stop> {
        let mut broken = self.shared.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.shared.result.lock().unwrap_or_else(PoisonError::into_inner);
        broken.take().or_else(|| result.as_ref().and_then(|result| result.as_ref().err().cloned()))
    }

    /// The exit code, once all is said.
    pub(crate) fn result(&self) -> Option<Result<u8, Stop>> {
        self.shared.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has the bell rung when the next outcome has been written.
    pub(crate) fn wake_me(&self) {
        self.shared.awaited.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn tell<T>(&self, place: &Mutex<Option<T>>, what: T) {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        self.bell.ring();
    }
}

struct Speaker {
    report: Report,
    credits: Arc<Credits>,
    said: Receiver<Word>,
    shared: Arc<Shared>,
    keep_order: bool,
}

impl Speaker {
    fn speak(mut self) -> Result<u8, Stop> {
        // Outcomes whose turn has not come.
        let mut held = BTreeMap::new();
        let mut next = 1;
        loop {
            let word = match self.said.try_recv() {
                Ok(word) => word,
                Err(TryRecvError::Empty) => {
                    self.written(|report| report.idle());
                    match self.said.recv_timeout(self.report.patience().max(Duration::from_millis(10))) {
                        Ok(word) => word,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return Ok(exit::BUG),
                    }
                }
                Err(TryRecvError::Disconnected) => return Ok(exit::BUG),
            };
            match word {
                Word::Done(_, done) if !self.keep_order => self.done(done),
                Word::Done(turn, done) => {
                    held.insert(turn, done);
                    while let Some(done) = held.remove(&next) {
                        next += 1;
                        self.done(done);
                    }
                }
                Word::Retrying(done, after) => self.written(|report| report.retrying(&done, after)),
                Word::Slow(number, shown, limit) => self.report.slow(number, &shown, limit),
                Word::Remark(line) => self.report.remark(&line),
                Word::Stopping(running, grace) => self.report.stopping(running, grace),
                Word::Bad(bad) => self.written(|report| report.bad_input(&bad)),
                Word::Skipped(bad) => {
                    self.written(|report| report.skipped(&bad));
                    self.credits.give(1);
                }
                Word::Before(number, origin) => {
                    self.written(|report| report.before(number, origin));
                    self.credits.give(1);
                }
                Word::End(end, read) => {
                    // After an early end there are gaps that nothing will fill.
                    for done in held.into_values() {
                        self.done(done);
                    }
                    return self.report.ended(end, read);
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        self.written(|report| report.done(done));
        self.credits.give(1);
        if self.shared.awaited.swap(false, Ordering::SeqCst) {
            self.shared.bell.ring();
        }
    }

    fn written(&mut self, write: impl FnOnce(&mut Report) -> Result<(), Stop>) {
        if let Err(stop) = write(&mut self.report) {
            self.shared.tell(&self.shared.broken, stop);
        }
    }
}
