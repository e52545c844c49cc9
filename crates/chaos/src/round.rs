//! One pool, from its build to its end.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use taskloom::{
    Cancel, Handle, Policy, Pool, Retry, TaskError, View,
    procs::{self, Procs},
};
use taskloom_procs::chaos::{Plan, set_plan};
use taskloom_tests::{
    process::Holdings,
    scratch::{Scratch, lines},
};

use crate::{
    Summary,
    dice::Dice,
    dog,
    orders::{Antic, Order, Reply, obey},
    verdict::{self, Findings, Limits, Outcome, Told},
};

/// What a round is; all of it follows from the seed and the number.
pub(crate) struct Round {
    number: u64,
    seed: u64,
    workers: usize,
    size: Size,
    tasks: u64,
    shape: Shape,
    treatment: Treatment,
    ending: Ending,
    turnover: Turnover,
    /// Strikes in a million visits.
    common: u32,
    rare: u32,
    /// One handle in so many is cancelled; 0 for none.
    cancelled: u64,
    /// One task in so many does something odd; 0 for none.
    odd: u64,
}

#[derive(Debug, Clone, Copy)]
enum Size {
    /// No time, a few bytes.
    Tiny,
    /// Up to 20 ms, some kilobytes.
    Mixed,
    /// Up to megabytes each way.
    Huge,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Handles,
    Map { chunk: Option<usize>, ordered: bool },
}

#[derive(Debug, Clone, Copy)]
enum Treatment {
    Plain,
    Retry,
    Timeout,
    TimeoutAndRetry,
    Deadline,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Join,
    /// Half way.
    Drop,
    /// Half way, with this grace in milliseconds.
    CancelAll(u64),
}

/// Why workers come and go besides the strikes.
#[derive(Debug, Clone, Copy)]
enum Turnover {
    None,
    /// After so many tasks.
    Recycle(u64),
    /// When they hold more than some megabytes.
    Grown,
    /// When they have had no work for a millisecond.
    Idle,
    /// The pool is made smaller and larger while it works.
    Resize,
    /// Tasks that take too much memory are killed.
    Hunger,
}

/// What a task may take, under [`Turnover::Hunger`]. Far more than the largest task needs that does nothing odd.
const MEMORY: u64 = 96 << 20;

