//! What a run is fed with: every source that was named, checked as far as it can be before it is read.

use std::{ops::Range, os::unix::ffi::OsStrExt, path::PathBuf, sync::OnceLock};

use taskloom::JsonFault;

use crate::{
    Stop,
    args::{InputArgs, OnBadInput},
    bad_input::BadInput,
    check, exit,
    glob::{self, Unreadable},
    input::{Input, Origin, Place, Source, Text, cannot_read},
    outcome::Brief,
    record::Memory,
    values::Only,
    words,
};

/// How much of an input is kept while it runs, to be shown if it fails.
const KEPT: usize = 200;

/// All inputs of a run.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) sources: Vec<Source>,
    /// How many inputs there are, if that can be known before they are read.
    pub(crate) total: Option<usize>,
    pub(crate) only: Only,
    pub(crate) on_bad_input: OnBadInput,
    pub(crate) allow_empty: bool,
    /// What a record wants of inputs, if there is one.
    pub(crate) memory: OnceLock<Memory>,
}

/// What a check of the inputs found.
pub(crate) enum Checked<P> {
    Plan(P),
    /// The first input that cannot be used, the message for people, and under `--json` the number of inputs.
    Bad {
        bad: BadInput,
        stop: Stop,
        total: Option<usize>,
    },
    /// There is nothing to do, and that is allowed.
    Empty,
}

/// The first of the inputs that cannot be used, and how many of each kind there are.
pub(crate) struct Faulty {
    pub(crate) first: BadInput,
    pub(crate) good: usize,
    pub(crate) bad: usize,
}

impl Faulty {
    /// Says so, with what that means for the run.
    pub(crate) fn stop(&self, task: &str, note: &str) -> Stop {
        let stop = self.first.stop(task);
        let all = format!("{} in all do not fit", words::count(self.bad, "input"));
        let stop = if self.bad > 1 { stop.note(all) } else { stop };
        stop.note(note)
    }

    /// The same, where leaving inputs out may help.
    pub(crate) fn stop_or_skip(&self, task: &str, note: &str) -> Stop {
        let these = if self.bad == 1 { "this line".to_owned() } else { format!("these {}", self.bad) };
        let help = format!("`--on-bad-input skip` runs the other {} and lists {these} at the end", self.good);
        self.stop(task, note).help(help)
    }
}

impl Feed {
    /// Opens what was named.
    pub(crate) fn new(args: &InputArgs) -> Result<Self, Stop> {
        let mut sources = Vec::new();
        let end = if args.null { b'\0' } else { b'\n' };
        sources.extend(args.input.iter().cloned().map(|path| match path.extension() {
            Some(extension) if extension == "json" => Source::Array(path),
            _ => Source::Json(Place::new(path), end),
        }));
        sources.extend(args.lines.iter().cloned().map(|path| Source::Lines(Place::new(path), end)));
        if let Some(kept) = &args.stdin {
            for source in sources.iter_mut().filter(|source| source.is_stdin()) {
                if let Source::Json(place, _) | Source::Lines(place, _) = source {
                    *place = Place::Kept(kept.clone());
                }
            }
        }
        for source in &sources {
            match source {
                Source::Json(place, _) | Source::Lines(place, _) => place.check()?,
                Source::Array(path) => Place::new(path.clone()).check()?,
                _ => {}
            }
        }
        if sources.iter().filter(|source| source.is_stdin()).count() > 1 {
            return Err(Stop::usage("stdin-twice", "standard input can be read only once").help("give `-` once"));
        }
        for pattern in &args.files {
            let found = glob::files(pattern).map_err(|Unreadable { folder, error }| cannot_read(&folder, &error))?;
            sources.push(Source::Paths(found));
        }
        for range in &args.range {
            sources.push(Source::Range(parse_range(range)?));
        }
        if !args.arg.is_empty() {
            sources.push(Source::Typed(args.arg.clone()));
        }
        if !args.lists.is_empty() {
            sources.push(Source::Lists(args.lists.clone()));
        }
        Ok(Self {
            sources,
            total: None,
            only: Only::parse(args.only.as_deref())?,
            on_bad_input: args.on_bad_input,
            allow_empty: args.allow_empty,
            memory: OnceLock::new(),
        })
    }

    /// What an input is called in messages.
    pub(crate) fn label(&self, origin: Origin) -> String {
        self.sources[origin.source].label(origin.at)
    }

    /// What is remembered of an input while it runs.
    pub(crate) fn brief(&self, number: u64, input: &Input) -> Brief {
        let shown = match self.sources[input.origin.source] {
            Source::Nothing => String::new(),
            _ => words::shown(&input.text.as_shown(), KEPT),
        };
        Brief { number, origin: input.origin, shown, in_bytes: input.text.len(), key: input.key }
    }

    /// An input that cannot be used, for this reason.
    pub(crate) fn bad(&self, input: &Input, fault: JsonFault) -> BadInput {
        BadInput::new(self.label(input.origin), input, fault)
    }

