//! The command line over a program's own tasks.
//!
//! ```text
//!  words typed ─▶ Args ─▶ Plan ─▶ run ─▶ results on standard output, one JSON value a line
//!                  │       │       └───▶ progress, failures and summary on standard error
//!                  2    2, 65, 66, 69      0, 65, 74, 100, 130, 141       (exit codes)
//! ```
//!
//! A program that has tasks gets the commands with one line:
//!
//! ```no_run
//! use taskloom::task;
//!
//! /// Doubles a number.
//! #[task]
//! fn double(n: u64) -> u64 {
//!     2 * n
//! }
//!
//! fn main() {
//!     taskloom_cli::main()
//! }
//! # mod taskloom { pub use ::taskloom::*; }
//! ```
//!
//! and then `my-program tasks`, `my-program run double --range 0..10`, `my-program run double -i numbers.jsonl -b procs`.
//! The exit codes stand in [`exit`]. Nothing here knows a backend by more than its name.

#![forbid(unsafe_code)]

mod again;
mod args;
mod event;
pub mod exit;
mod output;
mod stop;

mod bad_input;
mod check;
mod feed;
mod fit;
mod input;
mod line;
mod list;
mod place;
mod plan;
mod values;

mod chunks;
mod dry_run;
mod eta;
mod exec;
mod limits;
mod memory;
mod outcome;
mod printed;
mod progress;
mod reader;
mod record;
mod report;
mod run;
mod runs;
mod stopping;
mod successes;

mod doctor;
mod glob;
mod log_setup;
mod pages;
mod settings;
mod shell;
mod signals;
mod snippet;
pub mod terminal;
mod utc;
pub mod words;

use std::{ffi::OsString, path::Path, process};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::{
    args::{Cli, Command, RecordArgs, RunsArgs, RunsCommand},
    feed::Checked,
    plan::Plan,
};
pub use crate::{output::Output, stop::Stop};

/// A command that a program adds to the common ones.
pub struct Extra {
    /// Its name and arguments.
    pub command: clap::Command,
    /// Runs it; its exit code, or why it had to stop.
    pub run: fn(&ArgMatches) -> Result<u8, Stop>,
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extra").field("command", &self.command.get_name()).finish_non_exhaustive()
    }
}

/// Runs the command that was typed, and ends the program with one of the codes in [`exit`].
///
/// It begins with [`taskloom::init`]: in a worker process nothing else happens.
pub fn main() -> ! {
    main_with(Vec::new())
}

/// [`main()`], with more commands.
pub fn main_with(extras: Vec<Extra>) -> ! {
    taskloom::init();
    log_setup::init();
    let code = run_typed(std::env::args_os(), &extras).unwrap_or_else(|stop| say(&stop));
    process::exit(code.into())
}

fn run_typed(words: impl Iterator<Item = OsString>, extras: &[Extra]) -> Result<u8, Stop> {
    let grammar = Cli::command().subcommands(extras.iter().map(|extra| extra.command.clone()));
    let typed: Vec<OsString> = words.collect();
    let (words, lists) = exec::lists::cut(typed.clone());
    // clap prints its own messages and help, and exits with 2 or 0.
    let matches = grammar.clone().try_get_matches_from(words).unwrap_or_else(|error| error.exit());
    terminal::set_colour(matches.get_one("color").copied());
    let (name, of_command) = matches.subcommand().unwrap_or(("", &matches));
    if let Some(extra) = extras.iter().find(|extra| extra.command.get_name() == name) {
        return (extra.run)(of_command);
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let or_event = |stop, json| if json { say_event(&stop) } else { Err(stop) };
    match cli.command {
        Command::Tasks(args) => list::run(&args).map(|()| exit::OK),
        Command::Runs(RunsArgs { what: Some(RunsCommand::Resume { run }), .. }) => resumed_run(&run),
        Command::Runs(args) => runs::run(&args).or_else(|stop| or_event(stop, args.json)),
        Command::Doctor(args) => doctor::run(args.json).map(|()| exit::OK).or_else(|stop| or_event(stop, args.json)),
        Command::Completions(args) => pages::completions(&args, grammar).map(|()| exit::OK),
        Command::Man(args) => pages::man(args.dir.as_deref(), grammar).map(|()| exit::OK),
        command => recorded(command, lists, &typed),
    }
}

/// What is recorded: `run` and `exec`.
fn recorded(command: Command, lists: Vec<Vec<OsString>>, typed: &[OsString]) -> Result<u8, Stop> {
    // A file over the limit of `ulimit -f` is an error to be reported, not a reason to die. If nobody can be told, so be it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    let or_event = |stop, json| if json { say_event(&stop) } else { Err(stop) };
    match command {
        Command::Run(args) => planned_run(&args, typed).or_else(|stop| or_event(stop, args.json)),
        Command::Exec(mut args) => {
            args.inputs.lists = lists;
            exec::run(&args, typed).or_else(|stop| or_event(stop, args.output.json))
        }
        _ => Ok(exit::USAGE),
    }
}

/// Types again what was typed, and leaves out what is done.
fn resumed_run(run: &str) -> Result<u8, Stop> {
    let again = runs::resume(run)?;
    let (words, lists) = exec::lists::cut(again.typed.clone());
    let mut cli = Cli::try_parse_from(words).map_err(|_| {
        Stop::new(exit::FAILED, "bad-record", format!("what was typed for run {} is not understood any more", again.id))
    })?;
    let record = RecordArgs { record: None, resume: Some(again.id) };
    match &mut cli.command {
        Command::Run(args) => (args.record, args.inputs.stdin) = (record, again.stdin),
        Command::Exec(args) => (args.record, args.inputs.stdin) = (record, again.stdin),
        _ => {}
    }
    recorded(cli.command, lists, &again.typed)
}

fn planned_run(args: &args::RunArgs, typed: &[OsString]) -> Result<u8, Stop> {
    match Plan::check(args, typed)? {
        Checked::Plan(plan) if args.dry_run => run::dry_run(&plan),
        Checked::Plan(plan) => run::run(plan, args, typed),
        Checked::Empty => Ok(exit::OK),
        Checked::Bad { bad, stop, total } => report::refuse(&bad, stop, total),
    }
}

/// Says on standard error why the program stops.
fn say(stop: &Stop) -> u8 {
    if !stop.is_quiet() {
        terminal::write_above(&format!("{stop}\n"));
    }
    stop.exit()
}

/// A reader of events is told in an event. If that cannot be written, only the exit code is left.
fn say_event(stop: &Stop) -> Result<u8, Stop> {
    if !stop.is_quiet() && stop.exit() != exit::NOT_WRITTEN {
        let mut out = Output::stdout();
        out.line(stop.event().to_string())?;
        out.flush()?;
        return Ok(stop.exit());
    }
    Ok(say(stop))
}

/// What this program is called in messages: as it was typed, without the folder.
pub fn program() -> String {
    let typed = std::env::args_os().next().unwrap_or_default();
    Path::new(&typed).file_name().map_or_else(|| "taskloom".to_owned(), |name| name.to_string_lossy().into_owned())
}
