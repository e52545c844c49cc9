//! What cargo and its companions find: format, lints, features, documentation.

use std::{io::IsTerminal, process::Command};

use anyhow::Result;

use super::Findings;
use crate::workspace::{Workspace, show, status};

/// Every way of building a package that a user may choose in a manifest.
///
/// Each is built by itself, because in the workspace's own build the features of all members are united and a missing
/// one is never noticed.
const COMBINATIONS: &[(&str, &[&str])] = &[
    ("taskloom-core", &[""]),
    ("taskloom-threads", &[""]),
    ("taskloom-procs", &["", "chaos"]),
    ("taskloom", &["", "threads", "procs", "threads,procs"]),
    ("taskloom-cli", &["", "threads", "procs"]),
];

/// Is everything formatted by rustfmt?
pub(super) fn format(workspace: &Workspace) -> Result<Findings> {
    let mut cargo = workspace.cargo(&["fmt", "--all", "--check"]);
    // Left to itself, rustfmt colours its differences in a pipe and in a log too.
    if !std::io::stdout().is_terminal() {
        cargo.args(["--", "--color", "never"]);
    }
    finding(&mut cargo)
}

/// Lints, on libraries, programs, tests, examples and benchmarks.
pub(super) fn clippy(workspace: &Workspace) -> Result<Findings> {
    finding(&mut workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Does each of the combinations above build, without warnings?
///
/// Clippy rather than `cargo check`: it checks the same and turns warnings into errors without rebuilding every
/// dependency with other flags. Code that only one combination leaves unused is what goes wrong here most.
pub(super) fn features(workspace: &Workspace) -> Result<Findings> {
    let mut findings = Findings::new();
    for (package, combinations) in COMBINATIONS {
        for features in *combinations {
            let which = ["clippy", "-p", package, "--no-default-features", "--features", features];
            findings.extend(finding(workspace.cargo(&which).args(["--", "-D", "warnings"]))?);
        }
    }
    Ok(findings)
}

/// The test that compares the README's table of backends with what they declare.
const TABLE: &[&str] = &["test", "--quiet", "-p", "taskloom-tests", "--test", "table"];

/// Does the README say what the backends declare?
pub(super) fn table(workspace: &Workspace) -> Result<Findings> {
    finding(&mut workspace.cargo(TABLE))
}

/// Writes the README's table of backends anew.
pub(super) fn write_table(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo(TABLE);
    cargo.env("TASKLOOM_WRITE_TABLE", "1");
    cargo
}

/// Does the public documentation build without warnings?
///
/// Libraries only: the program of the command line has the name of the facade, and their pages would overwrite each
/// other.
pub(super) fn docs(workspace: &Workspace) -> Result<Findings> {
    let mut cargo = workspace.cargo(&["doc", "--workspace", "--no-deps", "--lib"]);
    finding(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// What the command itself prints says more than we could.
fn finding(command: &mut Command) -> Result<Findings> {
    let passed = status(command)?.success();
    Ok(if passed { Findings::new() } else { vec![format!("{} failed", show(command))] })
}
