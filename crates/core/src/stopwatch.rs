//! Measures a run.

use std::time::{Duration, Instant};

use crate::{event::Metrics, worker::Worker};

/// Measures a run, if somebody wants to know.
pub(crate) struct Stopwatch(Option<(Instant, Option<Duration>)>);

impl Stopwatch {
    pub(crate) fn start(wanted: bool, worker: &Worker) -> Self {
        Self(wanted.then(|| (Instant::now(), worker.cpu_time())))
    }

    pub(crate) fn stop(self, worker: &Worker) -> Option<Box<Metrics>> {
        let (wall, cpu) = self.0?;
        let wall = Some(wall.elapsed());
        let cpu = cpu.zip(worker.cpu_time()).map(|(before, after)| after.saturating_sub(before));
        Some(Box::new(Metrics { wall, cpu, ..Metrics::default() }))
    }
}
