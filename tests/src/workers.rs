//! How long a worker stays, and how much memory its tasks may take.

use std::{
    collections::BTreeMap,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use taskloom::{Blob, Cancel, Context, Kind, Policy, Retry, TaskError, Until, Waitable, task, wait};

use crate::{
    crash::lacks_isolation,
    harness::{Harness, Setup},
    misdeeds,
    process::lives,
    scratch::{Gate, Scratch, append_line, eventually, lines},
    tasks::{End, double, end, waits},
};

const MIB: u64 = 1 << 20;

/// Takes so much memory bit by bit, and holds it until the gate is opened.
#[task]
pub fn takes(mib: u64, gate: Gate) -> u64 {
    let mut blocks = Vec::new();
    for _ in 0..mib / 4 {
        blocks.push(black_box(vec![1_u8; 4 << 20]));
    }
    gate.pass(|| false);
    blocks.len() as u64 * 4
}

/// Takes so much memory, gives it back, and returns.
#[task]
pub fn passes_through(mib: u64) -> u64 {
    let block = black_box(vec![1_u8; (mib * MIB) as usize]);
    // Long enough to be seen.
    thread::sleep(Duration::from_millis(100));
    block.len() as u64 / MIB
}

/// Looks at every byte of a blob while it holds so much memory of its own; gives their sum.
#[task]
pub fn looks_and_takes(blob: Blob, mib: u64) -> u64 {
    let own = black_box(vec![1_u8; (mib * MIB) as usize]);
    let sum = blob.iter().map(|&byte| u64::from(byte)).sum();
    // Long enough to be seen.
    thread::sleep(Duration::from_millis(100));
    drop(own);
    sum
}

/// Leaves so much memory behind in its process.
#[task]
pub fn leaves(cx: &Context, mib: u64, file: PathBuf) -> u32 {
    static LEFT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(vec![1; (mib * MIB) as usize]);
    thread::sleep(Duration::from_millis(10));
    append_line(&file, &format!("{} {}", cx.worker(), std::process::id()));
    cx.worker()
}

/// Has a process of its own take so much memory, outside of its process group.
#[task]
pub fn has_child_take(mib: u64) -> std::io::Result<bool> {
    let script = format!("x=$(head -c {} /dev/zero | tr '\\0' x); sleep 60; echo ${{#x}}", mib * MIB);
    Ok(Command::new("setsid").args(["sh", "-c", &script]).status()?.success())
}

/// Notes which worker ran it, and in which process.
#[task]
pub fn signs(cx: &Context, file: PathBuf, number: u64) -> u64 {
    append_line(&file, &format!("{} {}", cx.worker(), std::process::id()));
    number
}

/// What a backend that keeps no such limit does: refuses to be built with it, and says what it cannot do.
#[track_caller]
fn refuses<H: Harness>(setup: Setup, operation: &str) {
    match H::build(setup) {
        Err(TaskError::Unsupported(refused)) => {
            assert_eq!(refused.operation, operation);
            assert!(!refused.backend.is_empty() && !refused.help.is_empty(), "{refused:?}");
        }
        other => panic!("{operation} is refused, not {other:?}"),
    }
}

/// A task that takes too much ends while it runs, and neither its neighbours nor its successors notice.
pub fn limits_memory<H: Harness>() {
    let limit = 96;
    let setup = || Setup::workers(2).memory_limit(limit * MIB);
    if !Setup::workers(1).build::<H>().capabilities().limits_memory {
        return refuses::<H>(setup(), "limiting tasks' memory");
    }
    assert!(matches!(H::build(Setup::workers(1).memory_limit(0)), Err(TaskError::Start(_))));
    let scratch = Scratch::new();
    let never = scratch.gate("never");
    let pool = setup().build::<H>();
    let gate = scratch.gate("neighbour");
    let neighbour = pool.submit(waits::task(gate.clone(), 5)).expect("accepted");
    gate.wait_for(1);

    let glutton = pool.submit(takes::task(4096, never)).expect("accepted").join();
    let Err(TaskError::OutOfMemory(death)) = glutton else { panic!("{glutton:?} is not out of memory") };
    assert_eq!((death.signal, death.attempt), (Some(9), 1), "{death:?}");
    assert!(death.verdict.ends_with(&format!("may take {limit} MiB")), "{death:?}");
    assert!(death.peak_memory.is_some_and(|peak| peak > limit * MIB), "{death:?}");
    assert_eq!(pool.submit(passes_through::task(limit * 3 / 4)).expect("accepted").join().expect("below"), 72);

    let child = pool.submit(has_child_take::task(4 * limit)).expect("accepted").join();
    assert!(matches!(child, Err(TaskError::OutOfMemory(_))), "{child:?}");
    // A blob of twice the limit, looked at byte for byte, in a task that needs nearly all of its own.
    let blob = Blob::from(vec![1; 2 * limit as usize * MIB as usize]);
    let looked = pool.submit(looks_and_takes::task(blob.clone(), limit * 3 / 4)).expect("accepted").join();
    assert_eq!(looked.expect("what is shared is nobody's"), 2 * limit * MIB);
    let both = pool.submit(looks_and_takes::task(blob, 4 * limit)).expect("accepted").join();
    assert!(matches!(both, Err(TaskError::OutOfMemory(_))), "{both:?}");
    gate.open();
    assert_eq!(neighbour.join().expect("unharmed"), 5);
    what_was_left_blames_nobody::<H>(&scratch, limit);
}

/// Two tasks leave less than half of the limit each. Neither they nor the next one, which needs nearly all of it, is blamed,
/// and the worker is replaced when what was left is more than half.
fn what_was_left_blames_nobody<H: Harness>(scratch: &Scratch, limit: u64) {
    let file = scratch.path("left");
    let pool = Setup::workers(1).memory_limit(limit * MIB).build::<H>();
    let submit = |mib| pool.submit(leaves::task(mib, file.clone())).expect("accepted").join().expect("below");
    let first = submit(limit * 2 / 5);
    assert_eq!(pool.submit(passes_through::task(limit * 4 / 5)).expect("accepted").join().expect("below"), 76);
    assert_eq!(submit(limit * 2 / 5), first, "with less than half it stays");
    let next = submit(1);
    assert_ne!(next, first, "with more than half it is replaced");
    let kept = pool.with(Policy::new().retry(Retry::on([Kind::OutOfMemory], 1)));
    let twice = kept.submit(takes::task(4096, scratch.gate("never again"))).expect("accepted").join();
    assert!(matches!(twice, Err(TaskError::OutOfMemory(death)) if death.attempt == 2), "also a cause to retry");
}

/// How a process gets away from the task that started it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Flight {
    /// Into a process group of its own.
    Group,
    /// Into a session of its own.
    Session,
    /// The same, and its parent ends.
    Orphaned,
    /// The same, and without the environment that it would inherit.
    OrphanedInOwnEnvironment,
}

