//! Where unsafe code may stand.

use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::{
    metadata::Metadata,
    source::{code, lines_with_word},
    workspace::Workspace,
};

/// Packages in which no unsafe code can be compiled at all.
const FORBID: &[&str] = &["taskloom-core", "taskloom-macros", "taskloom", "taskloom-cli", "xtask"];

/// Roots of those packages that only deny it, because they have a module in [`ALLOWED`], and why.
const DENY: &[(&str, &str)] =
    &[("crates/cli/src/main.rs", "the demo's task that dereferences null is this program's own")];

/// Files, or folders with a `/` at the end, in which unsafe code may stand, and why it has to.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/bench/src/heap.rs", "tells the C library's allocator to keep what is freed"),
    ("crates/bench/src/limits.rs", "shares memory with another process, which is what others are measured by"),
    ("crates/cli/src/crash.rs", "crashes on purpose, which safe code cannot"),
    ("crates/cpu/src/lib.rs", "asks the kernel on which processor a thread runs and how long, and moves it"),
    ("crates/procs/src/os/", "system calls about processes, signals and descriptors that std does not wrap"),
    ("crates/procs/tests/", "dies in the ways that workers die, and stops and kills what it started"),
    ("tests/compile-fail/", "what the macros refuse, unsafe functions among it; never run"),
    ("tests/src/misdeeds.rs", "does to a worker what tasks must not do, and asks the kernel what tests must know"),
];

/// Does each crate root that should forbid unsafe code do so?
pub(super) fn forbidden(workspace: &Workspace) -> Result<Findings> {
    let metadata = Metadata::load(workspace)?;
    let mut findings = Findings::new();
    for name in FORBID {
        let package = metadata.members.get(*name).with_context(|| format!("there is no package {name}"))?;
        for root in &package.roots {
            let (says, word) = if only_denies(root) { (DENIES, "deny") } else { (FORBIDS, "forbid") };
            if !workspace.text(root)?.is_some_and(|text| has_line(&text, says)) {
                findings.push(format!("{} does not {word} unsafe code", root.display()));
            }
        }
    }
    Ok(findings)
}

/// Is each `unsafe` in a listed file?
pub(super) fn confined(workspace: &Workspace) -> Result<Findings> {
    let mut findings = Findings::new();
    for file in workspace.rust_files("")?.iter().filter(|file| !allowed(file)) {
        let text = workspace.text(file)?.unwrap_or_default();
        let lines = lines_with_word(&code(&text), "unsafe");
        findings.extend(lines.iter().map(|line| format!("{}:{line}: unsafe", file.display())));
    }
    Ok(findings)
}

const FORBIDS: &str = "#![forbid(unsafe_code)]";
const DENIES: &str = "#![deny(unsafe_code)]";

fn has_line(text: &str, wanted: &str) -> bool {
    code(text).lines().any(|line| line.trim() == wanted)
}

fn only_denies(root: &Path) -> bool {
    DENY.iter().any(|(denying, _)| root == Path::new(denying))
}

fn allowed(file: &Path) -> bool {
    ALLOWED
        .iter()
        .any(|(place, _)| if place.ends_with('/') { file.starts_with(place) } else { file == Path::new(place) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_counts_only_as_code() {
        assert!(has_line("//! Docs.\n\n#![forbid(unsafe_code)]\n", FORBIDS));
        assert!(!has_line("//! #![forbid(unsafe_code)]\n", FORBIDS));
        assert!(!has_line("#![deny(unsafe_code)]\n", FORBIDS));
    }

    #[test]
    fn one_root_only_denies() {
        assert!(only_denies(Path::new("crates/cli/src/main.rs")));
        assert!(!only_denies(Path::new("crates/cli/src/lib.rs")));
    }

    #[test]
    fn folders_and_files_are_allowed_as_listed() {
        assert!(allowed(Path::new("crates/cpu/src/lib.rs")));
        assert!(allowed(Path::new("crates/procs/src/os/group.rs")));
        assert!(!allowed(Path::new("crates/procs/src/os.rs")));
        assert!(!allowed(Path::new("crates/threads/src/pool.rs")));
    }
}
