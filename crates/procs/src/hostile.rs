//! What a worker that has gone mad may say: whatever it is, its parent neither panics nor runs out of memory, and
//! every task has its one outcome.
//!
//! The messages follow from fixed seeds. They are noise, and true messages that were cut, changed, said twice, said in
//! another order or about other tokens.

use std::{
    os::unix::process::CommandExt,
    process::{ChildStdin, Command, Stdio},
    sync::{Arc, Once},
    thread,
    time::{Duration, Instant},
};

use taskloom_core::{
    Data, Encoded, Handle, Pool, Postcard, TaskError,
    backend_api::{Hub, LogRecord, Settings},
    task,
};

use crate::{
    Procs,
    backend::{Config, Shared},
    dispatch::{Books, Phase},
    entry::Calling,
    lane::{Flight, Flights, Lane, Running, Stage},
    line::{Down, Line, Output, Vital},
    message::Message,
    os::{counted::most_held, memory::OomKills, process::Child},
    reader::{self, Started, Up},
    stderr::Tail,
    transport::{Gone, Receiver, Sender, pair},
    wire::{self, Control, Greeting, Rare, Record, Records},
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small, as true numbers are, or anything.
    fn number(&mut self) -> u64 {
        match self.below(12) {
            0 => u64::MAX - self.below(3),
            1 => self.next(),
            _ => self.below(8),
        }
    }

    fn noise(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most + 1);
        let mut noise: Vec<u8> = (0..length).map(|_| self.next() as u8).collect();
        // Else most of it would be refused at its first byte.
        if let (Some(first), true) = (noise.first_mut(), self.below(4) > 0) {
            *first = self.below(5) as u8;
        }
        noise
    }

    fn pairs(&mut self) -> Vec<(u64, u32)> {
        (0..self.below(4)).map(|_| (self.number(), self.number() as u32)).collect()
    }

    /// A message of the right form, about anything.
    fn message(&mut self) -> Message {
        let mut records = Records::default();
        for _ in 0..=self.below(3) {
            let (token, item) = (self.number(), self.number() as u32);
            match self.below(4) {
                0 => records.started(token, item),
                1 => records.end(token),
                _ => records.done(token, item, |out| {
                    out.bytes_mut().extend_from_slice(&self.noise(20));
                    if self.below(4) == 0 {
                        let long = vec![7_u8; 32 << 10];
                        long.encode::<Postcard>(out).unwrap();
                        long.hand_over(out);
                    }
                    let outcome = if self.below(3) == 0 { Err(TaskError::Cancelled) } else { Ok(()) };
                    (outcome, None, Duration::ZERO)
                }),
            }
        }
        match self.below(12) {
            0 => Records::rare(&Rare::Returned(self.pairs())),
            1 => Records::rare(&Rare::Condemned),
            2 => Records::rare(&Rare::Leaving),
            3 => Records::rare(&Rare::Holding(self.number())),
            4 => Records::rare(&Rare::Progress { task: self.number(), done: self.number(), total: 0 }),
            5 => Records::rare(&Rare::Log(LogRecord::copy(&log::Record::builder().build()))),
            6 => Records::rare(&Rare::Ready),
            _ => records.take(),
        }
    }

    /// Whatever a mad worker says.
    fn hostile(&mut self) -> Message {
        let Message { bytes: mut message, mut bodies } = self.message();
        match self.below(8) {
            0 => message = self.noise(100),
            1 => message.truncate(self.below(message.len() as u64 + 1) as usize),
            2 | 3 => {
                let at = self.below(message.len() as u64) as usize;
                message[at] = self.next() as u8;
            }
            // A length of any size, in the eight bytes where one may stand.
            4 if message.len() >= 21 => message[13..21].copy_from_slice(&self.number().to_le_bytes()),
            // Many of something, says the codec's number behind the kind.
            5 if message.len() >= 2 => {
                message.splice(2.., [0xff, 0xff, 0xff, 0xff, self.below(16) as u8]);
            }
            6 => message.extend(self.message().bytes),
            _ => {}
        }
        match self.below(8) {
            0 => bodies.clear(),
            1 => bodies.push(self.noise(100).into()),
            _ => {}
        }
        Message { bytes: message, bodies }
    }
}

