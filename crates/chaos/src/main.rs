//! `cargo xtask chaos`: strikes worker processes until the time is over or something is not as it should be.

#![forbid(unsafe_code)]

use std::{
    env,
    process::{Command, ExitCode},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use taskloom_chaos::{Options, Until, run};
use taskloom_tests::scratch::Scratch;

const USAGE: &str = "usage: cargo xtask chaos [--minutes N] [--seed S] [--round K] [--verbose]";

/// Says that this process has the temporary folder for itself.
const APART: &str = "CHAOS_HAS_ITS_FOLDER";

fn main() -> Result<ExitCode> {
    taskloom::init();
    if env::var_os(APART).is_none() {
        return apart();
    }
    log::set_logger(&Counter).ok().context("nobody else sets a logger")?;
    log::set_max_level(log::LevelFilter::Info);
    let options = options(env::args().skip(1))?;
    println!("seed {}", options.seed);
    let summary = run(&options);
    if options.verbose {
        print!("{}", summary.places());
    }
    println!("{summary}");
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does it all in a child whose temporary folder is nobody else's.
fn apart() -> Result<ExitCode> {
    let scratch = Scratch::new();
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(APART, "1").env("TMPDIR", scratch.path(""));
    let status = command.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options =
        Options { seed: now.as_secs() % 1_000_000, until: Until::Time(Duration::from_secs(60)), verbose: false };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a number\n{USAGE}"));
        match arg.as_str() {
            "--minutes" => {
                let minutes: f64 = value()?.parse().context(USAGE)?;
                options.until = Until::Time(Duration::try_from_secs_f64(minutes * 60.0).context(USAGE)?);
            }
            "--seed" => options.seed = value()?.parse().context(USAGE)?,
            "--round" => options.until = Until::Only(value()?.parse().context(USAGE)?),
            "--verbose" => options.verbose = true,
            _ => bail!("what is `{arg}`?\n{USAGE}"),
        }
    }
    Ok(options)
}

/// A logger that is slow now and then, so that a flood has to wait.
struct Counter;

impl log::Log for Counter {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, _: &log::Record<'_>) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(500) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn flush(&self) {}
}
