//! `cargo xtask chaos`: strikes worker processes at places in the protocol, in a release build, and checks what came of it.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{Workspace, become_command};

/// Becomes the program that does it; `--minutes N`, `--seed S` and whatever else it knows are passed on.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let mut cargo = workspace.cargo(&["run", "--release", "--quiet", "-p", "taskloom-chaos", "--"]);
    Err(become_command(cargo.args(args)))
}
