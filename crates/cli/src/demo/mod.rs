//! `taskloom demo`: the backends at real work, every figure measured in that very run.
//!
//! One file a part; each writes its heading and rows and gives back what was measured, and the
//! last part says in three sentences what that means.

mod computing;
mod crashing;
mod pair;
mod rows;
mod server;
mod verdict;
mod waiting;

use std::{path::PathBuf, thread};

use clap::{Args, FromArgMatches, ValueEnum};
use taskloom_cli::{Extra, Output, Stop, exit, terminal, words};

/// Shows the backends at work on real input: waiting, computing, crashing (under a minute)
#[derive(Debug, Args)]
struct DemoArgs {
    /// Compute on the files below this folder [default: the sources that cargo has unpacked]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Show one part alone (repeatable)
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Two tasks at the same time
    Pair,
    /// Requests to a web server
    Waiting,
    /// Words and hashes of files
    Computing,
    /// Tasks that take their process with them
    Crashing,
}

/// The command.
pub(crate) fn command() -> Extra {
    let command = clap::Command::new("demo")
        .about("Show the backends at work on real input: waiting, computing, crashing (under a minute)");
    Extra {
        command: DemoArgs::augment_args(command),
        run: |matches| {
            let args = DemoArgs::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
            run(&args)
        },
    }
}

/// What the demo writes to, and how.
struct Stage {
    out: Output,
    colour: bool,
    workers: usize,
}

impl Stage {
    fn heading(&mut self, letter: char, text: &str) -> Result<(), Stop> {
        let heading = terminal::paint(&format!("({letter}) {text}"), terminal::Tone::Title, self.colour);
        self.out.line("")?;
        self.out.line(heading)?;
        self.out.flush()
    }

    /// A line of a part. Shown at once: the next one may take seconds.
    fn line(&mut self, text: &str) -> Result<(), Stop> {
        self.out.line(format!("      {text}").trim_end())?;
        self.out.flush()
    }

    fn faint(&mut self, text: &str) -> Result<(), Stop> {
        let text = terminal::paint(text, terminal::Tone::Faint, self.colour);
        self.line(&text)
    }
}

/// What the parts have measured; `None` where they were left out, or not built in.
#[derive(Default)]
struct Measured {
    waiting: Option<waiting::Speeds>,
    computing: Option<computing::Speeds>,
    crashing: Option<crashing::Survived>,
}

fn run(args: &DemoArgs) -> Result<u8, Stop> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut stage = Stage { out: Output::stdout(), colour: terminal::stdout_has_colour(), workers };
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let cores = words::count(workers, "core");
    stage
        .out
        .line(format!("Taskloom {}: the same tasks inline, on threads, in processes", env!("CARGO_PKG_VERSION")))?;
    stage.out.line(format!("{cores} to use; every figure is measured now, and nothing leaves this machine"))?;

    let mut measured = Measured::default();
    if wanted(Part::Pair) {
        pair::run(&mut stage)?;
    }
    if wanted(Part::Waiting) {
        measured.waiting = Some(waiting::run(&mut stage)?);
    }
    if wanted(Part::Computing) {
        measured.computing = Some(computing::run(&mut stage, args.path.as_deref())?);
    }
    if wanted(Part::Crashing) {
        measured.crashing = crashing::run(&mut stage)?;
    }
    if args.only.is_empty() {
        verdict::run(&mut stage, &measured)?;
    }
    next(&mut stage)?;
    stage.out.flush()?;
    Ok(exit::OK)
}

fn next(stage: &mut Stage) -> Result<(), Stop> {
    let program = taskloom_cli::program();
    stage.out.line("")?;
    stage.out.line("Next: type")?;
    for (command, what) in [
        (format!("{program} tasks"), "what can be run"),
        (format!("{program} run spin --range 0..200"), "200 tasks on all cores"),
        (format!("{program} run count_words --files '**/*.rs' -b procs"), "files, in processes"),
        (format!("{program} run exit_with --range 0..3 -b procs"), "what a death looks like"),
    ] {
        stage.out.line(format!("  {command:<51}  {what}").trim_end())?;
    }
    Ok(())
}

/// What went wrong in the demo itself.
fn broken(what: &str, error: impl std::fmt::Display) -> Stop {
    Stop::new(exit::FAILED, "demo", format!("{what}: {error}"))
}
