//! What pools cost in memory.

use std::{
    fs,
    process::{Command, ExitCode},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use taskloom::{Event, procs};

use crate::{
    Plan,
    compare::{Row, mib},
    tasks::next,
    threads::checked,
};

/// Private memory of one idle worker.
pub(crate) fn worker(_: &Plan) -> Result<Vec<Row>> {
    let pids = Arc::new(Mutex::new(Vec::new()));
    let seen = pids.clone();
    let pool = procs::pool()
        .workers(1)
        .on_event(move |event| {
            if let Event::WorkerStarted { pid, .. } = event {
                seen.lock().expect("nobody panics with it").push(*pid);
            }
        })
        .build()?;
    for i in 0..1000 {
        pool.submit(next::task(i))?.join()?;
    }
    let pid = *pids.lock().expect("nobody panics with it").first().context("no worker was announced")?;
    let private = private_memory(pid)?;
    Ok(vec![Row::note(
        "procs, one idle worker",
        format!("{:.1} MiB", mib(private)),
        "",
        "private memory, its program's own included",
    )])
}

/// How much a lazy map over many tasks grows this process.
pub(crate) fn lazy_map(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(1_000_000);
    ["threads", "procs"]
        .map(|backend| {
            let grown = grown_elsewhere(&["--grow", backend, &tasks.to_string()])?;
            let what = format!("{backend}, lazy map over {tasks} tasks");
            Ok(Row::note(what, format!("{:.1} MiB", mib(grown)), "", "highest growth of the parent's resident memory"))
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
    let mut sum = 0;
    for result in pool.map((0..tasks as u64).map(next::task)) {
        sum += result?;
    }
    checked(tasks, sum)?;
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
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
