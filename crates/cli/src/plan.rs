//! What will happen: everything that was typed, checked, and every file that can be checked.

use std::{ops::Range, path::PathBuf};

use taskloom::{Registry, TaskError, backends};

use crate::{
    Stop,
    args::{OnBadInput, RunArgs},
    exit,
    glob::{self, Unreadable},
    input::{BadInput, Fit, Place, Source, cannot_read},
    program, words,
};

/// A run that can begin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) fit: Fit,
    pub(crate) backend: &'static str,
    pub(crate) workers: usize,
    pub(crate) chunk: Chunk,
    pub(crate) keep_order: bool,
    pub(crate) json: bool,
    pub(crate) on_bad_input: OnBadInput,
    pub(crate) allow_empty: bool,
    pub(crate) sources: Vec<Source>,
    /// How many inputs there are, if that can be known before they are read.
    pub(crate) total: Option<usize>,
}

/// How many inputs go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Auto,
    Fixed(usize),
}

/// What a check of the inputs found.
pub(crate) enum Checked {
    Plan(Plan),
    /// The first input that does not fit, the message for people, and under `--json` the number of inputs.
    Bad {
        bad: BadInput,
        stop: Stop,
        total: Option<usize>,
    },
    /// There is nothing to do, and that is allowed.
    Empty,
}

impl Plan {
    /// Checks what was typed; reads what can be read twice.
    pub(crate) fn check(args: RunArgs) -> Result<Checked, Stop> {
        let fit = task(&args.task)?;
        let mut plan = Self {
            fit,
            backend: backend(args.backend.as_deref(), backends())?,
            workers: workers(args.workers)?,
            chunk: chunk(&args.chunk)?,
            keep_order: args.keep_order,
            json: args.json,
            on_bad_input: args.on_bad_input,
            allow_empty: args.allow_empty,
            total: None,
            sources: sources(&args, fit)?,
        };
        // Inline is one at a time, however many are asked for.
        if plan.backend == "inline" {
            plan.workers = 1;
        }
        let checked = plan.check_inputs()?;
        if let Some((bad, stop)) = checked {
            let total = plan.json.then_some(plan.total.unwrap_or(0));
            return Ok(Checked::Bad { bad, stop, total });
        }
        if plan.total == Some(0) {
            return if args.allow_empty { Ok(Checked::Empty) } else { Err(no_input(&args)) };
        }
        Ok(Checked::Plan(plan))
    }

    /// Reads every source that can be read again; counts inputs, and finds the first that does not fit.
    fn check_inputs(&mut self) -> Result<Option<(BadInput, Stop)>, Stop> {
        let (mut good, mut bad, mut first) = (0, 0, None);
        let mut all_known = true;
        for (number, source) in self.sources.iter().enumerate() {
            if !source.is_repeatable() {
                all_known = false;
                continue;
            }
            if let Source::Range(range) = source {
                good += usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
                if let Some(fault) = self.range_fault(number, source, range)? {
                    first.get_or_insert(fault);
                    bad += 1;
                }
                continue;
            }
            for input in source.inputs(number)? {
                let input = input?;
                match self.fit.task(&input.text) {
                    Ok(_) => good += 1,
                    Err(fault) => {
                        bad += 1;
                        first.get_or_insert_with(|| BadInput::new(source.label(input.origin.at), &input, fault));
                    }
                }
            }
        }
        self.total = all_known.then_some(good + bad);
        match first {
            Some(first) if self.on_bad_input == OnBadInput::Stop => {
                let stop = self.refusal(&first, good, bad);
                Ok(Some((first, stop)))
            }
            _ => Ok(None),
        }
    }

    /// Integers fit a task from some number to another: the ends tell for all.
    fn range_fault(&self, number: usize, source: &Source, range: &Range<i64>) -> Result<Option<BadInput>, Stop> {
        if range.is_empty() {
            return Ok(None);
        }
        for at in [range.start, range.end - 1] {
            let one = Source::Range(at..at + 1);
            for input in one.inputs(number)? {
                let input = input?;
                if let Err(fault) = self.fit.task(&input.text) {
                    let label = source.label((at - range.start) as u64 + 1);
                    return Ok(Some(BadInput::new(label, &input, fault)));
                }
            }
        }
        Ok(None)
    }

