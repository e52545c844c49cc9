//! Which package may know which.
//!
//! ```text
//! cli ──▶ taskloom ──▶ threads ──▶ core ──▶ macros
//!                  └──▶ procs ───▶ core
//!                         both ──▶ cpu
//! ```
//!
//! The facade, which re-exports, may name whatever is below it: its own form of `#[task]` stands in macros.
//!
//! Tests, examples and benchmarks are not published; they may use everything, and nothing published may use them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::Findings;
use crate::{
    metadata::{Dependency, Metadata},
    workspace::{Workspace, output},
};

/// The picture above, one published package a line, with what it may name in its manifest.
const ARROWS: &[(&str, &[&str])] = &[
    ("taskloom-macros", &[]),
    ("taskloom-core", &["taskloom-macros"]),
    ("taskloom-cpu", &[]),
    ("taskloom-threads", &["taskloom-core", "taskloom-cpu"]),
    ("taskloom-procs", &["taskloom-core", "taskloom-cpu"]),
    ("taskloom", &["taskloom-threads", "taskloom-procs", "taskloom-core", "taskloom-macros"]),
    ("taskloom-cli", &["taskloom"]),
];

/// Arrows for the tests inside a package alone. The macros' examples need something to expand to.
const TEST_ARROWS: &[(&str, &[&str])] = &[("taskloom-macros", &["taskloom-core"])];

/// Core's normal dependencies, direct and indirect. None of them starts a thread or a process.
const CORE_MAY_USE: &[(&str, &str)] = &[
    ("taskloom-macros", "`#[task]` itself"),
    ("inventory", "collects tasks at link time"),
    ("log", "records for the program's own logger"),
    ("postcard", "the bytes between processes"),
    ("cobs", "postcard"),
    ("thiserror", "cobs"),
    ("thiserror-impl", "thiserror"),
    ("serde", "arguments and results"),
    ("serde_core", "serde"),
    ("serde_derive", "serde"),
    ("serde_json", "arguments and results by name"),
    ("itoa", "serde_json"),
    ("memchr", "serde_json"),
    ("zmij", "serde_json"),
    ("proc-macro2", "procedural macros, at build time"),
    ("quote", "procedural macros, at build time"),
    ("syn", "procedural macros, at build time"),
    ("unicode-ident", "procedural macros, at build time"),
];

/// Compares the manifests with the picture.
pub(super) fn between_packages(workspace: &Workspace) -> Result<Findings> {
    let metadata = Metadata::load(workspace)?;
    let mut findings = Findings::new();
    for (name, package) in metadata.members.iter().filter(|(_, package)| package.published) {
        let Some(allowed) = arrows(ARROWS, name) else {
            findings.push(format!("{name} is published but not in ARROWS: say what it may depend on"));
            continue;
        };
        let ours = package.dependencies.iter().filter(|dependency| metadata.members.contains_key(&dependency.name));
        let wrong = ours.filter(|dependency| !may(name, allowed, dependency));
        findings.extend(wrong.map(|wrong| {
            let manifest = package.folder.join("Cargo.toml");
            let kind = if wrong.dev { " (for its tests)" } else { "" };
            format!("{}: {name} ──▶ {}{kind} is not an arrow of the picture", manifest.display(), wrong.name)
        }));
    }
    Ok(findings)
}

/// Looks for strangers below core.
///
/// The tree is asked for core alone, because in `cargo metadata` the features of the whole workspace are united, and
/// core would be blamed for what another package switches on.
pub(super) fn core_tree(workspace: &Workspace) -> Result<Findings> {
    let args = ["tree", "-p", "taskloom-core", "--all-features", "-e", "normal"];
    let mut cargo = workspace.cargo(&args);
    strangers(&output(cargo.args(["--prefix", "depth", "--no-dedupe", "--color", "never"]))?)
}

fn arrows<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

