//! `cargo xtask bench`: the benchmark program, in a release build. What it measures and prints is its own affair.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{Workspace, become_command};

/// Becomes the benchmark program; `--quick`, `--only NAME` and whatever else it knows are passed on.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let mut cargo = workspace.cargo(&["run", "--release", "-p", "taskloom-bench", "--"]);
    Err(become_command(cargo.args(args)))
}
