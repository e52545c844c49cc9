//! (c) Work that computes: words, lines and SHA-256 of real files.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use taskloom::TaskError;
use taskloom_cli::{Stop, exit, terminal, words};

use super::{
    Stage, broken,
    rows::{self, Row},
};
use crate::tasks::count_words;

/// Enough to measure, and read again within seconds.
const MOST_BYTES: u64 = 256 << 20;
const ROUNDS: usize = 3;

/// Bytes per second.
#[derive(Default)]
pub(super) struct Speeds {
    pub(super) inline: f64,
    pub(super) threads: Option<f64>,
    pub(super) procs: Option<f64>,
}

/// What all files have together. The digest is that of all files' digests in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    files: usize,
    bytes: u64,
    lines: u64,
    words: u64,
    digest: String,
}

pub(super) fn run(stage: &mut Stage, path: Option<&Path>) -> Result<Speeds, Stop> {
    let (folder, what) = folder(path);
    let files = Files::below(&folder)
        .map_err(|error| Stop::new(exit::NO_INPUT, "no-input", format!("cannot read {}: {error}", folder.display())))?;
    if files.paths.is_empty() {
        return Err(Stop::new(exit::NO_INPUT, "no-input", format!("there is no file below {}", folder.display()))
            .help("`--path FOLDER` chooses another"));
    }
    let size = mib(files.bytes as f64);
    stage.heading('c', &format!("Computing: words, lines and SHA-256 of {} files, {size} MiB", files.paths.len()))?;
    stage.faint(&what)?;
    let bound = if files.bounded { format!("the first {} MiB of them, ", MOST_BYTES >> 20) } else { String::new() };
    stage.faint(&format!("({bound}best of {ROUNDS} rounds)"))?;
    // So that the first backend does not pay for the disk.
    for path in &files.paths {
        let _ = fs::read(path);
    }

    let (done, expected) = measure(stage, &files.paths)?;
    let best = done.iter().map(|row| row.took).min().unwrap_or_default();
    let rate = |row: &Row| files.bytes as f64 / row.took.as_secs_f64().max(1e-9);
    for row in &done {
        stage.line(&row.text(&format!("{} MiB/s", mib(rate(row))), done[0].took, best))?;
    }
    let Totals { lines, words, digest, .. } = &expected;
    stage.faint(&format!("equal totals each time: {lines} lines, {words} words, {}", &digest[..12]))?;
    let find = |backend| done.iter().find(|row| row.backend == backend).map(rate);
    Ok(Speeds { inline: rate(&done[0]), threads: find("threads"), procs: find("procs") })
}

/// Takes every backend several times, in turns, and keeps its best time: somebody else's work on this machine then
/// harms all of them alike, or none.
fn measure(stage: &mut Stage, paths: &[PathBuf]) -> Result<(Vec<Row>, Totals), Stop> {
    let mut done: Vec<Row> = Vec::new();
    for (backend, workers) in [("inline", 1), ("threads", stage.workers), ("procs", stage.workers)] {
        if rows::has(backend) {
            done.push(Row { backend, workers, took: Duration::MAX });
        } else {
            stage.line(&rows::not_built_in(backend))?;
        }
    }
    let mut expected: Option<Totals> = None;
    for _ in 0..ROUNDS {
        for Row { backend, workers, took } in &mut done {
            let counted = count_all(paths, backend, *workers);
            let (time, totals) = counted.map_err(|error| broken("a file could not be counted", error))?;
            if let Some(expected) = expected.as_ref().filter(|expected| **expected != totals) {
                return Err(broken(&format!("{backend} counted {totals:?}"), format!("expected {expected:?}")));
            }
            expected.get_or_insert(totals);
            *took = time.min(*took);
        }
    }
    // Inline is always there, so something has been counted.
    Ok((done, expected.unwrap_or_default()))
}

fn count_all(paths: &[PathBuf], backend: &str, workers: usize) -> Result<(Duration, Totals), TaskError> {
    let pool = taskloom::pool(backend)?.workers(workers).build()?;
    let bar = terminal::bar(paths.len() as u64, &Row::place(backend, workers));
    let mut totals = Totals::default();
    let mut hash = Sha256::new();
    let start = Instant::now();
    for counts in pool.map(paths.iter().cloned().map(count_words::task)) {
        let counts = counts.inspect_err(|_| terminal::hide(&bar))?;
        totals.files += 1;
        totals.bytes += counts.bytes;
        totals.lines += counts.lines;
        totals.words += counts.words;
        hash.update(&counts.sha256);
        bar.inc(1);
    }
    let took = start.elapsed();
    terminal::hide(&bar);
    totals.digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((took, totals))
}

/// Where to find plenty of real text, and what to call it.
fn folder(path: Option<&Path>) -> (PathBuf, String) {
    if let Some(path) = path {
        return (path.to_owned(), format!("({})", path.display()));
    }
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let sources = cargo.map(|cargo| cargo.join("registry/src"));
    match sources.filter(|sources| sources.is_dir()) {
        Some(sources) => {
            let what = format!("(sources that cargo has unpacked, in {})", sources.display());
            (sources, what)
        }
        None => (PathBuf::from("."), "(cargo has unpacked no sources here: the current folder instead)".to_owned()),
    }
}

struct Files {
    paths: Vec<PathBuf>,
    bytes: u64,
    bounded: bool,
}

impl Files {
    /// Regular files in order of their names, up to the bound. A folder inside that cannot be read is left out.
    fn below(folder: &Path) -> std::io::Result<Self> {
        let mut files = Self { paths: Vec::new(), bytes: 0, bounded: false };
        let mut open = vec![folder.to_owned()];
        fs::read_dir(folder)?;
        while let Some(path) = open.pop() {
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            // The folder itself may be a link, what is in it may not: it could lead in circles.
            if about.is_dir() || path == folder {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                let mut below: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
                // The last one pushed is taken first.
                below.sort_by(|a, b| b.cmp(a));
                open.extend(below);
            } else if about.is_file() && fs::File::open(&path).is_ok() {
                if files.bytes + about.len() > MOST_BYTES {
                    files.bounded = true;
                    break;
                }
                files.bytes += about.len();
                files.paths.push(path);
            }
        }
        Ok(files)
    }
}

fn mib(bytes: f64) -> String {
    words::three(bytes / f64::from(1 << 20))
}
