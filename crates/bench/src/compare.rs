//! Ours and its peers in turn, and what comes of it.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How far a figure is to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub(crate) fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

/// One line of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The measure of the plan it belongs to, `P1` to `P14`; empty for what is measured besides.
    pub(crate) id: &'static str,
    pub(crate) what: String,
    /// Whom it is compared with.
    pub(crate) versus: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// One figure a round: ours to the peer's, or an amount in `unit`.
    pub(crate) figures: Vec<f64>,
    /// Empty for ratios.
    pub(crate) unit: &'static str,
    pub(crate) must: Option<Bound>,
    pub(crate) aim: Option<Bound>,
    /// What no figure says.
    pub(crate) note: String,
}

/// What a row's figure means for its goals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    AimMet,
    MustMet,
    AimMissed,
    Missed,
    NotRun,
}

impl Row {
    /// A line without a peer.
    pub(crate) fn note(what: impl Into<String>, ours: impl Into<String>, note: impl Into<String>) -> Self {
        Self { what: what.into(), ours: ours.into(), note: note.into(), ..Self::default() }
    }

    pub(crate) fn id(mut self, id: &'static str) -> Self {
        self.id = id;
        self
    }

    /// What it is judged by: an amount.
    pub(crate) fn judged(mut self, figures: Vec<f64>, unit: &'static str, must: Bound, aim: Bound) -> Self {
        (self.figures, self.unit, self.must, self.aim) = (figures, unit, Some(must), Some(aim));
        self
    }

    /// By the median; `None` without goals.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if self.must.is_none() && self.aim.is_none() {
            return None;
        }
        let Some(figure) = median(&self.figures) else { return Some(Verdict::NotRun) };
        let [must, aim] = [self.must, self.aim].map(|bound| bound.map(|bound| bound.holds(figure)));
        Some(match (must, aim) {
            (Some(false), _) => Verdict::Missed,
            (_, Some(true)) => Verdict::AimMet,
            (Some(true), _) => Verdict::MustMet,
            _ => Verdict::AimMissed,
        })
    }
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Time of one; the ratio is ours over the peer's: less is better.
    Time,
    /// How many a second; the ratio is ours over the peer's: more is better.
    Rate,
    /// Bytes a second, of which each is so many.
    Bytes(usize),
}

/// Does so many tasks, and says in how many seconds.
type Run<'a> = Box<dyn FnMut(usize) -> Result<f64> + 'a>;

/// Somebody who does the work.
pub(crate) struct Contender<'a> {
    name: String,
    /// How many in a round; fewer for the slow ones, since times of one are compared.
    tasks: usize,
    run: Result<Run<'a>, String>,
    must: Option<Bound>,
    aim: Option<Bound>,
}

impl<'a> Contender<'a> {
    /// One whose time is taken here.
    pub(crate) fn new(name: impl Into<String>, tasks: usize, mut work: impl FnMut(usize) -> Result<()> + 'a) -> Self {
        Self::timed(name, tasks, move |tasks| {
            let start = Instant::now();
            work(tasks)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }

    /// One that tells its time itself.
    pub(crate) fn timed(name: impl Into<String>, tasks: usize, run: impl FnMut(usize) -> Result<f64> + 'a) -> Self {
        Self { name: name.into(), tasks: tasks.max(1), run: Ok(Box::new(run)), must: None, aim: None }
    }

    /// One that is not here, and why.
    pub(crate) fn missing(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), tasks: 0, run: Err(why.into()), must: None, aim: None }
    }

    pub(crate) fn must(mut self, bound: Bound) -> Self {
        self.must = Some(bound);
        self
    }

    pub(crate) fn no_aim(mut self) -> Self {
        self.aim = None;
        self
    }

    pub(crate) fn aim(mut self, bound: Bound) -> Self {
        self.aim = Some(bound);
        self
    }
}