    /// Reads every source that can be read again; counts inputs, and finds those that cannot be used. `None` if none is in
    /// the way.
    pub(crate) fn check(
        &mut self,
        fits: impl Fn(&Text) -> Result<(), JsonFault> + Sync,
    ) -> Result<Option<Faulty>, Stop> {
        let (mut good, mut bad, mut first) = (0, 0, None);
        let mut all_known = true;
        for (number, source) in self.sources.iter().enumerate() {
            if !source.is_repeatable() {
                all_known = false;
                continue;
            }
            if let Source::Range(range) = source {
                good += usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
                if let Some(fault) = range_fault(number, source, range, &fits)? {
                    first.get_or_insert(fault);
                    bad += 1;
                }
                continue;
            }
            let tally = check::check(source.inputs(number, None)?, &fits)?;
            (good, bad) = (good + tally.good, bad + tally.bad);
            if let (None, Some((input, fault))) = (&first, tally.first) {
                first = Some(self.bad(&input, fault));
            }
        }
        self.total = all_known.then_some(self.only.count(good + bad));
        let stops = self.on_bad_input == OnBadInput::Stop;
        Ok(first.filter(|_| stops).map(|first| Faulty { first, good, bad }))
    }

    /// Gives each input that is meant with its number, until `take` wants no more.
    pub(crate) fn each(&self, mut take: impl FnMut(u64, Input) -> bool) -> Result<(), Stop> {
        let mut number = 0;
        let spool = self.memory.get().and_then(|memory| memory.spool.as_ref());
        for (source, of) in self.sources.iter().enumerate() {
            for input in of.inputs(source, spool)? {
                let input = input?;
                number += 1;
                if self.only.is_over(number) {
                    return Ok(());
                }
                if self.only.has(number) && !take(number, input) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether a run that is gone on with has recorded this input as done. It gets its key here.
    pub(crate) fn was_done(&self, input: &mut Input) -> bool {
        let Some(memory) = self.memory.get() else { return false };
        memory.was_done(*input.key.insert(memory.key(&input.text)))
    }

    /// Why nothing can be run: there is no input.
    pub(crate) fn no_input(&self, args: &InputArgs) -> Stop {
        let stop = Stop::new(exit::NO_INPUT, "no-input", "there is no input");
        let stop = match args.files.first() {
            _ if args.only.is_some() && self.sources.iter().any(Source::is_repeatable) => {
                stop.reason("`--only` leaves none")
            }
            Some(pattern) => {
                let pattern = words::shown(&pattern.to_string_lossy(), 80);
                stop.reason(format!("no file fits `{pattern}`"))
            }
            None => stop,
        };
        stop.help("`--allow-empty` makes that no error")
    }
}

/// Integers fit a task from some number to another: the ends tell for all.
fn range_fault(
    number: usize,
    source: &Source,
    range: &Range<i64>,
    fits: impl Fn(&Text) -> Result<(), JsonFault>,
) -> Result<Option<BadInput>, Stop> {
    if range.is_empty() {
        return Ok(None);
    }
    for at in [range.start, range.end - 1] {
        let one = Source::Range(at..at + 1);
        for input in one.inputs(number, None)? {
            let input = input?;
            if let Err(fault) = fits(&input.text) {
                let label = source.label((at - range.start) as u64 + 1);
                return Ok(Some(BadInput::new(label, &input, fault)));
            }
        }
    }
    Ok(None)
}

/// JSON is text, and a path need not be: better no run than one with another file's name.
pub(crate) fn paths_as_json(sources: &[Source]) -> Result<(), Stop> {
    let paths = sources.iter().filter_map(|source| if let Source::Paths(paths) = source { Some(paths) } else { None });
    let is_text = |path: &&PathBuf| path.to_str().is_some();
    match paths.flatten().find(|path| !is_text(path)) {
        None => Ok(()),
        Some(path) => {
            let shown = path.as_os_str().as_bytes().escape_ascii();
            Err(Stop::new(exit::BAD_INPUT, "bad-input", format!("the name of this file is not UTF-8: {shown}"))
                .reason("arguments are written as JSON, which carries text only")
                .help("rename the file, or choose a pattern that leaves it out"))
        }
    }
}

fn parse_range(text: &str) -> Result<Range<i64>, Stop> {
    let parsed = text.split_once("..").and_then(|(start, end)| {
        let start = start.trim().parse().ok()?;
        match end.strip_prefix('=') {
            Some(last) => Some(start..last.trim().parse::<i64>().ok()?.checked_add(1)?),
            None => Some(start..end.trim().parse().ok()?),
        }
    });
    parsed.ok_or_else(|| {
        Stop::usage("bad-range", format!("`--range {}`: not a range of integers", words::shown(text, 40)))
            .help("write it as `0..100` (100 not included) or `1..=100`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_in_rust() {
        assert_eq!(parse_range("0..3").unwrap(), 0..3);
        assert_eq!(parse_range("-2..=2").unwrap(), -2..3);
        for wrong in ["3", "a..b", "1..", "..", "0..=9223372036854775807"] {
            assert_eq!(parse_range(wrong).unwrap_err().exit(), exit::USAGE, "{wrong}");
        }
    }
}
