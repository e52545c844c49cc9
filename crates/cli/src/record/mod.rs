//! What is kept of a run, so that it can be looked at, and gone on with.
//!
//! ```text
//!  …/taskloom/runs/7f3a/journal.jsonl   what was typed, then the run's events as they happen
//!                       stdin           what was read from standard input
//! ```
//!
//! A success enters the journal when its result has been written, and not before: what a run that ended early has not
//! recorded, `runs resume` runs again. It is known by the task's name and version and by a hash of the input. The journal
//! only grows; a line that was torn by the end of the machine is left out.

mod folder;
mod header;
mod history;
mod journal;
mod key;
mod memory;
mod retention;

use std::{ffi::OsString, path::Path, sync::Arc};

use self::header::Header;
pub(crate) use self::{
    folder::{Place, find, places},
    header::{Word, host},
    history::{Failure, History},
    journal::{Journal, is_open},
    key::Key,
    memory::{Memory, NotKept, Spool},
    retention::{Limits, delete, prune},
};
use crate::{Stop, args::RecordArgs, event::Event, exit, feed::Feed, input::Source, settings, utc, words};

/// What is run: what makes successes of two runs comparable.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    /// `run` or `exec`.
    pub(crate) command: &'static str,
    /// The task, or all words of the command.
    pub(crate) name: &'a str,
    pub(crate) version: String,
    pub(crate) typed: &'a [OsString],
    pub(crate) output: Option<&'a Path>,
}

/// Begins a record, or goes on with one. None if none is wanted.
pub(crate) fn begin(args: &RecordArgs, feed: &Feed, work: &Work<'_>) -> Result<Option<Journal>, Stop> {
    let memory = Memory::new(key::Keys::new(work.name, &work.version));
    if let Some(run) = &args.resume {
        return resume(run, feed, work, memory).map(Some);
    }
    let wanted = settings::or_set(args.record.as_deref(), "record")?;
    if wanted.as_deref() == Some("none") {
        return Ok(None);
    }
    let place = Place::new(wanted.as_deref().filter(|name| *name != "on"))?;
    retention::prune(&Limits::set()?, Some(&place), false)?;
    let mut journal = Journal::create(place)?;
    let header = Header::new(journal.id(), work, feed)?;
    journal.write_now(&header.line())?;
    keep(feed, memory, &journal, Spool::FIRST)?;
    Ok(Some(journal))
}

fn resume(run: &str, feed: &Feed, work: &Work<'_>, mut memory: Memory) -> Result<Journal, Stop> {
    let place = folder::find(run)?;
    let mut journal = Journal::go_on(place.clone())?;
    let mut history = History::read(&place)?;
    let known: usize = history.successes.values().map(|count| *count as usize).sum();
    let repeatable = feed.total.is_some();
    let (mut left, mut before) = (0, 0);
    if repeatable {
        let mut rest = history.successes.clone();
        feed.each(|_, input| {
            match rest.get_mut(&memory.keys.key(&input.text)) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    before += 1;
                }
                _ => left += 1,
            }
            true
        })?;
        journal.say(format!("Resuming {}: {left} of {} left", place.id, left + before));
        if known > before {
            let missing = words::count(known - before, "input");
            let are = if known - before == 1 { "is" } else { "are" };
            journal.say(format!("warning: {missing} recorded in {} {are} not among the inputs now", place.id));
        }
    } else {
        journal.say(format!("Resuming {}: {} done before", place.id, words::count(known, "input")));
    }
    if history.may_lack_input && feed.sources.iter().any(Source::is_kept) {
        let kept = "warning: standard input had not ended: only what had been read of it is run";
        journal.say(kept.to_owned());
    }
    memory.before = Some(std::mem::take(&mut history.successes).into());
    let event = Event::new("resumed").with("time", utc::rfc3339(std::time::SystemTime::now()));
    let event = event.with("pid", std::process::id()).with("total", feed.total);
    journal.write_now(&event.to_string())?;
    let same_file =
        history.header.output.as_ref().map(header::Word::as_os).as_deref() == work.output.map(Path::as_os_str);
    // After an orderly end all that is in the file is recorded, or somebody else's.
    let orderly = history.end.as_ref().is_some_and(|end| end.exit_code != exit::NOT_WRITTEN);
    journal.cut = (same_file && !orderly).then_some(history.out_end);
    keep(feed, memory, &journal, Spool::AGAIN)?;
    Ok(journal)
}

/// From now on inputs get their keys, and standard input is kept.
fn keep(feed: &Feed, mut memory: Memory, journal: &Journal, name: &str) -> Result<(), Stop> {
    if feed.sources.iter().any(Source::is_stdin) {
        memory.spool = Some(Arc::new(Spool::new(&journal.folder().join(name))?));
    }
    // Nobody has set it before: a run begins once.
    let _ = feed.memory.set(memory);
    Ok(())
}

/// A record that cannot be written.
fn not_written(what: &Path, error: &std::io::Error) -> Stop {
    let shown = words::shown(&what.to_string_lossy(), 200);
    Stop::new(exit::NOT_WRITTEN, "record-error", format!("cannot write the record {shown}: {error}"))
        .help("`--record none` keeps none; TASKLOOM_STATE names another folder for records")
}
