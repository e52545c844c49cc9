//! `cargo xtask tsan`: the tests of core and threads under ThreadSanitizer. Why it is called this way stands in
//! `docs/thread-sanitizer.md`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::{Workspace, become_command, output};

/// Builds the standard library along, and runs the tests; says so if its sources are not there.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let rustc = || std::process::Command::new("rustc");
    let sysroot = output(rustc().args(["--print", "sysroot"]))?;
    let sources = std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    if !sources.is_dir() {
        eprintln!(
            "not run: the standard library has to be compiled along, and its sources are not there; get them with\n  \
             rustup component add rust-src"
        );
        return Ok(ExitCode::FAILURE);
    }
    let about = output(rustc().arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
    let mut cargo = workspace.cargo(&["test", "-Zbuild-std", "--target", host, "--target-dir", "target/tsan"]);
    cargo.args(["-p", "taskloom-core", "-p", "taskloom-threads", "--lib", "--tests"]).args(args);
    // The sanitizer and `build-std` are not stable; the compiler takes them all the same when it is told to.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
    Err(become_command(&mut cargo))
}