/// Starts a process that gets away, notes its number, and ends its own process or waits to be killed.
#[task]
pub fn leaves_stray(flight: Flight, file: PathBuf, crashes: bool) -> std::io::Result<u64> {
    let script = match flight {
        Flight::Group => "timeout 600 sleep 600 >&2 & echo $!; wait",
        Flight::Session => "setsid sleep 600 >&2 & echo $!; wait",
        Flight::Orphaned => "setsid sleep 600 >&2 & echo $!",
        Flight::OrphanedInOwnEnvironment => "env -i setsid sleep 600 >&2 & echo $!",
    };
    let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
    let mut number = String::new();
    BufReader::new(shell.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?).read_line(&mut number)?;
    if !matches!(flight, Flight::Group | Flight::Session) {
        shell.wait()?;
    }
    // Until then it is a copy of the shell, or on its way, and has not got away.
    let comm = format!("/proc/{}/comm", number.trim());
    let arrived = |name: String| ["sleep", "timeout"].contains(&name.trim());
    eventually("it has got away", || std::fs::read_to_string(&comm).is_ok_and(arrived));
    append_line(&file, number.trim());
    if crashes {
        std::process::abort();
    }
    loop {
        thread::park();
    }
}

/// Whoever left the process group of its worker is found when the worker is killed, and when it dies: as long as it
/// keeps its parent or its environment.
pub fn limits_descendants<H: Harness>() {
    let pool = Setup::workers(2).build::<H>();
    if !pool.capabilities().kills {
        return lacks_isolation(&pool);
    }
    let scratch = Scratch::new();
    let brief = pool.with(Policy::new().grace(Duration::from_millis(50)));
    let flights = [Flight::Group, Flight::Session, Flight::Orphaned, Flight::OrphanedInOwnEnvironment];
    for (flight, crashes) in flights.into_iter().flat_map(|flight| [(flight, false), (flight, true)]) {
        let file = scratch.path(&format!("{flight:?} {crashes}"));
        let handle = brief.submit(leaves_stray::task(flight, file.clone(), crashes)).expect("accepted");
        eventually("it has started the stray", || lines(&file).len() == 1);
        if !crashes {
            assert_eq!(handle.cancel(), Cancel::Requested);
        }
        let ended = if crashes { Kind::Crashed } else { Kind::Cancelled };
        assert_eq!(handle.join().expect_err("it does not return").kind(), ended, "{flight:?}");
        let stray: u32 = lines(&file)[0].parse().expect("a number");
        if matches!(flight, Flight::OrphanedInOwnEnvironment) {
            // This is how far it goes. When the pool has ended, nobody looks any more.
            assert_eq!(pool.submit(double::task(1)).expect("accepted").join().expect("runs"), 2);
            assert!(lives(stray), "nothing of its worker is left on it");
            assert!(misdeeds::send(stray, 9));
        } else {
            eventually("the stray is dead", || !lives(stray));
        }
    }
    pool.join();
}

