//! What will happen: everything that was typed, checked, and every file that can be checked.

use std::{ffi::OsString, sync::Arc};

use taskloom::{AnyBuilder, Pool, Registry, TaskError, backends};

use crate::{
    Stop,
    again::Again,
    args::RunArgs,
    exit,
    feed::{Checked, Faulty, Feed, paths_as_json},
    fit::Fit,
    input::Source,
    limits::Limits,
    place, program,
    report::{Facts, Show},
    settings, values, words,
};

/// A run that can begin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) fit: Fit,
    pub(crate) feed: Arc<Feed>,
    pub(crate) backend: &'static str,
    pub(crate) workers: usize,
    pub(crate) chunk: Chunk,
    pub(crate) limits: Limits,
    /// What is to be said before it begins.
    pub(crate) sayings: Vec<String>,
    pub(crate) keep_order: bool,
    pub(crate) show: Show,
    pub(crate) again: Option<Again>,
}

/// How many inputs go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Auto,
    Fixed(usize),
}

impl Plan {
    /// Checks what was typed; reads what can be read twice.
    pub(crate) fn check(args: &RunArgs, typed: &[OsString]) -> Result<Checked<Self>, Stop> {
        let fit = task(&args.task)?;
        if fit.def.makes_state() {
            let name = fit.def.short_name();
            return Err(Stop::usage(
                "makes-state",
                format!("`{name}` makes a worker's state and cannot be run by name"),
            ));
        }
        let limits = Limits::parse(&args.limits)?;
        let asked = settings::or_set(args.backend.as_deref(), "backend")?;
        let (backend, saying) = place::choose(asked.as_deref(), &limits, backends())?;
        let workers = values::workers(settings::or_set(args.workers.as_deref(), "workers")?.as_deref())?;
        let mut sayings = Vec::from_iter(saying);
        let chunk = match chunk(&args.chunk)? {
            Chunk::Fixed(size) if size > 1 && limits.is_for_each() => {
                sayings.push("Inputs go one by one: what was asked for is kept for each by itself".to_owned());
                Chunk::Fixed(1)
            }
            Chunk::Auto if limits.is_for_each() || limits.hold_back() => Chunk::Fixed(1),
            chunk => chunk,
        };
        let mut feed = Feed::new(&args.inputs)?;
        paths_as_json(&feed.sources)?;
        if feed.sources.is_empty() {
            if !fit.def.params().is_empty() {
                let stop = Stop::new(exit::NO_INPUT, "no-input", "there is no input");
                return Err(stop.help("give some with `--input`, `--lines`, `--files` or `--range`"));
            }
            feed.sources.push(Source::Nothing);
        }
        let faulty = feed.check(|text| fit.task(text).map(drop))?;
        let show = args.show.show(args.json, args.quiet, &args.output, args.force);
        // Inline is one at a time, however many are asked for.
        let workers = if backend == "inline" { 1 } else { workers };
        let again = Again::new(typed, &feed, show.output.is_some());
        let feed = Arc::new(feed);
        let keep_order = args.keep_order;
        let plan = Self { fit, feed, backend, workers, chunk, limits, sayings, keep_order, show, again };
        if let Some(faulty) = faulty {
            let total = plan.show.json.then_some(plan.feed.total.unwrap_or(0));
            let stop = plan.refusal(&faulty);
            return Ok(Checked::Bad { bad: faulty.first, stop, total });
        }
        if plan.feed.total == Some(0) {
            return if plan.feed.allow_empty { Ok(Checked::Empty) } else { Err(plan.feed.no_input(&args.inputs)) };
        }
        Ok(Checked::Plan(plan))
    }

    /// The pool that it runs on, and what is to be said about how that keeps limits.
    pub(crate) fn pool(&self) -> Result<(Pool, Option<String>), Stop> {
        let build = |pool: AnyBuilder| {
            let pool = pool.workers(self.workers).metrics(true);
            self.limits.memory.into_iter().fold(pool, AnyBuilder::memory_limit).build()
        };
        let pool = taskloom::pool(self.backend).and_then(build).map_err(|error| {
            let backend = self.backend;
            place::refused(&error).unwrap_or_else(|| {
                Stop::new(exit::UNAVAILABLE, "backend-unavailable", format!("backend `{backend}` cannot start"))
                    .reason(words::shown(&error.to_string(), 400))
            })
        })?;
        let saying = place::check(&self.limits, &pool.capabilities())?;
        Ok((pool, saying))
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            name: self.fit.def.short_name().to_owned(),
            command: None,
            backend: self.backend,
            workers: self.workers,
            chunk: self.chunk,
            tag: false,
        }
    }

    fn refusal(&self, faulty: &Faulty) -> Stop {
        let (program, task) = (program(), self.fit.def.short_name());
        match faulty.first.help(&program, task) {
            Some(help) => faulty.stop(task, "no task was started").help(help),
            None => faulty.stop_or_skip(task, "no task was started"),
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
pub(crate) fn backend(asked: Option<&str>, known: &[(&'static str, bool)]) -> Result<&'static str, Stop> {
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

fn chunk(asked: &str) -> Result<Chunk, Stop> {
    match asked.parse() {
        _ if asked == "auto" => Ok(Chunk::Auto),
        Ok(size) if size > 0 => Ok(Chunk::Fixed(size)),
        _ => Err(Stop::usage("bad-chunk", format!("`--chunk {}`: not a number of inputs", words::shown(asked, 40)))
            .help("a number from 1 up, or `auto`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