/// Runs all in turn, and compares the first with each of the others.
pub(crate) fn in_turn<'a>(
    id: &'static str,
    what: &str,
    unit: Unit,
    rounds: usize,
    ours: Contender<'a>,
    peers: impl IntoIterator<Item = Contender<'a>>,
) -> Result<Vec<Row>> {
    let mut all: Vec<_> = std::iter::once(ours).chain(peers).collect();
    let mut times = vec![Vec::new(); all.len()];
    for contender in &mut all {
        if let Ok(run) = &mut contender.run {
            // Warms it up.
            run(contender.tasks / 10 + 1)?;
        }
    }
    for _ in 0..rounds {
        for (contender, times) in all.iter_mut().zip(&mut times) {
            if let Ok(run) = &mut contender.run {
                times.push(run(contender.tasks)? / contender.tasks as f64);
            }
        }
    }
    let show = |times: &[f64]| median(times).map_or_else(String::new, |time| text(unit, time));
    let ours = show(&times[0]);
    let row = |peer: &Contender<'_>, theirs: &Vec<f64>| Row {
        id,
        what: what.to_owned(),
        versus: peer.name.clone(),
        ours: ours.clone(),
        theirs: show(theirs),
        figures: (times[0].iter().zip(theirs))
            .map(|(ours, theirs)| if unit == Unit::Time { ours / theirs } else { theirs / ours })
            .collect(),
        unit: "",
        must: peer.must,
        aim: peer.aim,
        note: peer.run.as_ref().err().map_or_else(String::new, |why| format!("not run: {why}")),
    };
    Ok(all.iter().zip(&times).skip(1).map(|(peer, times)| row(peer, times)).collect())
}

fn text(unit: Unit, time: f64) -> String {
    match unit {
        Unit::Time => time_text(time),
        Unit::Rate => format!("{:.0}/s", 1.0 / time),
        Unit::Bytes(each) => format!("{:.2} GB/s", each as f64 / time / 1e9),
    }
}

pub(crate) fn time_text(seconds: f64) -> String {
    format!("{:.1?}", Duration::from_secs_f64(seconds))
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Least and most.
pub(crate) fn range(values: &[f64]) -> Option<(f64, f64)> {
    Some((values.iter().copied().min_by(f64::total_cmp)?, values.iter().copied().max_by(f64::total_cmp)?))
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(figures: &[f64], must: Option<Bound>, aim: Option<Bound>) -> Option<Verdict> {
        Row { figures: figures.to_vec(), must, aim, ..Row::default() }.verdict()
    }

    #[test]
    fn the_median_decides() {
        let (must, aim) = (Some(Bound::AtLeast(1.0)), Some(Bound::AtLeast(3.0)));
        assert_eq!(judged(&[0.5, 3.5, 4.0], must, aim), Some(Verdict::AimMet));
        assert_eq!(judged(&[0.5, 1.5, 4.0], must, aim), Some(Verdict::MustMet));
        assert_eq!(judged(&[0.5, 0.9, 4.0], must, aim), Some(Verdict::Missed));
        assert_eq!(judged(&[], must, aim), Some(Verdict::NotRun));
    }

    #[test]
    fn one_goal_is_enough() {
        assert_eq!(judged(&[5.0], None, Some(Bound::AtMost(4.0))), Some(Verdict::AimMissed));
        assert_eq!(judged(&[4.0], None, Some(Bound::AtMost(4.0))), Some(Verdict::AimMet));
        assert_eq!(judged(&[0.1], Some(Bound::AtMost(0.1)), None), Some(Verdict::MustMet));
        assert_eq!(judged(&[1.0], None, None), None);
    }

    #[test]
    fn ratios_are_ours_to_the_peers() {
        let ours = || Contender::timed("ours", 10, |tasks| Ok(tasks as f64));
        let peer = || [Contender::timed("peer", 5, |tasks| Ok(tasks as f64 * 4.0))];
        let figures = |unit| in_turn("", "", unit, 2, ours(), peer()).map(|rows| rows[0].figures.clone());
        assert_eq!(figures(Unit::Time).ok(), Some(vec![0.25, 0.25]));
        assert_eq!(figures(Unit::Rate).ok(), Some(vec![4.0, 4.0]));
    }
}