/// What one byte of a message may cost: an empty string is one byte there and a `String` here, and vectors grow by doubling.
const PER_BYTE: usize = 64;
/// What a claimed length may cost before it is found to be false: serde's own bound, and room.
const PER_CLAIM: usize = 2 << 20;

#[test]
fn no_message_panics_or_takes_more_memory_than_its_size_explains() {
    let mut dice = Dice(1);
    let (mut read, mut refused, mut dearest) = (0, 0, 0);
    for _ in 0..150_000 {
        let Message { bytes: message, bodies } = dice.hostile();
        let (good, most) = most_held(|| Record::read_all(&message, bodies).is_ok());
        assert!(most <= PER_CLAIM + PER_BYTE * message.len(), "{most} bytes for {message:02x?}");
        let (_, most) = most_held(|| wire::decode::<Greeting>(&message).is_ok());
        assert!(most <= PER_CLAIM + PER_BYTE * message.len(), "{most} bytes for {message:02x?}, as a greeting");
        dearest = dearest.max(most);
        *(if good { &mut read } else { &mut refused }) += 1;
    }
    // Both ways are taken.
    assert!(read > 20_000 && refused > 20_000, "{read} read, {refused} refused, the dearest {dearest} bytes");
}

#[test]
fn large_messages_of_tiny_parts_take_memory_in_proportion() {
    let mut ends = Records::default();
    (0..100_000).for_each(|token| ends.end(token));
    let failure = TaskError::Failed(Box::new(taskloom_core::Failure::new("a")));
    let mut causes = Records::rare(&Rare::InitFailed(failure)).bytes;
    // The failure is a list of one string: now of two million empty ones.
    let list = causes.len() - 3;
    causes.splice(list.., [0x80, 0x89, 0x7a].into_iter().chain(std::iter::repeat_n(0, 2_000_000)));
    let mut returned = Records::rare(&Rare::Returned(Vec::new())).bytes;
    returned.pop();
    returned.extend([0xc0, 0x84, 0x3d].into_iter().chain(std::iter::repeat_n(1, 2_000_000)));
    for message in [ends.take(), causes.into(), returned.into()] {
        let size = message.size();
        let Message { bytes, bodies } = message;
        let (records, most) = most_held(|| Record::read_all(&bytes, bodies).map(|records| records.len()));
        assert!(records.is_ok(), "{records:?}");
        assert!(most <= PER_CLAIM + PER_BYTE * size, "{most} bytes for {size}");
    }
}

#[task]
fn nothing(n: u64) -> u64 {
    n
}

/// A pool with one worker, which is us.
struct Game {
    shared: Arc<Shared>,
    pool: Pool<Procs>,
    worker: Option<Fake>,
}

/// A worker in whose name we speak.
struct Fake {
    vital: Arc<Vital>,
    up: Sender,
    /// What the parent says is not heard, and finds room.
    _ears: [Receiver; 2],
    /// At its end the process would end.
    _input: Option<ChildStdin>,
    reader: thread::JoinHandle<()>,
}

impl Drop for Game {
    /// Nobody supervises: the pool must not wait for that.
    fn drop(&mut self) {
        self.shared.books().phase = Phase::Closed;
    }
}

impl Game {
    fn start() -> Self {
        let config = Config {
            workers: 1,
            start_timeout: Duration::from_secs(10),
            init: None,
            calling: Calling::Main,
            family: "0".to_owned(),
            program: "nobody".into(),
            environment: Vec::new(),
            directory: None,
            umask: None,
            shared_memory: false,
            one_shot: false,
        };
        let shared = Arc::new(Shared::new(Hub::new(Settings::default()), config).unwrap());
        shared.books().phase = Phase::Open;
        let pool = Pool::new(shared.hub.clone(), Procs::new(shared.clone()));
        let worker = Some(Fake::enter(&shared, 0));
        Self { shared, pool, worker }
    }

    fn wait_until_sent(&self) {
        while self.shared.books().lanes[0].duty.flights.is_empty() {
            thread::yield_now();
        }
    }

    /// The worker says this.
    fn say(&self, message: impl Into<Message>) -> Result<(), Gone> {
        self.worker.as_ref().expect("it has not ended").up.send(message)
    }

