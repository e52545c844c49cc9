//! (b) Work that waits: requests to a web server.

use std::time::{Duration, Instant};

use taskloom::TaskError;
use taskloom_cli::{Stop, terminal, words};

use super::{
    Stage, broken,
    rows::{self, Row},
    server::Server,
};
use crate::tasks::fetch;

const REQUESTS: usize = 200;
const DELAY: Duration = Duration::from_millis(20);

/// How long all requests took.
#[derive(Default)]
pub(super) struct Speeds {
    pub(super) two_threads: Option<Duration>,
    pub(super) many_threads: Option<Duration>,
    pub(super) two_procs: Option<Duration>,
}

/// So many threads that none of the waiting shows.
pub(super) const MANY: usize = 64;

pub(super) fn run(stage: &mut Stage) -> Result<Speeds, Stop> {
    let delay = DELAY.as_millis();
    stage.heading('b', &format!("Waiting: {REQUESTS} requests to a web server here that answers after {delay} ms"))?;
    let server = Server::start(DELAY).map_err(|error| broken("cannot start a web server on 127.0.0.1", error))?;
    let mut done: Vec<Row> = Vec::new();
    for (backend, workers) in [("inline", 1), ("threads", 2), ("threads", MANY), ("procs", 2)] {
        if !rows::has(backend) {
            stage.line(&rows::not_built_in(backend))?;
            continue;
        }
        let took = fetch_all(&server, backend, workers).map_err(|error| broken("a request failed", error))?;
        done.push(Row { backend, workers, took });
    }
    let best = done.iter().map(|row| row.took).min().unwrap_or_default();
    for row in &done {
        let rate = format!("{}/s", words::three(REQUESTS as f64 / row.took.as_secs_f64()));
        stage.line(&row.text(&rate, done[0].took, best))?;
    }
    let find =
        |backend, workers| done.iter().find(|row| row.backend == backend && row.workers == workers).map(|row| row.took);
    Ok(Speeds { two_threads: find("threads", 2), many_threads: find("threads", MANY), two_procs: find("procs", 2) })
}

fn fetch_all(server: &Server, backend: &str, workers: usize) -> Result<Duration, TaskError> {
    let pool = taskloom::pool(backend)?.workers(workers).build()?;
    let bar = terminal::bar(REQUESTS as u64, &Row::place(backend, workers));
    // Workers are there before the clock runs: a pool is made once.
    let start = Instant::now();
    let urls = (0..REQUESTS).map(|page| server.url(&page.to_string()));
    let outcome = pool.map_unordered(urls.map(fetch::task)).inspect(|_| bar.inc(1)).find_map(Result::err);
    let took = start.elapsed();
    terminal::hide(&bar);
    outcome.map_or(Ok(took), Err)
}
