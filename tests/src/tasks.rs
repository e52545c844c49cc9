//! The tasks that the suite runs.

pub mod bulk;
pub mod limits;
pub mod parent;

use std::{
    collections::HashMap,
    error::Error,
    ffi::OsString,
    fmt, io,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use taskloom::{Context, Policy, Pool, TaskError, View, task};

use crate::{
    journal::BLOCKED_TARGET,
    misdeeds,
    scratch::{Gate, append_line, touch},
    values::{
        Bomb, Counted, Endless, Flat, Forgetful, Moody, PanicsWhenRead, PanicsWhenWritten, Shifting, Unreadable,
        Untagged, Unwritable,
    },
};

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With its number.
    Value,
    /// With an error.
    Error,
    /// With a panic.
    Panic,
    /// Its process exits with this code in the middle.
    Exit(i32),
    /// Its process is killed by this signal.
    Signal(i32),
}

/// Ends as told.
pub(crate) fn end(how: End, number: u64) -> Result<u64, String> {
    match how {
        End::Value => Ok(number),
        End::Error => Err(format!("{number} is an error")),
        End::Panic => panic!("{number} is a panic"),
        End::Exit(code) => std::process::exit(code),
        End::Signal(signal) => {
            misdeeds::send_myself(signal);
            Err(format!("survived signal {signal}"))
        }
    }
}

/// Twice the number.
#[task]
pub fn double(number: u64) -> u64 {
    2 * number
}

/// Gives bytes back.
#[task]
pub fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// So many bytes.
#[task]
pub fn many_bytes(count: usize) -> Vec<u8> {
    vec![7; count]
}

/// How many bytes there are.
#[task]
pub fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Gives a path back.
#[task]
pub fn echo_path(path: PathBuf) -> PathBuf {
    path
}

/// Gives a string of the system back.
#[task]
pub fn echo_os_string(text: OsString) -> OsString {
    text
}

/// Ends as told.
#[task]
pub fn ends(how: End, number: u64) -> Result<u64, String> {
    end(how, number)
}

/// Notes in `file` that its body was started, then ends as told.
#[task]
pub fn marks(file: PathBuf, how: End, number: u64) -> Result<u64, String> {
    append_line(&file, &number.to_string());
    end(how, number)
}

/// Sleeps the longer the smaller the number is, so that results come in the wrong order.
#[task]
pub fn late_if_early(number: u64) -> u64 {
    thread::sleep(Duration::from_millis(3 - number % 4));
    2 * number
}

/// Waits at the gate, but gives up when it is told to stop. Its number.
#[task]
pub fn waits(cx: &Context, gate: Gate, number: u64) -> u64 {
    gate.pass(|| cx.is_cancelled());
    number
}

/// Waits at the gate whatever it is told; ignores SIGTERM too, if that were to reach it. Its number.
#[task]
pub fn insists(gate: Gate, number: u64) -> u64 {
    gate.pass(|| false);
    number
}

/// Notes in `file` that its body was started, then waits at the gate, whatever it is told.
#[task]
pub fn marks_and_waits(file: PathBuf, gate: Gate, number: u64) -> u64 {
    append_line(&file, &number.to_string());
    gate.pass(|| false);
    number
}

/// Waits at the gate, and ends as told then.
#[task]
pub fn waits_then_ends(gate: Gate, how: End, number: u64) -> Result<u64, String> {
    gate.pass(|| false);
    end(how, number)
}

/// Arrives at the gate, and returns when it is told to stop.
#[task]
pub fn until_told(cx: &Context, gate: Gate, number: u64) -> u64 {
    gate.arrive();
    while !cx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    number
}

/// The first attempt fails; the second arrives at the gate, and ends when the gate is open or it is told to stop.
#[task]
pub fn second_attempt_waits(cx: &Context, gate: Gate, number: u64) -> Result<u64, String> {
    if cx.attempt() == 1 {
        return Err("once is not enough".to_owned());
    }
    gate.pass(|| cx.is_cancelled());
    Ok(number)
}

/// Returns an error about a time-out.
#[task]
pub fn returns_time_out() -> io::Result<u64> {
    Err(io::ErrorKind::TimedOut.into())
}

/// Returns the error that tells of a cancel.
#[task]
pub fn returns_cancelled() -> Result<u64, TaskError> {
    Err(TaskError::Cancelled)
}

/// Fails with an `anyhow` error with two causes.
#[task]
pub fn fails_with_anyhow(path: PathBuf) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(&path).context("reading the settings").context("starting")?;
    Ok(text.len() as u64)
}

/// Fails with a text.
#[task]
pub fn fails_with_text(text: String) -> Result<u64, String> {
    Err(text)
}

