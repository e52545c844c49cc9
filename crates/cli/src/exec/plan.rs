//! What will happen: everything that was typed, checked.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use taskloom::backends;

use super::{
    lists,
    template::{Subject, Template},
};
use crate::{
    Stop,
    again::Again,
    args::ExecArgs,
    exit,
    feed::{Checked, Feed},
    limits::Limits,
    memory,
    plan::{Chunk, backend},
    report::{Facts, Show},
    settings, values, words,
};

/// A run of commands that can begin.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) feed: Arc<Feed>,
    pub(crate) template: Template,
    pub(crate) start: Start,
    pub(crate) limits: Limits,
    pub(crate) facts: Facts,
    pub(crate) show: Show,
    pub(crate) keep_order: bool,
    pub(crate) ungroup: bool,
    pub(crate) dry_run: bool,
    pub(crate) again: Option<Again>,
}

/// How commands are started.
#[derive(Debug)]
pub(crate) struct Start {
    /// Where the program was found, if it is the same for all.
    pub(crate) program: Option<PathBuf>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
}

impl Plan {
    /// Checks what was typed; reads what can be read twice. `typed` are all words of the command line.
    pub(crate) fn check(args: &ExecArgs, typed: &[OsString]) -> Result<Checked<Self>, Stop> {
        let running = &args.running;
        if let Some(asked) = &running.backend
            && backend(Some(asked), backends())? != "procs"
        {
            return Err(Stop::usage("no-such-place", format!("commands do not run on `{asked}`"))
                .help("they are processes of their own: leave `--backend` out"));
        }
        let limits = Limits::parse(&args.limits)?;
        if limits.memory.is_some() && !memory::CAN_LIMIT {
            return Err(Stop::new(exit::UNAVAILABLE, "backend-unavailable", "`--memory` is not available")
                .reason("this binary was built without the `procs` feature"));
        }
        let workers = values::workers(settings::or_set(running.workers.as_deref(), "workers")?.as_deref())?;
        let template = Template::new(&args.command, running.shell);
        let start = start(args, &template)?;
        let mut feed = Feed::new(&args.inputs)?;
        if feed.sources.is_empty() {
            return Err(no_input(&args.command));
        }
        let faulty = feed.check(|text| Subject::of(text).map(drop))?;
        let output = &args.output;
        let show = output.show.show(output.json, output.quiet, &output.output, output.force);
        if let Some(faulty) = faulty {
            let total = show.json.then_some(feed.total.unwrap_or(0));
            let stop = faulty.stop_or_skip("exec", "no command was started");
            return Ok(Checked::Bad { bad: faulty.first, stop, total });
        }
        if feed.total == Some(0) {
            return if feed.allow_empty { Ok(Checked::Empty) } else { Err(feed.no_input(&args.inputs)) };
        }
        let command = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let facts = Facts {
            name: name(&args.command),
            command: Some(command),
            backend: "procs",
            workers,
            chunk: Chunk::Fixed(1),
            tag: output.tag,
        };
        let again = Again::new(typed, &feed, show.output.is_some());
        Ok(Checked::Plan(Self {
            feed: Arc::new(feed),
            template,
            start,
            limits,
            facts,
            show,
            keep_order: output.keep_order,
            ungroup: output.ungroup,
            dry_run: running.dry_run,
            again,
        }))
    }
}

impl Plan {
    /// What else than its words makes a command another one.
    pub(crate) fn version(&self, args: &ExecArgs) -> String {
        let lengths: Vec<_> = args.command.iter().map(|word| word.len()).collect();
        format!("{lengths:?} shell {} in {:?} with {:?}", args.running.shell, self.start.cwd, self.start.env)
    }
}

fn no_input(command: &[OsString]) -> Stop {
    let stop = Stop::new(exit::NO_INPUT, "no-input", "there is no input");
    if lists::is_misplaced(command) {
        return stop
            .reason("what stands behind `--` belongs to the command, `:::` too")
            .help("put it before: `exec ::: A B -- COMMAND`");
    }
    stop.help("give some: `::: A B`, `--lines FILE`, `--files GLOB`, `--range A..B`; `--lines -` reads standard input")
}

/// The command in one word, for lines about its runs.
fn name(command: &[OsString]) -> String {
    let first = command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let first = first.split_whitespace().next().unwrap_or_default();
    words::shown(first.rsplit('/').next().unwrap_or_default(), 40)
}

fn start(args: &ExecArgs, template: &Template) -> Result<Start, Stop> {
    let env: Vec<_> = args.running.env.iter().map(|typed| variable(typed)).collect::<Result<_, _>>()?;
    let cwd = args.running.cwd.clone();
    if let Some(folder) = cwd.as_ref().filter(|folder| !folder.is_dir()) {
        let shown = words::shown(&folder.to_string_lossy(), 200);
        return Err(Stop::usage("no-folder", format!("`--cwd {shown}`: there is no such folder")));
    }
    let program = match template.program() {
        Some(name) => Some(find(name, &env, cwd.as_deref())?),
        None => args.running.shell.then(|| PathBuf::from("/bin/sh")),
    };
    Ok(Start { program, env, cwd })
}

fn variable(typed: &OsStr) -> Result<(OsString, OsString), Stop> {
    let bytes = typed.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => {
            Ok((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
        }
        _ => {
            let shown = words::shown(&typed.to_string_lossy(), 40);
            Err(Stop::usage("bad-value", format!("`--env {shown}`: not a variable")).help("write it as `NAME=VALUE`"))
        }
    }
}

/// Where the system would find the program, so that it is looked for once, and missed before anything starts.
fn find(name: &OsStr, env: &[(OsString, OsString)], cwd: Option<&Path>) -> Result<PathBuf, Stop> {
    let shown = words::shown(&name.to_string_lossy(), 80);
    let from = |path: PathBuf| cwd.map_or_else(|| path.clone(), |cwd| cwd.join(&path));
    let is_program = |path: &PathBuf| {
        let about = std::fs::metadata(from(path.clone())).ok()?;
        Some(about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match is_program(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(Stop::usage("unknown-command", format!("{shown} is not a program"))
                .help("`chmod +x` makes a script one")),
            None => Err(Stop::usage("unknown-command", format!("there is no {shown}"))),
        };
    }
    let set = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let folders = set.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| "/usr/bin:/bin".into());
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|at| is_program(at) == Some(true));
    found.ok_or_else(|| {
        let stop = Stop::usage("unknown-command", format!("no command named `{shown}`"));
        match shown.contains(' ') {
            true => stop.help("give each argument as a word of its own, or let `--shell` read the line"),
            false => stop.help("what the shell itself does (`cd`, pipes, `$variables`) needs `--shell`"),
        }
    })
}
