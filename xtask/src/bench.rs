//! `cargo xtask bench`: the benchmark program, in a release build. What it measures and prints is its own affair.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    metadata::Metadata,
    workspace::{Workspace, become_command, exit_code, status},
};

/// Builds the benchmark program, and the `taskloom` program that it measures too, and becomes it; `--quick`, `--only NAME` and
/// whatever else it knows are passed on.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let packages = ["-p", "taskloom-bench", "-p", "taskloom-cli"];
    let built = status(workspace.cargo(&["build", "--release"]).args(packages))?;
    if !built.success() {
        return Ok(ExitCode::from(exit_code(built)));
    }
    let binary = Metadata::load(workspace)?.target_directory.join("release/taskloom-bench");
    Err(become_command(Command::new(binary).args(args)))
}