    fn refusal(&self, first: &BadInput, good: usize, bad: usize) -> Stop {
        let (program, task) = (program(), self.fit.def.short_name());
        let mut stop = first.stop(task);
        if bad > 1 {
            stop = stop.note(format!("{} in all do not fit", words::count(bad, "input")));
        }
        stop = stop.note("no task was started");
        let these = if bad == 1 { "this line".to_owned() } else { format!("these {bad}") };
        match first.help(&program, task) {
            Some(help) => stop.help(help),
            None => stop.help(format!("`--on-bad-input skip` runs the other {good} and lists {these} at the end")),
        }
    }
}

/// Finds a task by its name.
pub(crate) fn task(name: &str) -> Result<Fit, Stop> {
    let registry = Registry::get();
    let unknown = match registry.find(name) {
        Ok((slot, def)) => return Ok(Fit { slot, def }),
        Err(TaskError::UnknownTask(unknown)) => unknown,
        Err(other) => return Err(Stop::usage("unknown-task", other.to_string())),
    };
    let program = program();
    let known = words::count(registry.tasks().len(), "task");
    let shown = words::shown(name, 80);
    if unknown.message.contains("is ambiguous") {
        let stop = Stop::usage("ambiguous-task", format!("`{shown}` is the name of several tasks"));
        let stop = unknown.candidates.iter().fold(stop, |stop, task| stop.line(format!("  {task}")));
        return Err(stop.help("write more of the name, from the left"));
    }
    let stop = Stop::usage("unknown-task", format!("no task named `{shown}`"));
    Err(match &unknown.candidates[..] {
        _ if registry.tasks().is_empty() => {
            stop.help("this program has no tasks: a library of tasks is linked only if something mentions it")
        }
        [] => stop.help(format!("`{program} tasks` lists the {known} in this binary")),
        near => {
            let near = near.join("`, `");
            stop.help(format!("did you mean `{near}`? `{program} tasks` lists the {known} in this binary"))
        }
    })
}