/// Fails with a boxed error that has a cause.
#[task]
pub fn fails_with_box() -> Result<u64, Box<dyn Error + Send + Sync>> {
    Err(Box::new(Outer(Inner)))
}

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the roof leaks")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tile is loose")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Error for Inner {}

/// Where [`panics()`] panics.
pub const PANIC_PLACE: (&str, u32) = (file!(), line!() + 5);

/// Panics with this text.
#[task]
pub fn panics(text: String) -> u64 {
    panic!("{text}")
}

/// Panics, catches it, and fails or succeeds.
#[task]
pub fn catches_its_panic(fail: bool) -> Result<u64, String> {
    let caught = std::panic::catch_unwind(|| panic!("nobody hears this"));
    assert!(caught.is_err());
    if fail { Err("heard".to_owned()) } else { Ok(1) }
}

/// Panics with a number as payload.
#[task]
pub fn panics_with_number() -> u64 {
    std::panic::panic_any(42_u64)
}

/// Panics with a payload that panics when dropped, and so on, so many times.
#[task]
pub fn panics_with_bomb(depth: u32) -> u64 {
    std::panic::panic_any(Bomb(depth))
}

/// Its worker and process.
#[task]
pub fn whoami(cx: &Context) -> (u32, u32) {
    (cx.worker(), std::process::id())
}

/// Writes numbered lines to standard error, waits at the gate from its second attempt on, and is killed.
#[task]
pub fn last_words(cx: &Context, lines: u32, gate: Gate) -> u64 {
    for line in 1..=lines {
        eprintln!("line {line}");
    }
    if cx.attempt() > 1 {
        gate.pass(|| cx.is_cancelled());
    }
    misdeeds::send_myself(libc::SIGKILL);
    0
}

/// Takes what cannot be written.
#[task]
pub fn takes_unwritable(value: Unwritable) -> u64 {
    value.0
}

/// Takes what panics when written.
#[task]
pub fn takes_panics_when_written(_: PanicsWhenWritten) -> u64 {
    1
}

/// Takes what cannot be read.
#[task]
pub fn takes_unreadable(cx: &Context, value: Unreadable) -> Result<u64, String> {
    if cx.attempt() == 1 { Err(format!("read {}", value.0)) } else { Ok(value.0) }
}

/// Takes what panics when read.
#[task]
pub fn takes_panics_when_read(_: PanicsWhenRead) -> u64 {
    1
}

/// Gives what cannot be written.
#[task]
pub fn gives_unwritable(number: u64) -> Unwritable {
    Unwritable(number)
}

/// Gives what panics when written.
#[task]
pub fn gives_panics_when_written() -> PanicsWhenWritten {
    PanicsWhenWritten
}

/// Gives what cannot be read.
#[task]
pub fn gives_unreadable(number: u64) -> Unreadable {
    Unreadable(number)
}

/// Gives what cannot always be read.
#[task]
pub fn gives_moody(number: u64) -> Moody {
    Moody(number)
}

/// Gives what panics when read.
#[task]
pub fn gives_panics_when_read() -> PanicsWhenRead {
    PanicsWhenRead
}

/// Gives it back.
#[task]
pub fn echo_untagged(value: Untagged) -> Untagged {
    value
}

/// Gives it back.
#[task]
pub fn echo_flat(value: Flat) -> Flat {
    value
}

/// Gives it back.
#[task]
pub fn echo_shifting(value: Shifting) -> Shifting {
    value
}

/// Gives it back.
#[task]
pub fn echo_endless(value: Endless) -> Endless {
    value
}

/// Gives it back.
#[task]
pub fn echo_json(value: serde_json::Value) -> serde_json::Value {
    value
}

/// Both numbers, as they arrived.
#[task]
pub fn reads_forgetful(value: Forgetful) -> (u64, u64) {
    (value.kept, value.forgotten)
}

/// Takes one and gives one.
#[task]
pub fn recounts(value: Counted) -> Counted {
    Counted::new(value.number() + 1)
}

/// Takes one and fails.
#[task]
pub fn counts_and_ends(value: Counted, how: End) -> Result<Counted, String> {
    end(how, value.number()).map(Counted::new)
}

/// Takes one and waits.
#[task]
pub fn counts_and_waits(value: Counted, gate: Gate) -> u64 {
    gate.pass(|| false);
    value.number()
}

/// How many are alive in the worker's process.
#[task]
pub fn live_counted() -> usize {
    Counted::live()
}

