//! `exec`: a command once per input, without a shell and without a worker in between.
//!
//! ```text
//!  reader ──Input──▶ inbox ─▶ ┌────────────┐ ──posix_spawn──▶ command, in its own process group
//!    ▲                        │ supervisor │ ◀──descriptor──── has ended
//!    │                        └────────────┘ ◀── signals, clocks
//!    └── credit ── reporter ◀──Done──┘
//! ```
//!
//! One thread starts, watches and ends all commands. It waits in one place, for everything at once: commands that have
//! ended, inputs, signals, and the next of its clocks. It neither reads inputs nor writes output, each of which may take
//! as long as somebody else likes; so limits are kept and Ctrl-C is heard whatever happens.
//!
//! What a command prints goes straight to unlinked files, one for each stream: nobody copies it until it has ended, and
//! it may be larger than memory.

mod bell;
mod command;
mod ending;
mod inbox;
pub(crate) mod lists;
mod plan;
mod reporter;
mod supervisor;
mod template;

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use self::template::Subject;
use crate::{
    Stop,
    args::ExecArgs,
    dry_run::{self, Would},
    event::Event,
    feed::Checked,
    record::{self, Work},
    report::{self, Report},
    shell,
};

/// Runs it; the exit code, or why it could not be finished.
pub(crate) fn run(args: &ExecArgs, typed: &[OsString]) -> Result<u8, Stop> {
    match plan::Plan::check(args, typed)? {
        Checked::Plan(plan) if plan.dry_run => {
            dry_run::run(&plan.facts, &plan.feed, plan.show.json, |number, input| {
                let words = plan.template.fill(&Subject::of(&input.text)?, number, None);
                let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                let event = Event::new("would-run").with("index", number).with("command", shown);
                Ok(Would { line: shell::line(words.iter().map(|word| word.as_bytes())), event })
            })
        }
        Checked::Plan(plan) => {
            let command = args.command.join(OsStr::new(" "));
            let work = Work {
                command: "exec",
                name: &command.to_string_lossy(),
                version: plan.version(args),
                typed,
                output: plan.show.output.as_deref(),
            };
            let journal = record::begin(&args.record, &plan.feed, &work)?;
            let report = Report::new(plan.facts.clone(), plan.feed.clone(), plan.show.clone(), journal)?;
            supervisor::run(plan, report)
        }
        Checked::Empty => Ok(crate::exit::OK),
        Checked::Bad { bad, stop, total } => report::refuse(&bad, stop, total),
    }
}