/// Prints to both streams in three ways, one of them C's, and ends as told. Without a line's end, and unflushed.
#[task]
pub fn prints_to_both(number: u64, how: End) -> Result<u64, String> {
    print!("out {number}, ");
    misdeeds::print_as_c_does(c"from C, ");
    // C's buffer is written at the end of the task, and would be lost in a crash.
    eprint!("err {number}");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    // What comes of it is seen in the output.
    let _ = Command::new("echo").arg("from a child").status();
    end(how, number)
}

/// Prints so much.
#[task]
pub fn prints_much(mib: u64) -> std::io::Result<()> {
    let line = [b'x'; 1 << 16];
    (0..mib * 16).try_for_each(|_| std::io::stdout().write_all(&line))
}

/// What a task prints comes with its outcome where that is asked for: its own, all of it, also if it died.
pub(crate) fn output_is_captured<H: Harness>() {
    if !Setup::workers(1).build::<H>().capabilities().captures_output {
        return refuses::<H>(Setup::workers(1).capture_output(), "capturing what tasks print");
    }
    let pool = Setup::workers(2).capture_output().build::<H>();
    let outputs = |how: End, number| {
        let (sender, output) = std::sync::mpsc::channel();
        let handle = pool.submit(prints_to_both::task(number, how)).expect("accepted");
        handle.on_done(move |finished| sender.send(finished.output.clone()).expect("somebody waits"));
        let outcome = handle.join();
        let output = output.recv().expect("a callback is called").expect("it has printed");
        (outcome, [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")))
    };
    for number in 0..20 {
        let (outcome, [stdout, stderr]) = outputs(End::Value, number);
        assert_eq!(outcome.expect("runs"), number);
        assert_eq!(stderr, format!("err {number}"));
        assert_eq!(
            stdout,
            format!(
                "out {number}, from a child
from C, "
            )
        );
    }
    let (outcome, [stdout, stderr]) = outputs(End::Signal(6), 20);
    assert!(
        matches!(&outcome, Err(TaskError::Crashed(death)) if death.stderr.last().is_some_and(|line| line.ends_with("err 20"))),
        "{outcome:?}"
    );
    assert!(stdout.starts_with("out 20, ") && stderr.ends_with("err 20"), "{stdout:?} {stderr:?}");

    let quiet = pool.submit(double::task(4)).expect("accepted");
    let much = pool.submit(prints_much::task(20)).expect("accepted");
    wait([&quiet as &dyn Waitable, &much], Until::All, None);
    assert!(quiet.summary().is_none_or(|finished| finished.output.is_none()), "it has not printed");
    let output = much.summary().and_then(|finished| finished.output).expect("it has printed");
    assert_eq!((output.stdout.len() as u64, output.dropped), (MIB, 19 * MIB));
}

/// How many tasks each process ran, by the lines they left.
fn tasks_by_process(file: &std::path::Path) -> BTreeMap<String, usize> {
    let mut tasks = BTreeMap::new();
    for line in lines(file) {
        *tasks.entry(line).or_default() += 1;
    }
    tasks
}

/// Workers go and come, and what is queued does not notice: not while chunks are sent, nor when the pool accepts nothing more.
pub fn limits_recycle<H: Harness>() {
    let refused = "replacing workers by age or size";
    if !Setup::workers(1).build::<H>().capabilities().recycles {
        refuses::<H>(Setup::workers(1).max_tasks_per_worker(3), refused);
        return refuses::<H>(Setup::workers(1).recycle_above(MIB), refused);
    }
    assert!(matches!(H::build(Setup::workers(1).max_tasks_per_worker(0)), Err(TaskError::Start(_))));
    let scratch = Scratch::new();
    for (workers, most, chunk) in [(1, 1, 1), (2, 3, 1), (2, 7, 50), (1, 1000, 10)] {
        let file = scratch.path(&format!("signed {workers} {most} {chunk}"));
        let pool = Setup::workers(workers).max_tasks_per_worker(most).build::<H>();
        let inputs = (0..100).map(|number| signs::task(file.clone(), number));
        let numbers: Vec<u64> =
            pool.with(Policy::new().chunk(chunk)).map(inputs).map(|outcome| outcome.expect("runs")).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        let tasks = tasks_by_process(&file);
        assert!(tasks.values().all(|&count| count as u64 <= most), "at most {most} each: {tasks:?}");
        assert_eq!(tasks.values().sum::<usize>(), 100);
        assert!(tasks.len() as u64 >= 100 / most, "{tasks:?}");
    }
    a_backlog_is_worked_off::<H>(&scratch);
    who_grows_is_replaced::<H>(&scratch);
}

/// Nothing is submitted any more, and the workers have to be replaced all the same.
fn a_backlog_is_worked_off<H: Harness>(scratch: &Scratch) {
    let file = scratch.path("backlog");
    let pool = Setup::workers(2).max_tasks_per_worker(2).build::<H>();
    let handles: Vec<_> =
        (0..40).map(|number| pool.submit(signs::task(file.clone(), number)).expect("accepted")).collect();
    pool.join();
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().expect("runs"), number);
    }
    assert!(tasks_by_process(&file).len() >= 20);
}

fn who_grows_is_replaced<H: Harness>(scratch: &Scratch) {
    let file = scratch.path("growing");
    let pool = Setup::workers(1).recycle_above(16 * MIB).build::<H>();
    let workers: Vec<u32> =
        (0..4).map(|_| pool.submit(leaves::task(24, file.clone())).expect("accepted").join().expect("runs")).collect();
    assert!(workers.windows(2).all(|pair| pair[0] != pair[1]), "each left too much: {workers:?}");
    let small: Vec<u32> =
        (0..4).map(|_| pool.submit(leaves::task(1, file.clone())).expect("accepted").join().expect("runs")).collect();
    assert!(small.windows(2).all(|pair| pair[0] == pair[1]), "none left much: {small:?}");
}