/// Chooses among `known` backends, of which each is available here or not.
fn backend(asked: Option<&str>, known: &[(&'static str, bool)]) -> Result<&'static str, Stop> {
    let available = |name: &str| known.iter().any(|(known, there)| *known == name && *there);
    let preferred = ["threads", "procs", "inline"].into_iter().find(|name| available(name)).unwrap_or("inline");
    let Some(asked) = asked else { return Ok(preferred) };
    match known.iter().find(|(name, _)| *name == asked) {
        Some((name, true)) => Ok(name),
        Some((name, false)) => {
            Err(Stop::new(exit::UNAVAILABLE, "backend-unavailable", format!("backend `{name}` is not available"))
                .reason(format!("this binary was built without the `{name}` feature"))
                .help(format!("build with `--features {name}`, or use `-b {preferred}`")))
        }
        None => {
            let names: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
            let there_are = format!("there are {}", names.join(", "));
            let near = known.iter().find(|(name, _)| is_near(asked, name));
            let help = near.map_or(there_are.clone(), |(near, _)| format!("did you mean `{near}`? {there_are}"));
            let shown = words::shown(asked, 80);
            Err(Stop::usage("unknown-backend", format!("no backend named `{shown}`")).help(help))
        }
    }
}

/// `proc`, `process`, `thread`, `Threads`: the slips that happen with so few names.
fn is_near(typed: &str, known: &str) -> bool {
    let typed = typed.to_lowercase();
    typed.len() >= 2 && (known.starts_with(&typed) || typed.starts_with(&known[..known.len() - 1]))
}

fn workers(asked: Option<usize>) -> Result<usize, Stop> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match asked {
        Some(0) => Err(Stop::usage("no-workers", "`--workers 0`: nothing would ever run")
            .help(format!("leave it out for one worker per usable core ({cores} here)"))),
        Some(workers) => Ok(workers),
        None => Ok(cores),
    }
}

fn chunk(asked: &str) -> Result<Chunk, Stop> {
    match asked.parse() {
        _ if asked == "auto" => Ok(Chunk::Auto),
        Ok(size) if size > 0 => Ok(Chunk::Fixed(size)),
        _ => Err(Stop::usage("bad-chunk", format!("`--chunk {}`: not a number of inputs", words::shown(asked, 40)))
            .help("a number from 1 up, or `auto`")),
    }
}

fn sources(args: &RunArgs, fit: Fit) -> Result<Vec<Source>, Stop> {
    let mut sources = Vec::new();
    sources.extend(args.input.iter().cloned().map(Place::new).map(Source::Json));
    sources.extend(args.lines.iter().cloned().map(Place::new).map(Source::Lines));
    for source in &sources {
        if let Source::Json(place) | Source::Lines(place) = source {
            place.check()?;
        }
    }
    let standard = |source: &&Source| matches!(source, Source::Json(Place::Stdin) | Source::Lines(Place::Stdin));
    if sources.iter().filter(standard).count() > 1 {
        return Err(Stop::usage("stdin-twice", "standard input can be read only once").help("give `-` once"));
    }
    for pattern in &args.files {
        let found = glob::files(pattern).map_err(|Unreadable { folder, error }| cannot_read(&folder, &error))?;
        sources.push(Source::Paths(found.into_iter().map(as_json_can_carry).collect::<Result<_, _>>()?));
    }
    for range in &args.range {
        sources.push(Source::Range(parse_range(range)?));
    }
    if sources.is_empty() && fit.def.params().is_empty() {
        sources.push(Source::Nothing);
    }
    Ok(sources)
}

/// JSON is text, and a path need not be: better no run than one with another file's name.
fn as_json_can_carry(path: PathBuf) -> Result<String, Stop> {
    path.into_os_string().into_string().map_err(|path| {
        let shown = path.as_encoded_bytes().escape_ascii();
        Stop::new(exit::BAD_INPUT, "bad-input", format!("the name of this file is not UTF-8: {shown}"))
            .reason("arguments are written as JSON, which carries text only")
            .help("rename the file, or choose a pattern that leaves it out")
    })
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

fn no_input(args: &RunArgs) -> Stop {
    let stop = Stop::new(exit::NO_INPUT, "no-input", "there is no input");
    let stop = match args.files.first() {
        Some(pattern) => {
            let pattern = words::shown(&pattern.to_string_lossy(), 80);
            stop.reason(format!("no file fits `{pattern}`"))
        }
        None if args.input.is_empty() && args.lines.is_empty() && args.range.is_empty() => {
            return stop.help("give some with `--input`, `--lines`, `--files` or `--range`");
        }
        None => stop,
    };
    stop.help("`--allow-empty` makes that no error")
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

    #[test]
    fn chunks_are_numbers_from_one_up() {
        assert_eq!(chunk("auto").unwrap(), Chunk::Auto);
        assert_eq!(chunk("7").unwrap(), Chunk::Fixed(7));
        assert!(chunk("0").is_err() && chunk("some").is_err());
    }

    const ALL: &[(&str, bool)] = &[("inline", true), ("threads", true), ("procs", true)];

    #[test]
    fn slips_of_backend_names_are_recognised() {
        for (typed, meant) in [("proc", "procs"), ("process", "procs"), ("thread", "threads"), ("Threads", "threads")] {
            let help = backend(Some(typed), ALL).unwrap_err().to_string();
            assert!(help.contains(&format!("did you mean `{meant}`?")), "{help}");
        }
        assert!(!backend(Some("gpu"), ALL).unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn a_backend_that_was_left_out_is_unavailable() {
        let few = &[("inline", true), ("threads", true), ("procs", false)];
        let stop = backend(Some("procs"), few).unwrap_err();
        assert_eq!(stop.exit(), exit::UNAVAILABLE);
        assert_eq!(
            stop.to_string(),
            "error: backend `procs` is not available\n  reason: this binary was built without the `procs` feature\n  \
             help: build with `--features procs`, or use `-b threads`"
        );
        assert_eq!(backend(None, few).unwrap(), "threads");
        assert_eq!(backend(None, &[("inline", true), ("threads", false)]).unwrap(), "inline");
    }

    #[test]
    fn no_workers_is_wrong_usage() {
        assert_eq!(workers(Some(0)).unwrap_err().exit(), exit::USAGE);
        assert_eq!(workers(Some(3)).unwrap(), 3);
    }
}
