//! The `taskloom` program beside `jq` and `xargs`, and what its journal costs.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    Plan,
    compare::{Bound, Contender, Row, Unit, in_turn, mib},
    counter::Counter,
    memory::field,
};

/// Lines for `run`. Not fewer in quick runs: the start of the program would be a part of the time.
const LINES: usize = 1_000_000;
/// Commands for `exec`.
const COMMANDS: usize = 5_000;
/// The task of `taskloom` that does nothing but give its input back, if that is 0.
const TASK: [&str; 2] = ["run", "sleep_ms"];

/// P12: a task that does nothing for each line of a file of JSON, as results in a file's order or not, recorded.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Row>> {
    let Some(place) = Place::new()? else { return Ok(vec![missing("run")]) };
    let mut rows = Vec::new();
    for (backend, least) in [("threads", 0.5), ("procs", 0.25)] {
        let ours = Contender::new("", LINES, |lines| {
            ends_well(place.taskloom(TASK).args(["-q", "-b", backend, "-i"]).arg(place.lines("0\n", lines)?))
        });
        let jq = "jq -c .";
        let peer = match ends_well(Command::new("jq").args(["-n", "1"])) {
            Ok(()) => Contender::new(jq, LINES, |lines| {
                ends_well(Command::new("jq").args(["-c", "."]).arg(place.lines("0\n", lines)?))
            }),
            Err(_) => Contender::missing(jq, "jq is missing"),
        };
        let what = format!("taskloom run, {backend}, {LINES} lines of JSON");
        let rounds = plan.rounds().min(5);
        rows.extend(in_turn("P12", &what, Unit::Rate, rounds, ours, [peer.must(Bound::AtLeast(least))])?);
    }
    for backend in ["threads", "procs"] {
        let peak = |lines: usize| {
            peak_memory(place.taskloom(TASK).args(["-q", "-b", backend, "-i"]).arg(place.lines("0\n", lines)?))
        };
        let grown = mib(peak(LINES)?.saturating_sub(peak(LINES / 10)?));
        let what = format!("taskloom run, {backend}, {LINES} lines");
        let note = format!("growth of its resident memory beyond that over {}", LINES / 10);
        let row = Row::note(what, format!("{grown:.1} MiB"), note).id("P12");
        rows.push(Row { must: Some(Bound::AtMost(4.0)), figures: vec![grown], unit: "MiB", ..row });
    }
    Ok(rows)
}

/// P13: commands that do nothing.
pub(crate) fn exec(plan: &Plan) -> Result<Vec<Row>> {
    let Some(place) = Place::new()? else { return Ok(vec![missing("exec")]) };
    let ours = Contender::new("", COMMANDS, |commands| {
        let words = ["exec", "-q", "-j", "2", "--lines"];
        ends_well(place.taskloom(words).arg(place.lines("x\n", commands)?).args(["--", "true"]))
    });
    let xargs = "xargs -n1 -P2";
    let peer = match ends_well(Command::new("xargs").arg("true")) {
        Ok(()) => Contender::new(xargs, COMMANDS, |commands| {
            let lines = place.lines("x\n", commands)?;
            ends_well(Command::new("xargs").args(["-n1", "-P2", "-a"]).arg(lines).arg("true"))
        }),
        Err(_) => Contender::missing(xargs, "xargs is missing"),
    };
    let peer = peer.must(Bound::AtLeast(0.8)).aim(Bound::AtLeast(1.0));
    in_turn("P13", "taskloom exec, `true` 5000 times", Unit::Rate, plan.rounds().min(5), ours, [peer])
}

/// P14: how long somebody waits for `--help`.
pub(crate) fn help(plan: &Plan) -> Result<Vec<Row>> {
    let Some(place) = Place::new()? else { return Ok(vec![missing("--help")]) };
    let starts = plan.tasks(1000);
    let ours = Contender::new("", starts, |n| (0..n).try_for_each(|_| ends_well(&mut place.taskloom(["--help"]))));
    let peer = Contender::new("true", starts, |n| (0..n).try_for_each(|_| ends_well(&mut Command::new("true"))));
    let peers = [peer.must(Bound::AtMost(5.0))];
    in_turn("P14", "taskloom --help, start to end", Unit::Time, plan.rounds(), ours, peers)
}

/// Instructions of a task of `run` with a journal and without: one by one, and in chunks.
pub(crate) fn journal(plan: &Plan) -> Result<Vec<Row>> {
    let Some(place) = Place::new()? else { return Ok(vec![missing("run, instructions")]) };
    let lines = plan.tasks(100_000);
    // Chunks of a size: counting makes tasks slow, and the size follows from that.
    let cases = [("inline", "1", "one by one"), ("threads", "1000", "in chunks of 1000")];
    let rows = cases.map(|(backend, chunk, how)| {
        let what = format!("taskloom run, {backend}, instructions of a task with a journal, {how}");
        let counted = Counter::new(backend).and_then(|counter| {
            let each = |record: &[&str]| -> Result<f64> {
                let count = |lines: usize| {
                    let mut command = place.taskloom(TASK);
                    counter.count_of(
                        command
                            .args(["-q", "-b", backend, "--chunk", chunk, "-i"])
                            .arg(place.lines("0\n", lines)?)
                            .args(record),
                    )
                };
                let few = lines / 10;
                Ok(count(lines)?.saturating_sub(count(few)?) as f64 / (lines - few) as f64)
            };
            Ok((each(&[])?, each(&["--record", "none"])?, counter.name()))
        });
        match counted {
            Ok((with, without, counter)) => Row {
                versus: "--record none".to_owned(),
                theirs: format!("{without:.0}"),
                figures: vec![with / without],
                ..Row::note(what, format!("{with:.0}"), counter)
            },
            Err(why) => Row::note(what, "", format!("not run: {why:#}")),
        }
    });
    Ok(rows.into())
}

fn missing(what: &str) -> Row {
    Row::note(
        format!("taskloom {what}"),
        "",
        "not run: no `taskloom` beside this program; `cargo xtask bench` builds it",
    )
}

/// A folder for inputs and records, and the program.
struct Place {
    folder: PathBuf,
    program: PathBuf,
}

impl Place {
    /// `None` without the program.
    fn new() -> Result<Option<Self>> {
        let program = env::current_exe()?.with_file_name("taskloom");
        if !program.is_file() {
            return Ok(None);
        }
        let folder = env::temp_dir().join(format!("taskloom-bench-cli-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Some(Self { folder, program }))
    }

    fn taskloom(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of the user's own.
        command.args(words).env("TASKLOOM_STATE", self.folder.join("state")).env("XDG_CONFIG_HOME", &self.folder);
        command
    }

    /// A file of so many equal lines.
    fn lines(&self, line: &str, count: usize) -> Result<PathBuf> {
        let file = self.folder.join(format!("{}{count}.jsonl", line.trim()));
        if !file.exists() {
            fs::write(&file, line.repeat(count))?;
        }
        Ok(file)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Of use to nobody, and no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn silent(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn ends_well(command: &mut Command) -> Result<()> {
    let status = silent(command).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// The most resident memory that a command was seen with; it is looked at until it ends.
fn peak_memory(command: &mut Command) -> Result<u64> {
    let mut child = silent(command).spawn()?;
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let mut most = 0;
    let ended = loop {
        // Nothing is left of that when it has ended.
        most = most.max(fs::read_to_string(&status).ok().and_then(|text| field(&text, "VmHWM:")).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        thread::sleep(Duration::from_millis(2));
    };
    ensure!(ended.success(), "{command:?} ended with {ended}");
    Ok(most)
}