    /// What holds whatever was said.
    fn check(&self) {
        let books = self.shared.books();
        let lane = &books.lanes[0];
        let tokens: Vec<u64> = lane.duty.flights.iter().map(|flight| flight.token).collect();
        assert!(tokens.is_sorted() && tokens.last().is_none_or(|last| *last < lane.next_token), "{tokens:?}");
        for flight in lane.duty.flights.iter() {
            assert!(flight.next() <= flight.len() && flight.len() <= 3, "{} of {}", flight.next(), flight.len());
        }
        let running = lane.duty.running.map(|running| running.token);
        assert!(running.is_none_or(|token| tokens.contains(&token)), "{running:?} runs, of {tokens:?}");
    }

    /// The worker dies, and what it left is settled.
    fn end(mut self, handles: Vec<Handle<u64>>) {
        if let Some(worker) = self.worker.take() {
            worker.die();
        }
        // What came back would run elsewhere: there is no elsewhere here.
        self.shared.give_up(TaskError::Closed);
        for mut handle in handles {
            let outcome = handle.try_join().expect("every task has an outcome");
            assert!(!matches!(outcome, Err(TaskError::Lost(_))), "{outcome:?}");
        }
    }
}

impl Fake {
    #[expect(clippy::zombie_processes, reason = "`die` has it buried")]
    fn enter(shared: &Arc<Shared>, number: u32) -> Self {
        // A real process, so that it can be killed; what we say is said in its name.
        let mut process = Command::new("cat");
        process.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = process.spawn().unwrap();
        let output = Output::PassedOn(Arc::new(Tail::new(process.stderr.take().unwrap()).unwrap()));
        let mark = format!("nobody-bears-this-{}", process.id());
        let vital = Arc::new(Vital::new(number, 0, mark, Child::watch(process.id()).unwrap(), output));
        let [(data, data_ear), (control, control_ear), (up, heard)] = [pair(), pair(), pair()];
        vital.listen(&[heard.fd(), data.fd(), control.fd()], None);
        vital.greet();
        let line = Arc::new(Line::new(vital.clone(), Down::Plain(data), control));
        let (shared, about) = (shared.clone(), vital.clone());
        let reader = thread::spawn(move || reader::run(&shared, &about, || Ok(Started { line, up: Up::Plain(heard) })));
        Self { vital, up, _ears: [data_ear, control_ear], _input: process.stdin.take(), reader }
    }

    /// Dies, and what it left is settled.
    fn die(self) {
        self.vital.kill("the game is over");
        let mut oom_kills = OomKills::of_this_cgroup();
        while !self.vital.bury(&mut oom_kills) {
            thread::yield_now();
        }
        self.reader.join().expect("the reader does not panic");
    }
}

#[test]
fn whatever_is_said_every_task_has_its_outcome_and_the_books_hold() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| log::set_max_level(log::LevelFilter::Off));
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let game = Game::start();
        let handles = (0..12).map(|n| game.pool.submit(nothing::task(n)).unwrap()).collect();
        for _ in 0..60 {
            // True at first, so that there is something to lie about.
            let message = if dice.below(3) == 0 { dice.hostile() } else { dice.message() };
            if game.say(message).is_err() {
                break;
            }
            game.check();
        }
        game.end(handles);
    }
}

/// A game in which one task is with the worker.
fn with_one_task() -> (Game, Handle<u64>) {
    let game = Game::start();
    let handle = game.pool.submit(nothing::task(1)).unwrap();
    game.wait_until_sent();
    (game, handle)
}

#[test]
fn what_no_worker_lives_to_begin_ends_with_the_seventeenth() {
    let (mut game, mut handle) = with_one_task();
    for number in 1..=17 {
        assert!(handle.try_join().is_none(), "{} have died", number - 1);
        game.wait_until_sent();
        game.worker.take().unwrap().die();
        game.worker = (number < 17).then(|| Fake::enter(&game.shared, number));
    }
    match handle.try_join() {
        Some(Err(TaskError::Crashed(death))) => assert_eq!((death.worker, death.attempt), (16, 1)),
        other => panic!("{other:?}"),
    }
    game.end(Vec::new());
}

/// The first item of the first job is done, and well.
fn done() -> Record<'static> {
    let (took, outcome) = (Duration::ZERO, Ok(Encoded::from(&b""[..])));
    Record::Done { token: 0, item: 0, took, outcome, metrics: None }
}

