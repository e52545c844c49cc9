//! CPython's pools, where there is a `python3`: the same work in a process of its own, which tells its times.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::compare::Contender;

/// The other half.
const SCRIPT: &str = include_str!("python.py");

struct Python {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A contender of the script's; `number` is how many workers, or bytes, it is to have.
pub(crate) fn contender<'a>(kind: &'static str, number: usize, tasks: usize) -> Contender<'a> {
    // Where it is so, the measure's own name says it.
    let name = format!("CPython {}", kind.trim_end_matches(", one at a time"));
    match Python::start(kind, number) {
        Ok(mut python) => Contender::timed(name, tasks, move |tasks| python.run(tasks)),
        Err(why) => Contender::missing(name, format!("{why:#}")),
    }
}

impl Python {
    fn start(kind: &str, number: usize) -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT, kind, &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("no python3")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("it has an output")?);
        let mut python = Self { child, input, output };
        match &*python.line()? {
            "ready" => Ok(python),
            other => bail!("{}", other.strip_prefix("missing ").unwrap_or(other)),
        }
    }

    fn run(&mut self, tasks: usize) -> Result<f64> {
        writeln!(self.input.as_ref().context("it runs")?, "{tasks}")?;
        let said = self.line()?;
        said.parse().with_context(|| format!("python3 says `{said}`"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It ends with its input.
        self.input = None;
        let _ = self.child.wait();
    }
}
