//! What pools cost in memory.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use taskloom::{Event, Pool, procs};

use crate::{
    Plan,
    compare::{Bound, Row, mib},
    tasks::{self, next, submit_and_join},
};

/// P10: private memory of one idle worker, beyond that of this program when it does nothing.
pub(crate) fn worker(plan: &Plan) -> Result<Vec<Row>> {
    let what = "procs, one idle worker";
    let mut beyond = Vec::new();
    for _ in 0..plan.rounds() {
        let (pool, pids) = with_pids(1)?;
        submit_and_join(&pool, 1000)?;
        let pid = *pids.lock().expect("nobody panics with it").first().context("no worker was announced")?;
        let resting = Resting::start(&["--rest"])?;
        beyond.push(mib(private_memory(pid)?) - mib(private_memory(resting.pid())?));
    }
    let row = Row::note(what, "", "private memory beyond that of the program at rest").id("P10");
    Ok(vec![row.judged(beyond, "MiB", Bound::AtMost(3.0), Bound::AtMost(1.0))])
}

/// Process ids of a pool's workers, as they are announced.
type Pids = Arc<Mutex<Vec<u32>>>;

/// A pool, and the process ids of its workers.
pub(crate) fn with_pids(workers: usize) -> Result<(Pool<procs::Procs>, Pids)> {
    let pids = Pids::default();
    let seen = pids.clone();
    let pool = procs::pool()
        .workers(workers)
        .on_event(move |event| {
            if let Event::WorkerStarted { pid, .. } = event {
                seen.lock().expect("nobody panics with it").push(*pid);
            }
        })
        .build()?;
    Ok((pool, pids))
}

/// This program in another process, at rest until it is dropped.
pub(crate) struct Resting {
    child: Child,
    /// What it said when it was ready.
    pub(crate) said: String,
}

impl Resting {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("it has an output")?).read_line(&mut said)?;
        ensure!(!said.is_empty(), "{args:?} failed");
        Ok(Self { child, said })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        // It ends with its input, which `wait` closes.
        let _ = self.child.wait();
    }
}

/// What [`Resting`] runs: says so, and waits until its input ends.
pub(crate) fn rest(words: &str) -> Result<ExitCode> {
    println!("{words}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}

/// How much a lazy map over many tasks grows this process.
pub(crate) fn lazy_map(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(1_000_000);
    ["threads", "procs"]
        .map(|backend| {
            let grown = grown_elsewhere(&["--grow", backend, &tasks.to_string()])?;
            let what = format!("{backend}, lazy map over {tasks} tasks");
            Ok(Row::note(what, format!("{:.1} MiB", mib(grown)), "highest growth of the parent's resident memory"))
        })
        .into_iter()
        .collect()
}

/// By how many bytes another process of this program grew.
pub(crate) fn grown_elsewhere(args: &[&str]) -> Result<u64> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().context("it prints a number")
}

/// What [`lazy_map`] runs in a process of its own: prints by how many bytes it grew.
pub(crate) fn grow(backend: &str, tasks: usize) -> Result<ExitCode> {
    let pool = taskloom::pool(backend)?.workers(2).build()?;
    pool.submit(next::task(0))?.join()?;
    let before = resident("VmRSS:")?;
    tasks::map(&pool, tasks)?;
    println!("{}", resident("VmHWM:")?.saturating_sub(before));
    Ok(ExitCode::SUCCESS)
}

fn private_memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(field(&rollup, "Private_Clean:").unwrap_or(0) + field(&rollup, "Private_Dirty:").unwrap_or(0))
}

pub(crate) fn resident(name: &str) -> Result<u64> {
    field(&fs::read_to_string("/proc/self/status")?, name).with_context(|| format!("no {name} in /proc/self/status"))
}

/// A field in bytes; the kernel says kB and means KiB.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
