//! What limits and supervision cost, in instructions: a figure that does not depend on what else the machine does.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use taskloom::{Policy, Retry};

use crate::{
    Plan,
    compare::Row,
    counter::{COUNTED, Counter},
    tasks::one_by_one,
};

/// Backends, and with what.
const CASES: [(&str, &str, &str); 4] = [
    ("inline", "limits", "with limits"),
    ("threads", "limits", "with limits"),
    ("procs", "limits", "with limits"),
    ("procs", "output", "with limits, output kept"),
];

/// Instructions of a task, there and back, with all limits and without any.
pub(crate) fn instructions(plan: &Plan) -> Result<Vec<Row>> {
    let tasks = plan.tasks(20_000);
    let rows = CASES.map(|(backend, limits, with)| {
        let what = format!("{backend}, instructions of a task {with}");
        let counted = Counter::new(backend).and_then(|counter| {
            Ok((each(&counter, backend, limits, tasks)?, each(&counter, backend, "none", tasks)?, counter))
        });
        match counted {
            Ok((with, without, counter)) => Row {
                versus: "without limits".to_owned(),
                theirs: format!("{without:.0}"),
                figures: vec![with / without],
                ..Row::note(what, format!("{with:.0}"), counter.name())
            },
            Err(why) => Row::note(what, "", format!("not run: {why:#}")),
        }
    });
    Ok(rows.into())
}

/// Instructions of one task. A run of few tasks is taken off, and with it the start.
fn each(counter: &Counter, backend: &str, limits: &str, tasks: usize) -> Result<f64> {
    let few = tasks / 10;
    let run = |tasks: usize| counter.count(&[COUNTED, backend, limits, &tasks.to_string()].map(str::to_owned));
    Ok(run(tasks)?.saturating_sub(run(few)?) as f64 / (tasks - few) as f64)
}

/// What [`instructions`] has counted.
pub(crate) fn counted(backend: &str, limits: &str, tasks: usize) -> Result<ExitCode> {
    const FAR: Duration = Duration::from_secs(3600);
    let builder = taskloom::pool(backend)?.workers(1);
    let limited = Policy::new().timeout(FAR).queue_timeout(FAR).deadline(FAR).retry(Retry::crashes(2));
    let (builder, policy) = match (limits, backend) {
        ("none", _) => (builder, Policy::new()),
        ("limits", "procs") => (builder.memory_limit(1 << 40).max_tasks_per_worker(1 << 40), limited),
        ("output", "procs") => {
            (builder.memory_limit(1 << 40).max_tasks_per_worker(1 << 40).capture_output(true), limited)
        }
        ("limits", _) => (builder, limited),
        _ => bail!("`none`, `limits`, or `output` of processes"),
    };
    let pool = builder.build()?;
    let view = pool.with(policy);
    one_by_one(&view, tasks)?;
    Ok(ExitCode::SUCCESS)
}