/// Number of a task's place, attempt, seed, worker and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `cx.id()`
    pub id: u64,
    /// `cx.index()`
    pub index: u64,
    /// `cx.attempt()`
    pub attempt: u32,
    /// `cx.seed()`
    pub seed: u64,
    /// `cx.worker()`
    pub worker: u32,
    /// `cx.slot()`
    pub slot: u32,
    /// `cx.is_cancelled()`
    pub cancelled: bool,
    /// The number in the worker's state, if it has one.
    pub state: Option<u64>,
}

fn known(cx: &Context) -> Known {
    Known {
        id: cx.id(),
        index: cx.index(),
        attempt: cx.attempt(),
        seed: cx.seed(),
        worker: cx.worker(),
        slot: cx.slot(),
        cancelled: cx.is_cancelled(),
        state: cx.state::<State>().map(|state| state.0),
    }
}

/// What the context says. Fails on the attempts before `succeeds_at`.
#[task]
pub fn knows(cx: &Context, succeeds_at: u32) -> Result<Known, String> {
    if cx.attempt() < succeeds_at { Err(format!("attempt {}", cx.attempt())) } else { Ok(known(cx)) }
}

/// What the context says, after others have come to the gate too.
#[task]
pub fn knows_together(cx: &Context, gate: Gate, others: usize) -> Known {
    gate.arrive();
    gate.wait_for(others);
    known(cx)
}

/// What an initialiser makes: never leaves its worker.
#[derive(Debug)]
pub struct State(u64);

/// Makes the state and notes on which worker.
#[task(state)]
pub fn makes_state(cx: &Context, file: PathBuf, number: u64) -> State {
    append_line(&file, &format!("init {}", cx.worker()));
    State(number)
}

/// An initialiser that fails.
#[task(state)]
pub fn fails_to_make_state(reason: String) -> anyhow::Result<State> {
    Err(anyhow::anyhow!(reason).context("loading the model"))
}

/// An initialiser that panics.
#[task(state)]
pub fn panics_making_state(reason: String) -> State {
    panic!("{reason}")
}

/// Makes the state while there is no file `stop`, and fails after that. Notes each try.
#[task(state)]
pub fn makes_state_until(tries: PathBuf, stop: PathBuf) -> Result<State, String> {
    append_line(&tries, "try");
    if stop.exists() { Err("the licence has expired".to_owned()) } else { Ok(State(0)) }
}

/// An initialiser whose process exits.
#[task(state)]
pub fn exits_making_state(code: i32) -> State {
    std::process::exit(code)
}

/// Notes on which worker it ran.
#[task]
pub fn notes_worker(cx: &Context, file: PathBuf) -> u32 {
    append_line(&file, &format!("task {}", cx.worker()));
    cx.worker()
}

/// Reports so many steps.
#[task]
pub fn reports(cx: &Context, steps: u64) -> u64 {
    (1..=steps).for_each(|step| cx.progress(step, steps));
    steps
}

/// Waits at its gate, whatever it is told, then reports, and comes to the other gate.
#[task]
pub fn reports_late(cx: &Context, gate: Gate, reported: Gate) -> u64 {
    gate.pass(|| false);
    cx.progress(1, 1);
    reported.arrive();
    7
}

/// Uses at least so much processor time, then sleeps, then gives so many bytes.
#[task]
pub fn burns(cpu: Duration, sleep: Duration, bytes: Vec<u8>) -> Vec<u8> {
    let start = misdeeds::thread_cpu_time();
    while misdeeds::thread_cpu_time() - start < cpu {
        std::hint::black_box((0..1000_u64).sum::<u64>());
    }
    thread::sleep(sleep);
    bytes
}

/// Logs so many records, and one at a level that the program does not want.
#[task]
pub fn logs(label: String, count: u32, unwanted: PathBuf) -> u32 {
    for number in 0..count {
        log::info!(target: "tests::order", "{label} {number}");
    }
    log::debug!(target: "tests::order", "{label} {}", Touches(unwanted));
    count
}

/// Leaves a trace when somebody formats it.
struct Touches(PathBuf);

impl fmt::Display for Touches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        touch(&self.0);
        f.write_str("formatted")
    }
}

/// Floods the logger with records that it does not take; notes every thousandth.
#[task]
pub fn floods(count: u32, file: PathBuf) -> u32 {
    let padding = "x".repeat(1000);
    for number in 0..count {
        log::info!(target: BLOCKED_TARGET, "flood {number} {padding}");
        if number % 1000 == 0 {
            append_line(&file, &number.to_string());
        }
    }
    count
}

/// Logs, flushes, and is killed.
#[task]
pub fn logs_and_dies(label: String) -> u64 {
    log::warn!(target: "tests::dying", "{label}");
    log::logger().flush();
    misdeeds::send_myself(libc::SIGKILL);
    0
}

