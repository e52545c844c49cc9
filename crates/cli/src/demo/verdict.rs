//! (e) What the figures mean, in three sentences made from them.

use taskloom_cli::{Stop, words};

use super::{Measured, Stage, computing, crashing::Survived, waiting, waiting::MANY};

/// Width of the text.
const WIDTH: usize = 74;
/// Below this, two figures of one run on a shared machine are the same.
const NOISE: f64 = 0.1;

pub(super) fn run(stage: &mut Stage, measured: &Measured) -> Result<(), Stop> {
    stage.heading('e', "Threads or processes, by these figures")?;
    let cores = stage.workers;
    let sentences = [
        measured.waiting.as_ref().and_then(on_waiting),
        measured.computing.as_ref().and_then(|speeds| on_computing(speeds, cores)),
        measured.crashing.as_ref().map(on_crashing),
    ];
    for sentence in sentences.into_iter().flatten() {
        for line in wrap(&sentence) {
            stage.line(&line)?;
        }
    }
    Ok(())
}

fn on_waiting(speeds: &waiting::Speeds) -> Option<String> {
    let (few, many) = (speeds.two_threads?.as_secs_f64(), speeds.many_threads?.as_secs_f64());
    let procs = speeds.two_procs.map_or(String::new(), |procs| match procs.as_secs_f64() / few {
        ratio if (ratio - 1.0).abs() <= NOISE => ", and two processes were as fast as two threads".to_owned(),
        ratio => format!(", and two processes took {} times as long as two threads", words::three(ratio)),
    });
    Some(format!(
        "Waiting: {MANY} threads were {} times as fast as 2{procs}: what waits wants many threads, whatever the cores.",
        words::three(few / many)
    ))
}

fn on_computing(speeds: &computing::Speeds, cores: usize) -> Option<String> {
    let (threads, procs) = (speeds.threads?, speeds.procs?);
    let ratio = procs / threads;
    let against = match ratio {
        r if r < 1.0 - NOISE => format!("processes reached {} of their speed", percent(r)),
        r if r > 1.0 + NOISE => format!("processes were {} times as fast here, which is rare", words::three(r)),
        _ => format!("processes were no faster ({} of their speed)", percent(ratio)),
    };
    Some(format!(
        "Computing: threads were {} times as fast as inline on {}, and {against}: in Rust threads already use every core.",
        words::three(threads / speeds.inline),
        words::count(cores, "core")
    ))
}

fn on_crashing(survived: &Survived) -> String {
    format!(
        "Crashing: {} died and {} good tasks did not notice; on threads the first death would have been the program's: processes are for isolation, not for speed.",
        words::count(survived.deaths, "worker"),
        survived.good
    )
}

fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