/// All that is said of a job with one item.
fn from_start_to_end() -> [Record<'static>; 3] {
    [Record::Started { token: 0, item: 0 }, done(), Record::End { token: 0 }]
}

#[test]
fn what_has_begun_cannot_be_given_back() {
    let (game, handle) = with_one_task();
    let mut began = Records::default();
    began.started(0, 0);
    game.say(began.take()).unwrap();
    game.say(Records::rare(&Rare::Returned(vec![(0, 0)]))).unwrap();
    while !game.shared.books().lanes[0].duty.accused {
        thread::yield_now();
    }
    // Another message, which is heard when what came before has been followed.
    game.say(Records::rare(&Rare::Holding(7))).unwrap();
    while game.shared.books().lanes[0].duty.held != 7 {
        thread::yield_now();
    }
    assert!(game.shared.books().queue.is_empty(), "nobody else is to have it");
    game.end(vec![handle]);
}

#[test]
fn all_items_that_are_to_be_stopped_are_and_kills_end_with_their_item() {
    let (game, handle) = with_one_task();
    let mut books = game.shared.books();
    let line = books.lanes[0].line().unwrap().clone();
    let mut lane = books.lanes.touch(0);
    lane.duty.flights = Flights::default();
    lane.duty.flights.push(Flight::new(0, 1000, 3));
    drop(lane);
    for id in [1000, 1001, 1002] {
        let _ = books.stop(id, Some(Duration::from_secs(3600)));
    }
    let orders = &mut Vec::new();
    books.book(&line, &[Record::Started { token: 0, item: 0 }], orders).unwrap();
    assert_eq!(books.kills.iter().filter_map(|kill| kill.only_if).collect::<Vec<_>>(), [(0, 0)]);
    books.book(&line, &[done()], orders).unwrap();
    assert!(books.kills.is_empty(), "nobody waits an hour for nothing");
    drop(books);
    game.end(vec![handle]);
}

#[test]
fn who_is_done_before_its_job_is_known_to_have_left_is_idle_all_the_same() {
    let (game, handle) = with_one_task();
    let mut books = game.shared.books();
    let line = books.lanes[0].line().unwrap().clone();
    books.lanes.touch(0).duty.sending = true;
    books.book(&line, &from_start_to_end(), &mut Vec::new()).unwrap();
    assert!(books.lanes[0].duty.idle_since.is_none(), "it is still being sent to");
    books.sent(&line, 0..=0);
    assert!(books.lanes[0].duty.idle_since.is_some(), "else it never leaves");
    drop(books);
    game.end(vec![handle]);
}

/// With two workers, the first of which is still being sent to: what is said meanwhile evens nothing out; the sender, when it has
/// booked that it is done, takes back half of what waits.
fn evened_out_by_the_sender(happens: impl FnOnce(&mut Books, &Arc<Line>), why: &str, half: (u64, u32)) {
    let (game, handle) = with_one_task();
    let mut books = game.shared.books();
    let line = books.lanes[0].line().unwrap().clone();
    books.lanes.grow(2);
    books.lanes.touch(1).stage = Stage::Ready(line.clone());
    books.lanes.touch(0).duty.sending = true;
    happens(&mut books, &line);
    assert!(books.rebalance().is_empty(), "{why}");
    let orders = books.sent(&line, 0..=0);
    assert!(matches!(&orders[..], [(_, Control::Recall(wanted))] if *wanted == [half]), "half of what waits");
    *books.lanes.touch(1) = Lane::default();
    drop(books);
    game.end(vec![handle]);
}

#[test]
fn who_is_done_before_its_job_is_known_to_have_left_is_given_what_waits_elsewhere() {
    let happens = |books: &mut Books, line: &Arc<Line>| {
        // The other has been at something for long, and more waits behind that.
        let mut other = books.lanes.touch(1);
        other.duty.flights.push(Flight::new(7, 1000, 3));
        other.duty.flights.iter_mut().for_each(|flight| flight.sent = true);
        other.duty.flights.begin(7, 0).unwrap();
        other.duty.running = Some(Running { token: 7, item: 0, since: long_ago() });
        drop(other);
        books.book(line, &from_start_to_end(), &mut Vec::new()).unwrap();
    };
    evened_out_by_the_sender(happens, "it is still being sent to", (7, 2));
}