/// A misdeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misdeed {
    /// Follows a wild pointer.
    WildPointer,
    /// Kills its process with this signal.
    Signal(i32),
    /// `abort`.
    Abort,
    /// Uses up the stack.
    StackOverflow,
    /// Exits with this code.
    Exit(i32),
    /// `_exit` with this code.
    QuickExit(i32),
    /// Closes all descriptors.
    CloseAll,
    /// Writes to all sockets, and over all shared memory.
    Garbage,
    /// Reads from the terminal, or whatever is its standard input.
    ReadInput,
}

/// Commits it.
#[task]
pub fn commits(misdeed: Misdeed) -> u64 {
    match misdeed {
        Misdeed::WildPointer => return misdeeds::follow_wild_pointer(),
        Misdeed::Signal(signal) => misdeeds::send_myself(signal),
        Misdeed::Abort => std::process::abort(),
        Misdeed::StackOverflow => return misdeeds::overflow_stack(0),
        Misdeed::Exit(code) => std::process::exit(code),
        Misdeed::QuickExit(code) => misdeeds::quick_exit(code),
        Misdeed::CloseAll => misdeeds::close_all_descriptors(),
        Misdeed::Garbage => {
            // What others have said is heard first.
            thread::sleep(Duration::from_millis(20));
            misdeeds::write_garbage_to_sockets();
            misdeeds::overwrite_shared_memory();
        }
        Misdeed::ReadInput => return read_input(),
    }
    0
}

fn read_input() -> u64 {
    let mut bytes = Vec::new();
    // Nothing to read is what the tests ask for; an error is nothing too.
    let _ = io::stdin().read_to_end(&mut bytes);
    bytes.len() as u64
}

/// Gives so many bytes, or is killed.
#[task]
pub fn gives_or_dies(bytes: usize, dies: bool) -> Vec<u8> {
    if dies {
        misdeeds::send_myself(libc::SIGKILL);
    }
    vec![7; bytes]
}

/// What the context says; the first attempt is killed if it is told so.
#[task]
pub fn dies_once(cx: &Context, dies: bool) -> Known {
    if dies && cx.attempt() == 1 {
        misdeeds::send_myself(libc::SIGKILL);
    }
    known(cx)
}

/// Reads its standard input to the end; how many bytes there were.
#[task]
pub fn reads_input() -> u64 {
    read_input()
}

/// Prints to standard output and standard error, where a library in another language would: past Rust's buffers too.
#[task]
pub fn prints(text: String) -> u64 {
    println!("out: {text}");
    eprintln!("err: {text}");
    let said = Command::new("echo").arg(format!("child: {text}")).stdin(Stdio::null()).status();
    u64::from(said.is_ok_and(|status| status.success()))
}

/// Starts a grandchild that holds standard output for a minute, and returns its process id.
#[task]
pub fn leaves_grandchild() -> Result<u32, io::Error> {
    Ok(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?.id())
}

// What follows is for backends in this process, whose tasks can find their own pool.

static VIEWS: Mutex<Option<HashMap<u64, View>>> = Mutex::new(None);
static POOLS: Mutex<Option<HashMap<u64, Pool>>> = Mutex::new(None);
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// Lets tasks find this view; under which number.
pub fn publish(view: View) -> u64 {
    let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
    lock(&VIEWS).get_or_insert_default().insert(key, view);
    key
}

/// Gives a pool to the task that [`drops_pool()`] is; under which number.
pub fn hand_over(pool: Pool) -> u64 {
    let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
    lock(&POOLS).get_or_insert_default().insert(key, pool);
    key
}

fn published(key: u64) -> View {
    lock(&VIEWS).as_ref().and_then(|views| views.get(&key)).cloned().expect("published before")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sum of the numbers down from `number`: asks the other view for the sum below it, and that one asks this one. Under
/// a limit on time no task runs inside the one that waits for it.
#[task]
pub fn sums(here: u64, there: u64, number: u64, limited: bool) -> Result<u64, TaskError> {
    if number == 0 {
        return Ok(0);
    }
    let mut view = published(there);
    if limited {
        view = view.with(Policy::new().timeout(Duration::from_secs(3600)));
    }
    Ok(number + view.submit(sums::task(there, here, number - 1, limited))?.join()?)
}

/// Drops the pool that was handed over: its own. Notes when that is done.
#[task]
pub fn drops_pool(key: u64, done: PathBuf) -> u64 {
    let pool = lock(&POOLS).as_mut().and_then(|pools| pools.remove(&key));
    drop(pool.expect("handed over before"));
    touch(&done);
    key
}
