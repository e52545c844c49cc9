//! What limits and supervision cost, in instructions: a figure that does not depend on what else the machine does.

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use taskloom::Policy;

use crate::{Plan, compare::Row, tasks::one_by_one};

/// Instructions of a task, there and back, with all limits and without any.
pub(crate) fn instructions(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(20_000);
    let rows = ["inline", "threads", "procs"].map(|backend| {
        let what = format!("{backend}, instructions of a task with limits");
        let counted = count(backend, "limits", tasks)
            .and_then(|(with, _)| count(backend, "none", tasks).map(|(without, how)| (with, without, how)));
        match counted {
            Ok((with, without, how)) => Row {
                versus: "without limits".to_owned(),
                theirs: format!("{without:.0}"),
                figures: vec![with / without],
                ..Row::note(what, format!("{with:.0}"), how)
            },
            Err(why) => Row::note(what, "", format!("not run: {why:#}")),
        }
    });
    Ok(rows.into())
}

/// Instructions of one task, and who counted them. A run of few tasks is taken off, and with it the start.
fn count(backend: &str, limits: &str, tasks: usize) -> Result<(f64, &'static str)> {
    let few = tasks / 10;
    let run = |tasks: usize| ["--counted".to_owned(), backend.to_owned(), limits.to_owned(), tasks.to_string()];
    let each = |many: u64, less: u64| many.saturating_sub(less) as f64 / (tasks - few) as f64;
    let by_perf = perf(&run(few)).and_then(|less| Ok(each(perf(&run(tasks))?, less)));
    let why_not = match by_perf {
        Ok(count) => return Ok((count, "perf, this process and its workers")),
        Err(error) => error,
    };
    ensure!(
        backend != "procs",
        "{why_not:#}; and valgrind cannot count either: it does not know the system calls for a process's descriptor, \
         and to a worker that it starts, /proc/self/exe is valgrind"
    );
    let count = callgrind(&run(few)).and_then(|less| Ok(each(callgrind(&run(tasks))?, less)));
    Ok((count.with_context(|| format!("{why_not:#}"))?, "callgrind"))
}

fn perf(args: &[String]) -> Result<u64> {
    let said = words_of(Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "--"]), args)?;
    let line = said.lines().find(|line| line.contains("instructions")).context("perf counts nothing")?;
    let count = line.split(',').next().unwrap_or_default();
    count.parse().ok().with_context(|| format!("perf counts no instructions here: {count}"))
}

fn callgrind(args: &[String]) -> Result<u64> {
    let said = words_of(Command::new("valgrind").args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]), args)?;
    let count = said.lines().find_map(|line| line.split_once("Collected :")).context("callgrind counts nothing")?.1;
    Ok(count.trim().parse()?)
}

/// What a tool says of this program with these arguments.
fn words_of(tool: &mut Command, args: &[String]) -> Result<String> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let output = tool.arg(std::env::current_exe()?).args(args).output().with_context(|| format!("no {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{name} failed: {}", said.lines().last().unwrap_or_default());
    Ok(said)
}

/// What [`instructions`] runs under a tool that counts.
pub(crate) fn counted(backend: &str, limits: &str, tasks: usize) -> Result<ExitCode> {
    const FAR: Duration = Duration::from_secs(3600);
    let builder = taskloom::pool(backend)?.workers(1);
    let (builder, policy) = match (limits, backend) {
        ("none", _) => (builder, Policy::new()),
        ("limits", "procs") => (builder.memory_limit(1 << 40).max_tasks_per_worker(1 << 40), all(FAR)),
        ("limits", _) => (builder, all(FAR)),
        _ => bail!("`limits` or `none`"),
    };
    let pool = builder.build()?;
    let view = pool.with(policy);
    one_by_one(&view, tasks)?;
    Ok(ExitCode::SUCCESS)
}

fn all(limit: Duration) -> Policy {
    Policy::new().timeout(limit).queue_timeout(limit).deadline(limit)
}
