//! P9: what a task costs as there are more tasks, and more workers.

use anyhow::Result;
use taskloom::{Pool, procs, threads};

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn},
    heap::Kept,
    tasks::{map, submit_and_join},
};

/// Work that comes to so many tasks in each round, however few at a time.
const A_ROUND: usize = 200_000;

pub(crate) fn growth(plan: &Plan) -> Result<Vec<Row>> {
    let _kept = Kept::new();
    let mut rows = Vec::new();
    // A task of a pool of processes takes longer: fewer of them say as much.
    let (threads, procs) = (plan.tasks(A_ROUND * 5), plan.tasks(A_ROUND));
    rows.extend(tasks("threads", threads::pool().workers(2).build()?.into_any(), threads, plan)?);
    rows.extend(tasks("procs", procs::pool().workers(2).build()?.into_any(), procs, plan)?);
    rows.extend(workers("threads", |n| Ok(threads::pool().workers(n).build()?.into_any()), threads, plan)?);
    rows.extend(workers("procs", |n| Ok(procs::pool().workers(n).build()?.into_any()), procs, plan)?);
    Ok(rows)
}

fn goals(peer: Contender<'_>) -> Contender<'_> {
    peer.must(Bound::AtMost(1.2)).aim(Bound::AtMost(1.05))
}

/// More tasks: with a handle each as many as may be open at a time, in a map up to ten million.
fn tasks(backend: &str, pool: Pool, a_round: usize, plan: &Plan) -> Result<Vec<Row>> {
    const FEW: usize = 1000;
    let sizes: &[usize] = if plan.quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    let mut rows = Vec::new();
    for &size in sizes {
        let few = Contender::new(format!("{FEW}"), a_round, |n| in_parts(n, FEW, |n| submit_and_join(&pool, n)));
        let many = Contender::new("", size.max(a_round), |n| in_parts(n, size, |n| submit_and_join(&pool, n)));
        let what = format!("{backend}, a handle each, {size} at once");
        rows.extend(in_turn("P9", &what, Unit::Time, plan.rounds().min(5), many, [goals(few)])?);
    }
    let size = plan.tasks(10_000_000);
    // The few are enough for the map's chunks to find their size.
    let few = Contender::new("100000", size, |n| in_parts(n, 100_000, |n| map(&pool, n)));
    let many = Contender::new("", size, |n| map(&pool, n));
    let what = format!("{backend}, map of {size}");
    rows.extend(in_turn("P9", &what, Unit::Time, plan.rounds().min(3), many, [goals(few)])?);
    Ok(rows)
}

/// More workers for the same tasks.
fn workers(backend: &str, build: impl Fn(usize) -> Result<Pool>, tasks: usize, plan: &Plan) -> Result<Vec<Row>> {
    let counts: &[usize] = if plan.quick { &[64] } else { &[2, 4, 16, 64] };
    let one = build(1)?;
    let mut rows = Vec::new();
    for &count in counts {
        let pool = build(count)?;
        let many = Contender::new("", tasks, |n| submit_and_join(&pool, n));
        let few = Contender::new("1 worker", tasks, |n| submit_and_join(&one, n));
        let what = format!("{backend}, a handle each, {count} workers");
        rows.extend(in_turn("P9", &what, Unit::Time, plan.rounds().min(5), many, [goals(few)])?);
    }
    Ok(rows)
}

/// The same work in parts of a size.
fn in_parts(n: usize, part: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<()> {
    (0..n.div_ceil(part)).try_for_each(|_| work(part))
}