#[test]
fn what_begins_before_it_is_known_to_have_left_is_shared_all_the_same() {
    let happens = |books: &mut Books, line: &Arc<Line>| {
        // The other has nothing to do.
        let mut lane = books.lanes.touch(0);
        lane.duty.flights = Flights::default();
        lane.duty.flights.push(Flight::new(0, 1000, 3));
        drop(lane);
        books.book(line, &[Record::Started { token: 0, item: 0 }], &mut Vec::new()).unwrap();
    };
    evened_out_by_the_sender(happens, "it could overtake the job", (0, 2));
}

/// One worker is at the first of a thousand items that take so long each, since then, or has been given them long ago and is at none;
/// another is idle. Whether that gets half of them.
fn is_shared_with_the_idle(pace: f64, since: Option<Instant>) -> bool {
    let (game, handle) = with_one_task();
    let mut books = game.shared.books();
    let line = books.lanes[0].line().unwrap().clone();
    books.lanes.grow(2);
    books.lanes.touch(1).stage = Stage::Ready(line);
    let before = std::mem::take(&mut books.lanes.touch(0).duty);
    let mut lane = books.lanes.touch(0);
    lane.duty.flights.push(Flight::new(0, 1000, 1001));
    lane.duty.flights.iter_mut().for_each(|flight| flight.sent = true);
    if let Some(since) = since {
        lane.duty.flights.begin(0, 0).unwrap();
        lane.duty.running = Some(Running { token: 0, item: 0, since });
    }
    lane.duty.given_at = Some(long_ago());
    lane.duty.pace = Some(pace);
    drop(lane);
    let orders = books.rebalance();
    books.lanes.touch(0).duty = before;
    *books.lanes.touch(1) = Lane::default();
    drop(books);
    game.end(vec![handle]);
    !orders.is_empty()
}

#[test]
fn the_shortest_tasks_leave_a_processor_to_whoever_hands_them_out() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let now = || Some(Instant::now() + Duration::from_secs(60));
    assert_eq!(is_shared_with_the_idle(1e-6, now()), cores > 2, "one is enough where two can run");
    assert_eq!(is_shared_with_the_idle(20e-6, now()), cores > 1);
    assert!(is_shared_with_the_idle(60e-6, now()), "these are worth waking somebody");
    assert!(is_shared_with_the_idle(1e-6, Some(long_ago())), "it was thought quicker than it is");
    assert!(is_shared_with_the_idle(1e-6, None), "perhaps it is stopped");
}

fn long_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(1)).unwrap()
}

#[test]
fn what_is_said_again_and_again_is_heard_once() {
    let (game, handle) = with_one_task();
    let again = |rare: fn() -> Rare| (0..1000).map(|_| Record::Rare(Box::new(rare()))).collect::<Vec<_>>();
    let mut books = game.shared.books();
    let line = books.lanes[0].line().unwrap().clone();
    let orders = &mut Vec::new();
    books.book(&line, &again(|| Rare::Leaving), orders).unwrap();
    books.book(&line, &again(|| Rare::Condemned), orders).unwrap();
    assert!(orders.len() <= 1 && books.kills.len() == 1, "{} orders, {} kills", orders.len(), books.kills.len());
    drop(books);
    game.end(vec![handle]);
}

#[test]
fn who_left_comes_back_when_nobody_else_can() {
    let game = Game::start();
    while game.pool.backend().pids().is_empty() {
        thread::yield_now();
    }
    let mut books = game.shared.books();
    books.lanes.touch(0).unwanted = true;
    books.lanes.grow(3);
    books.lanes.touch(1).stage = Stage::Away;
    *books.lanes.touch(2) = Lane { failures: 4, stage: Stage::Starting { worker: 9 }, ..Lane::default() };
    drop(books);
    let handle = game.pool.submit(nothing::task(1)).unwrap();
    assert!(matches!(game.shared.books().lanes[1].stage, Stage::Away), "somebody is on the way");
    game.shared.start_failed(2, TaskError::Closed);
    assert!(matches!(game.shared.books().lanes[1].stage, Stage::Vacant), "and has not come");
    game.end(vec![handle]);
}
