//! What deaths, replacements and time-outs cost.

use std::{
    collections::VecDeque,
    fs,
    hint::black_box,
    io::Write,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use taskloom::{Event, Handle, Policy, Pool, TaskError, procs, task};

use crate::{
    Plan,
    compare::{Row, median, mib, time_text},
    memory::{grown_elsewhere, resident},
    procs::{WORKERS, start_and_wait},
    tasks::next,
};

/// Computes for so many steps.
#[task]
fn computes(steps: u64) -> u64 {
    (0..steps).fold(steps, |sum, step| black_box(sum.wrapping_mul(6_364_136_223_846_793_005) ^ step))
}

/// Notes the time in the file and dies.
#[task]
fn dies(noted: PathBuf) {
    fs::write(noted, now().to_string()).expect("the file can be written");
    std::process::abort();
}

/// When it began.
#[task]
fn begins() -> u64 {
    now()
}

/// Never ends.
#[task]
fn never_ends() {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

#[task]
fn aborts() {
    std::process::abort();
}

/// Nanoseconds on a clock that all processes have in common.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// What is left of a pool's work while its workers are killed: tasks done in a second, beside those done undisturbed less
/// what was killed half done.
pub(crate) fn kills(plan: &Plan) -> Result<Vec<Row>> {
    const KILLS_A_ROUND: usize = 300;
    let steps = steps_for(Duration::from_millis(5));
    let (mut ours, mut possible, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut killed, mut crashed, mut tasks) = (0, 0, 0);
    // In turn, since the machine may not be as quick all the time.
    for _ in 0..plan.rounds() {
        let span = Duration::from_secs(2);
        let calm = work_until(steps, |_, elapsed| elapsed >= span, None)?;
        let wanted = plan.tasks(KILLS_A_ROUND);
        let stormy = work_until(steps, |killed, _| killed >= wanted, Some(Duration::from_millis(15)))?;
        let half_done = stormy.lost.as_secs_f64() / calm.task_time() / stormy.took.as_secs_f64();
        ours.push(stormy.rate());
        possible.push(calm.rate() - half_done);
        ratios.push(stormy.rate() / (calm.rate() - half_done));
        killed += stormy.killed;
        crashed += stormy.crashed;
        tasks += stormy.tasks;
    }
    let [ours, theirs] = [ours, possible].map(|rates| format!("{:.0}/s", median(&rates).unwrap_or_default()));
    let note = format!("goodput; {killed} kills, {crashed} of them in a task; all {tasks} handles completed");
    let row = Row::note("procs, 2 workers being killed", ours, note);
    Ok(vec![Row { versus: "undisturbed".to_owned(), theirs, figures: ratios, ..row }])
}

/// How many steps take about so long, on a core of its own.
fn steps_for(time: Duration) -> u64 {
    const SAMPLE: u64 = 10_000_000;
    let start = Instant::now();
    black_box(computes(black_box(SAMPLE)));
    (SAMPLE as f64 * time.as_secs_f64() / start.elapsed().as_secs_f64()) as u64
}

struct Worked {
    took: Duration,
    tasks: usize,
    done: usize,
    crashed: usize,
    killed: usize,
    /// Running time of the tasks that were killed.
    lost: Duration,
}

impl Worked {
    fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    /// Seconds that a worker takes for a task.
    fn task_time(&self) -> f64 {
        WORKERS as f64 / self.rate()
    }
}

/// Works until `enough` of the number of kills and the time that has passed; kills a worker at random about every `pause`.
fn work_until(steps: u64, enough: impl Fn(usize, Duration) -> bool, pause: Option<Duration>) -> Result<Worked> {
    let alive = Arc::new(Mutex::new(Vec::new()));
    let killed = Arc::new(AtomicUsize::new(0));
    let (seen, counted) = (alive.clone(), killed.clone());
    let pool = procs::pool()
        .workers(WORKERS)
        .on_event(move |event| match event {
            Event::WorkerStarted { pid, .. } => locked(&seen).push(*pid),
            Event::WorkerEnded { pid, how, .. } => {
                locked(&seen).retain(|alive| alive != pid);
                counted.fetch_add(usize::from(how.contains("SIGKILL")), Ordering::Relaxed);
            }
            _ => {}
        })
        .build()?;
    let killer = pause.map(|pause| Killer::start(alive, pause)).transpose()?;
    let start = Instant::now();
    let mut worked = Worked { took: Duration::ZERO, tasks: 0, done: 0, crashed: 0, killed: 0, lost: Duration::ZERO };
    let mut pending: VecDeque<Handle<u64>> = VecDeque::new();
    loop {
        let open = !enough(killed.load(Ordering::Relaxed), start.elapsed());
        while open && pending.len() < 16 * WORKERS {
            pending.push_back(pool.submit(computes::task(steps))?);
            worked.tasks += 1;
        }
        let Some(handle) = pending.pop_front() else { break };
        match handle.join() {
            Ok(_) => worked.done += 1,
            Err(TaskError::Crashed(death)) => {
                worked.crashed += 1;
                worked.lost += death.wall;
            }
            Err(other) => bail!("a task ended otherwise: {other}"),
        }
    }
    worked.took = start.elapsed();
    drop(killer);
    worked.killed = killed.load(Ordering::Relaxed);
    ensure!(worked.done + worked.crashed == worked.tasks, "every handle completes");
    Ok(worked)
}

fn locked(pids: &Mutex<Vec<u32>>) -> std::sync::MutexGuard<'_, Vec<u32>> {
    pids.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills workers until it is dropped.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Child>>,
}

impl Killer {
    fn start(alive: Arc<Mutex<Vec<u32>>>, pause: Duration) -> Result<Self> {
        // One shell for all kills: a process for each would be more of a disturbance than the kill.
        let mut shell = Command::new("sh")
            .args(["-c", "while read pid; do kill -9 $pid; done"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting a shell that kills")?;
        let mut pids = shell.stdin.take().context("it has an input")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            while !stopped.load(Ordering::Relaxed) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let part = (random >> 33) as u32;
                // Between nothing and twice the pause.
                thread::sleep(pause.mul_f64(f64::from(part) / f64::from(1_u32 << 30)));
                let victim = {
                    let alive = locked(&alive);
                    let count = alive.len().max(1);
                    alive.get(part as usize % count).copied()
                };
                // When the shell is gone no more is killed, and the run has no end: said by whoever looks at the figures.
                if let Some(pid) = victim
                    && writeln!(pids, "{pid}").is_err()
                {
                    break;
                }
            }
            shell
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The shell ends with its input.
        if let Some(Ok(mut shell)) = self.thread.take().map(thread::JoinHandle::join) {
            let _ = shell.wait();
        }
    }
}

/// From a worker's death to the first line of the next task, on its replacement.
pub(crate) fn replacement(plan: &Plan) -> Result<Vec<Row>> {
    let noted = std::env::temp_dir().join(format!("taskloom-bench-{}", std::process::id()));
    let pool = procs::pool().workers(1).build()?;
    pool.submit(next::task(1))?.join()?;
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..plan.tasks(300) {
        let death = pool.submit(dies::task(noted.clone()))?;
        let begun = pool.submit(begins::task())?.join()?;
        ensure!(matches!(death.join(), Err(TaskError::Crashed(_))), "it crashes");
        let died: u64 = fs::read_to_string(&noted)?.parse()?;
        ours.push(begun.saturating_sub(died) as f64 / 1e9);
        let start = Instant::now();
        start_and_wait()?;
        limit.push(start.elapsed().as_secs_f64());
    }
    fs::remove_file(&noted)?;
    let [ours_typical, limit_typical] = [&ours, &limit].map(|times| median(times).unwrap_or_default());
    let row = Row::note("procs, death to next task", time_text(ours_typical), format!("medians of {}", ours.len()));
    Ok(vec![Row {
        versus: "fork, exec and wait".to_owned(),
        theirs: time_text(limit_typical),
        figures: vec![ours_typical / limit_typical],
        ..row
    }])
}

/// How much later than its limit and its grace period a task is reported that does not listen, and the next one begins.
pub(crate) fn timeout(plan: &Plan) -> Result<Vec<Row>> {
    let [limit, grace] = [50, 100].map(Duration::from_millis);
    let pool = procs::pool().workers(1).build()?;
    pool.submit(next::task(1))?.join()?;
    let strict = pool.with(Policy::new().timeout(limit).grace(grace));
    let (mut reported, mut again) = (Vec::new(), Vec::new());
    for _ in 0..plan.tasks(100) {
        let start = Instant::now();
        let outcome = strict.submit(never_ends::task())?.join();
        reported.push(start.elapsed().as_secs_f64());
        ensure!(matches!(outcome, Err(TaskError::TimedOut(_))), "it overruns its limit");
        pool.submit(next::task(1))?.join()?;
        again.push(start.elapsed().as_secs_f64());
    }
    let least = (limit + grace).as_secs_f64();
    let late = |times: &[f64]| format!("{:+.1} ms", 1e3 * (median(times).unwrap_or_default() - least));
    let note = "medians, against limit + grace, of a task that does not listen";
    Ok(vec![
        Row::note("procs, a time-out is reported", late(&reported), note),
        Row::note("procs, its worker has been replaced", late(&again), note),
    ])
}

/// Takes memory as fast as it can, without end.
#[task]
fn gorges() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// How far a task gets beyond its limit that takes memory as fast as it can.
pub(crate) fn memory_limit(plan: &Plan) -> Result<Vec<Row>> {
    const LIMIT: u64 = 256 << 20;
    let pool = procs::pool().workers(1).memory_limit(LIMIT).build()?;
    let mut beyond = Vec::new();
    for _ in 0..plan.tasks(50) {
        let Err(TaskError::OutOfMemory(death)) = pool.submit(gorges::task())?.join() else {
            bail!("a task that takes all memory is not out of memory");
        };
        // With what its worker held before, a few MiB of program among it.
        beyond.push(mib(death.peak_memory.context("its peak is known")?.saturating_sub(LIMIT)));
    }
    let most = beyond.iter().copied().fold(0.0, f64::max);
    let typical = median(&beyond).context("at least one")?;
    Ok(vec![Row::note(
        "procs, memory taken beyond a limit of 256 MiB",
        format!("{typical:.0} MiB"),
        format!("at most {most:.0} MiB; of a task that takes as fast as it can"),
    )])
}

/// How much deaths grow this process.
pub(crate) fn deaths_memory(plan: &Plan) -> Result<Vec<Row>> {
    let deaths = plan.tasks(10_000);
    let grown = grown_elsewhere(&["--deaths", &deaths.to_string()])?;
    let what = format!("procs, {deaths} deaths");
    Ok(vec![Row::note(what, format!("{:.1} MiB", mib(grown)), "growth of the parent's resident memory")])
}

/// What [`deaths_memory`] runs in a process of its own: prints by how many bytes it grew.
pub(crate) fn die(deaths: usize) -> Result<ExitCode> {
    let pool = procs::pool().workers(WORKERS).build()?;
    // What is made once, and what the allocator keeps for itself, is there after some.
    die_on(&pool, 100)?;
    let before = resident("VmRSS:")?;
    die_on(&pool, deaths)?;
    println!("{}", resident("VmRSS:")?.saturating_sub(before));
    Ok(ExitCode::SUCCESS)
}

fn die_on(pool: &Pool<procs::Procs>, deaths: usize) -> Result<()> {
    let mut died = 0;
    while died < deaths {
        let handles = (0..WORKERS).map(|_| pool.submit(aborts::task())).collect::<Result<Vec<_>, _>>()?;
        for handle in handles {
            ensure!(matches!(handle.join(), Err(TaskError::Crashed(_))), "it crashes");
            died += 1;
        }
    }
    Ok(())
}
