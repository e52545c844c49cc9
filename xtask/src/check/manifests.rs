//! What every manifest has to say.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Findings;
use crate::{metadata::Metadata, workspace::Workspace};

/// Rust version and lints of every member.
pub(super) fn check(workspace: &Workspace) -> Result<Findings> {
    let metadata = Metadata::load(workspace)?;
    let mut findings = Findings::new();
    for (name, package) in &metadata.members {
        let manifest = package.folder.join("Cargo.toml");
        if package.rust_version.is_none() {
            findings.push(format!("{}: {name} states no rust-version", manifest.display()));
        }
        if !workspace.text(&manifest)?.is_some_and(|text| takes_lints(&text)) {
            findings.push(format!("{}: {name} does not take the workspace's lints", manifest.display()));
        }
    }
    let versions: BTreeSet<_> =
        metadata.members.values().filter_map(|package| package.rust_version.as_deref()).collect();
    if versions.len() > 1 {
        findings.push(format!("packages state different Rust versions: {}", Vec::from_iter(versions).join(", ")));
    }
    Ok(findings)
}

/// `cargo metadata` does not tell lints, so the manifest is read, in either of the two usual spellings.
fn takes_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(|line| line.replace(' ', ""));
    let mut section = String::new();
    lines.any(|line| {
        if line.starts_with('[') {
            section = line;
            return false;
        }
        (section == "[lints]" && line == "workspace=true") || line == "lints.workspace=true"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        assert!(takes_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(takes_lints("lints.workspace = true\n[package]\n"));
    }

    #[test]
    fn other_sections_do_not_count() {
        assert!(!takes_lints("[lints]\n[package]\nworkspace = true\n"));
        assert!(!takes_lints("[lints.rust]\nunsafe_code = \"forbid\"\n"));
    }
}