fn may(name: &str, allowed: &[&str], dependency: &Dependency) -> bool {
    let in_tests = || arrows(TEST_ARROWS, name).unwrap_or_default().contains(&dependency.name.as_str());
    allowed.contains(&dependency.name.as_str()) || (dependency.dev && in_tests())
}

/// Each package of the tree that is not on core's list, once, with the shortest way up to core. What a stranger brings
/// along goes when the stranger goes, and is not shown.
///
/// A line is the depth and, right behind it, the package: `2cobs v0.3.0`. The names of packages begin with letters.
fn strangers(tree: &str) -> Result<Findings> {
    let mut way: Vec<&str> = Vec::new();
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let package = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let depth: usize =
            line[..line.len() - package.len()].parse().with_context(|| format!("no depth in `{line}`"))?;
        ensure!(depth <= way.len(), "`{line}` skips a level of the tree");
        way.truncate(depth);
        way.push(package);
        let [_core, above @ .., package] = way.as_slice() else { continue };
        let shorter = found.get(package).is_none_or(|known| way.len() < known.len());
        if shorter && !on_the_list(package) && above.iter().all(|package| on_the_list(package)) {
            found.insert(package, way.clone());
        }
    }
    Ok(found.values().map(|way| inverse_tree(way)).collect())
}

fn on_the_list(package: &str) -> bool {
    let name = package.split(' ').next().unwrap_or(package);
    CORE_MAY_USE.iter().any(|(known, _)| *known == name)
}

/// The way up, drawn as `cargo tree -i` draws it.
fn inverse_tree(way: &[&str]) -> String {
    let lines = way.iter().rev().enumerate().map(|(depth, package)| match depth {
        0 => (*package).to_owned(),
        _ => format!("{}└── {package}", "    ".repeat(depth - 1)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, dev: bool) -> Dependency {
        Dependency { name: name.to_owned(), dev }
    }

    #[test]
    fn known_crates_are_no_strangers() {
        let tree = "0taskloom-core v0.1.0 (/x)\n1serde v1.0.0\n2serde_derive v1.0.0 (proc-macro)\n1log v0.4.0\n";
        assert!(strangers(tree).unwrap().is_empty());
    }

    #[test]
    fn a_stranger_is_shown_once_with_the_shortest_way_up() {
        let tree = "0taskloom-core v0.1.0\n1serde v1.0.0\n2log v0.4.0\n3rayon v1.1.0\n2rayon v1.1.0\n1log v0.4.0\n";
        let expected = "rayon v1.1.0\n└── serde v1.0.0\n    └── taskloom-core v0.1.0";
        assert_eq!(strangers(tree).unwrap(), [expected]);
    }

    #[test]
    fn what_a_stranger_brings_along_is_not_shown() {
        let tree = "0taskloom-core v0.1.0\n1rayon v1.1.0\n2crossbeam v1.0.0\n";
        assert_eq!(strangers(tree).unwrap(), ["rayon v1.1.0\n└── taskloom-core v0.1.0"]);
    }

    #[test]
    fn what_is_no_tree_is_an_error() {
        assert!(strangers("warning: x\n").is_err());
        assert!(strangers("0a v1\n2b v1\n").is_err());
    }

    #[test]
    fn backends_may_not_know_each_other() {
        let allowed = arrows(ARROWS, "taskloom-procs").unwrap();
        assert!(may("taskloom-procs", allowed, &dependency("taskloom-core", false)));
        assert!(!may("taskloom-procs", allowed, &dependency("taskloom-threads", false)));
        assert!(!may("taskloom-procs", allowed, &dependency("taskloom-threads", true)));
    }

    #[test]
    fn test_arrows_hold_for_tests_alone() {
        let allowed = arrows(ARROWS, "taskloom-macros").unwrap();
        assert!(may("taskloom-macros", allowed, &dependency("taskloom-core", true)));
        assert!(!may("taskloom-macros", allowed, &dependency("taskloom-core", false)));
    }
}