impl Round {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed, number);
        let seed = dice.next();
        let size = dice.pick(&[Size::Tiny, Size::Tiny, Size::Mixed, Size::Mixed, Size::Huge]);
        let tasks = match size {
            Size::Tiny => 500 + dice.below(3000),
            Size::Mixed => 60 + dice.below(300),
            Size::Huge => 20 + dice.below(60),
        };
        let chunk = dice.pick(&[None, Some(1), Some(3), Some(50), Some(1000)]);
        let strikes = 4 + dice.below(40) as u32;
        let shape = if dice.once_in(2) { Shape::Handles } else { Shape::Map { chunk, ordered: dice.once_in(2) } };
        let odd = dice.pick(&[0, 0, 12, 60]);
        Self {
            number,
            seed,
            workers: dice.pick(&[1, 2, 5, 13]),
            size,
            tasks,
            shape,
            treatment: dice.pick(&[
                Treatment::Plain,
                Treatment::Plain,
                Treatment::Plain,
                Treatment::Retry,
                Treatment::Timeout,
                Treatment::TimeoutAndRetry,
                Treatment::Deadline,
            ]),
            ending: dice.pick(&[
                Ending::Join,
                Ending::Join,
                Ending::Join,
                Ending::Drop,
                Ending::CancelAll(0),
                Ending::CancelAll(40),
            ]),
            turnover: match dice.below(10) {
                0 => Turnover::Recycle(1 + dice.below(30)),
                1 => Turnover::Grown,
                2 => Turnover::Idle,
                3 => Turnover::Resize,
                4 => Turnover::Hunger,
                _ => Turnover::None,
            },
            // A task passes about eleven places.
            common: strikes * 1_000_000 / (11 * tasks as u32),
            rare: dice.pick(&[0, 3_000, 15_000]),
            cancelled: dice.pick(&[0, 0, 3, 20]),
            // An error of an unordered map does not say which task it is about.
            odd: if let Shape::Map { ordered: false, .. } = shape { 0 } else { odd },
        }
    }

    /// Runs it, adds to the summary, and says what was not as it should be.
    pub(crate) fn run(&self, scratch: &Scratch, summary: &mut Summary) -> Findings {
        let before = Holdings::now();
        let strikes = scratch.path(&format!("strikes-{}", self.number));
        let journal = scratch.path(&format!("bodies-{}", self.number));
        let mut findings = Findings::default();
        let told = match self.build(&strikes) {
            Ok(pool) => {
                dog::at(Some((self.to_string(), pool.with(Policy::new()))));
                self.fill(pool, [&journal, &strikes], &mut findings)
            }
            Err(error) => {
                findings.wrong.push(format!("no pool could be built in many tries: {error}"));
                Vec::new()
            }
        };
        dog::at(None);
        set_plan(None);
        let struck = verdict::strikes(&lines(&strikes), summary);
        summary.tasks += told.len() as u64;
        verdict::outcomes(&told, &struck, self.limits(), summary, &mut findings);
        verdict::bodies(&lines(&journal), &told, self.limits(), &mut findings);
        verdict::leaks(&before, &mut findings);
        findings
    }

    /// Strikes may end a build, which fails then as it should; so again.
    fn build(&self, strikes: &Path) -> Result<Pool<Procs>, TaskError> {
        let mut tries = 0;
        loop {
            dog::step();
            // Another seed each time: the same strike would end every build.
            let (seed, journal) = (self.seed.wrapping_add(tries), strikes.to_path_buf());
            set_plan(Some(Plan { seed, common: self.common, rare: self.rare, journal }));
            let builder = procs::pool().workers(self.workers).drop_grace(Duration::from_millis(100));
            let builder = match self.turnover {
                Turnover::None | Turnover::Resize => builder,
                Turnover::Recycle(tasks) => builder.max_tasks_per_worker(tasks),
                Turnover::Grown => builder.recycle_above(6 << 20),
                Turnover::Idle => builder.idle_timeout(Duration::from_millis(1)),
                Turnover::Hunger => builder.memory_limit(MEMORY),
            };
            match builder.build() {
                Err(TaskError::Start(_)) if tries < 100 => tries += 1,
                other => return other,
            }
        }
    }

    fn fill(&self, pool: Pool<Procs>, journals: [&Path; 2], findings: &mut Findings) -> Vec<Told> {
        let mut dice = Dice::new(self.seed, 1);
        let orders: Vec<Order> = (0..self.tasks).map(|number| self.order(number, journals, &mut dice)).collect();
        match self.shape {
            Shape::Handles => self.by_handles(pool, orders, &mut dice, findings),
            Shape::Map { chunk, ordered } => {
                let view = pool.with(chunk.map_or(self.policy(), |size| self.policy().chunk(size)));
                self.by_map(pool, &view, orders, ordered, findings)
            }
        }
    }

    fn by_handles(&self, pool: Pool<Procs>, orders: Vec<Order>, dice: &mut Dice, findings: &mut Findings) -> Vec<Told> {
        let view = pool.with(self.policy());
        let calls: Arc<[AtomicU32]> = orders.iter().map(|_| AtomicU32::new(0)).collect();
        let mut open: Vec<(Handle<Reply>, Option<Cancel>)> = Vec::new();
        for order in &orders {
            dog::step();
            let handle = match view.submit(obey::task(order.clone())) {
                Ok(handle) => handle,
                Err(error) => {
                    findings.wrong.push(format!("task {} was refused: {error}", order.number));
                    return Vec::new();
                }
            };
            let (calls, number) = (calls.clone(), order.number as usize);
            handle.on_done(move |_| {
                calls[number].fetch_add(1, Ordering::Relaxed);
            });
            open.push((handle, None));
            self.resize(&view, dice);
            if self.cancelled > 0 && dice.once_in(self.cancelled) {
                let at = dice.below(open.len() as u64) as usize;
                // What was said first counts: the second time it may be too late.
                let said = open[at].0.cancel();
                open[at].1.get_or_insert(said);
            }
        }
        let wait_for = self.before_the_end(dice);
        let mut told = Vec::new();
        let mut rest = orders.into_iter().zip(open);
        for (order, (handle, cancel)) in rest.by_ref().take(wait_for) {
            let outcome = handle.join();
            dog::step();
            told.push(Told { order, cancel, outcome: Some(outcome) });
        }
        self.end(pool);
        for (order, (mut handle, cancel)) in rest {
            let outcome = handle.try_join();
            if outcome.is_none() {
                findings.lost.push(format!("task {} had no outcome when the pool had ended", order.number));
            }
            told.push(Told { order, cancel, outcome });
        }
        for (number, calls) in calls.iter().map(|calls| calls.load(Ordering::Relaxed)).enumerate() {
            match calls {
                1 => {}
                0 => findings.lost.push(format!("the callback of task {number} was not called")),
                more => findings.twice.push(format!("the callback of task {number} was called {more} times")),
            }
        }
        told
    }

    fn by_map(
        &self,
        pool: Pool<Procs>,
        view: &View<Procs>,
        orders: Vec<Order>,
        ordered: bool,
        findings: &mut Findings,
    ) -> Vec<Told> {
        let mut dice = Dice::new(self.seed, 2);
        let wait_for = self.before_the_end(&mut dice);
        let tasks = orders.clone().into_iter().map(obey::task);
        let mut outcomes: Vec<Outcome> = Vec::new();
        let stepped = |outcome| {
            dog::step();
            self.resize(view, &mut dice);
            outcome
        };
        if ordered {
            outcomes.extend(view.map(tasks).take(wait_for).map(stepped));
        } else {
            outcomes.extend(view.map_unordered(tasks).take(wait_for).map(stepped));
        }
        self.end(pool);
        let mut outcomes = match ordered {
            true => outcomes.into_iter().map(Some).collect(),
            false => verdict::sorted(outcomes, orders.len(), findings),
        };
        outcomes.resize_with(orders.len(), || None);
        orders.into_iter().zip(outcomes).map(|(order, outcome)| Told { order, cancel: None, outcome }).collect()
    }

    /// Makes the pool smaller or larger, now and then, if that is what this round is about.
    fn resize(&self, view: &View<Procs>, dice: &mut Dice) {
        if matches!(self.turnover, Turnover::Resize) && dice.once_in(1 + self.tasks / 20) {
            view.resize(1 + dice.below(13) as usize).expect("an open pool can have another size");
        }
    }

    fn end(&self, pool: Pool<Procs>) {
        match self.ending {
            Ending::Join => pool.join(),
            Ending::Drop => {}
            Ending::CancelAll(grace) => pool.cancel_all(Duration::from_millis(grace)),
        }
        drop(pool);
        dog::step();
    }

    /// How many outcomes are waited for before the pool is ended.
    fn before_the_end(&self, dice: &mut Dice) -> usize {
        match self.ending {
            Ending::Join => self.tasks as usize,
            _ => dice.below(self.tasks) as usize,
        }
    }

    fn order(&self, number: u64, journals: [&Path; 2], dice: &mut Dice) -> Order {
        let (millis, argument, reply) = match self.size {
            Size::Tiny => (0, dice.below(64), dice.below(64)),
            Size::Mixed => {
                let bytes = dice.pick(&[10, 1000, 40_000, 200_000]);
                (dice.below(21), dice.below(bytes), dice.below(bytes))
            }
            Size::Huge => {
                let (down, up) = (dice.pick(&[0, 300_000, 4_000_000]), dice.pick(&[0, 300_000, 4_000_000]));
                (dice.pick(&[0, 0, 10]), dice.below(down + 1), dice.below(up + 1))
            }
        };
        let odd = self.odd > 0 && dice.once_in(self.odd);
        let antic = match dice.below(9) {
            _ if !odd => Antic::None,
            _ if matches!(self.turnover, Turnover::Hunger) && dice.once_in(2) => Antic::Gorge(2 * MEMORY as usize),
            0 => Antic::Fail,
            1 => Antic::Panic,
            2 => Antic::Kill,
            3 => Antic::Exit,
            4 => Antic::Stop,
            5 => Antic::Garble,
            6 => Antic::Progress(500),
            // More than may be on their way.
            _ => Antic::Log(3000),
        };
        let argument = (0..argument).map(|at| (at ^ number) as u8).collect();
        let [journal, strikes] = journals.map(Path::to_path_buf);
        Order { number, millis, argument, reply: reply as usize, antic, journal, strikes }
    }

    fn policy(&self) -> Policy {
        let policy = Policy::new().grace(Duration::from_millis(20));
        let short = Duration::from_millis(12);
        match self.treatment {
            Treatment::Plain => policy,
            Treatment::Retry => policy.retry(Retry::any(2)),
            Treatment::Timeout => policy.timeout(short),
            Treatment::TimeoutAndRetry => policy.timeout(short).retry(Retry::any(2).backoff(Duration::from_millis(2))),
            Treatment::Deadline => policy.deadline(Duration::from_millis(150)),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            timed: matches!(self.treatment, Treatment::Timeout | Treatment::TimeoutAndRetry | Treatment::Deadline),
            attempts: if matches!(self.treatment, Treatment::Retry | Treatment::TimeoutAndRetry) { 3 } else { 1 },
            hungry: matches!(self.turnover, Turnover::Hunger),
            ends_early: !matches!(self.ending, Ending::Join),
            all_told: matches!(self.ending, Ending::Join) || matches!(self.shape, Shape::Handles),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            seed,
            workers,
            size,
            tasks,
            shape,
            treatment,
            ending,
            turnover,
            common,
            rare,
            cancelled,
            odd,
        } = self;
        write!(
            f,
            "round {number} (seed {seed:#x}): {workers} workers, {tasks} tasks {size:?}, {shape:?}, {treatment:?}, \
             {ending:?}, {turnover:?}, strikes {common} and {rare} in a million, cancelled 1 in {cancelled}, odd 1 in {odd}"
        )
    }
}

/// A pool that nobody strikes.
pub(crate) fn calm(scratch: &Scratch) {
    let journal = scratch.path("calm");
    let strikes = journal.clone();
    let order = Order { number: 0, millis: 0, argument: Vec::new(), reply: 0, antic: Antic::None, journal, strikes };
    let pool = procs::pool().workers(1).build().expect("a worker can be started");
    pool.submit(obey::task(order)).expect("accepted").join().expect("runs");
    pool.join();
}
