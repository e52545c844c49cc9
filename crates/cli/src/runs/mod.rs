//! `runs`: what is recorded, for people and for programs.

mod list;
mod show;

use std::{env, ffi::OsString, fs, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Output, Stop,
    args::{RunsArgs, RunsCommand},
    event::Event,
    exit, program,
    record::{self, History, Limits, Place, Spool, Word},
    values, words,
};

pub(crate) fn run(args: &RunsArgs) -> Result<u8, Stop> {
    match &args.what {
        None | Some(RunsCommand::List) => list::run(args.json)?,
        Some(RunsCommand::Show { run }) => show::run(run.as_deref(), args.json)?,
        Some(RunsCommand::Cancel { run }) => cancel(run, args.json)?,
        Some(RunsCommand::Prune { runs, keep, older, dry_run }) => {
            prune(runs, *keep, older.as_deref(), *dry_run, args.json)?;
        }
        // It is a run, and is dealt with as one.
        Some(RunsCommand::Resume { .. }) => {}
    }
    Ok(exit::OK)
}

/// One line for people, or an event.
fn say(json: bool, line: &str, event: &Event) -> Result<(), Stop> {
    let mut out = Output::stdout();
    if json { out.line(event.to_string()) } else { out.line(line) }?;
    out.flush()
}

fn cancel(run: &str, json: bool) -> Result<(), Stop> {
    let place = record::find(run)?;
    let over = || Stop::usage("run-over", format!("run {} is over", place.id));
    if !record::is_open(&place) {
        return Err(over());
    }
    let history = History::read(&place)?;
    let (pid, host) = (history.pid, &history.header.host);
    if *host != record::host() {
        let host = words::shown(host, 80);
        return Err(Stop::usage("run-elsewhere", format!("run {} is at work on {host}, not here", place.id)));
    }
    // The number of a process may be another's by now, or in another container: whoever has the journal open is the one.
    let journal = fs::canonicalize(place.journal()).map_err(|_| over())?;
    let has_it = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let has_it = has_it.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|file| file == journal);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| has_it).ok_or_else(|| {
        Stop::new(exit::FAILED, "no-process", format!("the process of run {} cannot be found from here", place.id))
    })?;
    kill_process(process, Signal::TERM).map_err(|error| {
        Stop::new(exit::FAILED, "no-process", format!("cannot stop run {} (process {pid}): {error}", place.id))
    })?;
    let event = Event::new("run-cancelled").with("run", &place.id).with("pid", pid);
    say(json, &format!("run {} (process {pid}) was asked to stop", place.id), &event)
}

fn prune(runs: &[String], keep: Option<usize>, older: Option<&str>, dry: bool, json: bool) -> Result<(), Stop> {
    let mut limits = Limits::set()?;
    // Whoever names one limit means that one.
    if keep.is_some() || older.is_some() {
        limits = Limits { runs: usize::MAX, age: std::time::Duration::MAX, bytes: u64::MAX };
    }
    limits.runs = keep.unwrap_or(limits.runs);
    limits.age = older.map(|typed| values::time("--older", typed)).transpose()?.unwrap_or(limits.age);
    let gone = if runs.is_empty() {
        record::prune(&limits, None, dry)?
    } else {
        let places = runs.iter().map(|run| record::find(run)).collect::<Result<Vec<Place>, _>>()?;
        if let Some(busy) = places.iter().find(|place| record::is_open(place)) {
            return Err(Stop::usage("run-goes-on", format!("run {} is not over yet", busy.id)).help(format!(
                "`{} runs cancel {}` stops it",
                program(),
                busy.id
            )));
        }
        places.iter().filter(|_| !dry).for_each(record::delete);
        places
    };
    let ids: Vec<&str> = gone.iter().map(|place| &*place.id).collect();
    let event = Event::new("runs-pruned").with("runs", &ids).with("dry_run", dry);
    let done = if dry { "would be deleted" } else { "deleted" };
    let line = match &ids[..] {
        [] => format!("nothing {}", if dry { "would be deleted" } else { "to delete" }),
        ids => format!("{} {done}: {}", words::count(ids.len(), "run"), ids.join(" ")),
    };
    say(json, &line, &event)
}

/// What was typed when a run was recorded; from now on this program is in that folder.
pub(crate) struct Again {
    pub(crate) id: String,
    pub(crate) typed: Vec<OsString>,
    /// What was read from standard input.
    pub(crate) stdin: Option<PathBuf>,
}

pub(crate) fn resume(run: &str) -> Result<Again, Stop> {
    let place = record::find(run)?;
    let header = History::read(&place)?.header;
    if header.program != program() {
        let other = words::shown(&header.program, 80);
        return Err(Stop::usage("other-program", format!("run {} is one of `{other}`", place.id))
            .help(format!("`{other} runs resume {}`", place.id)));
    }
    let folder = PathBuf::from(header.cwd.as_os());
    env::set_current_dir(&folder).map_err(|error| crate::input::cannot_read(&folder, &error))?;
    let first = env::args_os().next().unwrap_or_default();
    let stdin = place.folder.join(Spool::FIRST);
    Ok(Again {
        typed: std::iter::once(first).chain(header.words.iter().map(Word::as_os)).collect(),
        stdin: stdin.is_file().then_some(stdin),
        id: place.id,
    })
}
