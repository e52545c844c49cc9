//! `cargo xtask demo`: the shipped binary, built as it ships, showing itself.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    metadata::Metadata,
    workspace::{Workspace, become_command, exit_code, status},
};

/// Builds the release binary and becomes `taskloom demo ARGS`.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let built = status(&mut workspace.cargo(&["build", "--release", "-p", "taskloom-cli"]))?;
    if !built.success() {
        return Ok(ExitCode::from(exit_code(built)));
    }
    let binary = Metadata::load(workspace)?.target_directory.join("release/taskloom");
    Err(become_command(Command::new(binary).arg("demo").args(args)))
}
