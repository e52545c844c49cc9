//! `cargo xtask check`: what has to hold besides the tests, one line each, and what to type next where it does not.

mod arrows;
mod compile;
mod contract;
mod files;
mod manifests;
mod safety;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::{Workspace, show, status};

/// What is wrong, one finding each; empty if all is well.
type Findings = Vec<String>;

/// One thing that has to hold.
struct Check {
    /// The word to run it alone.
    name: &'static str,
    /// What holds when it passes.
    what: &'static str,
    /// What to type, or to do, when it fails.
    next: &'static str,
    /// Looks.
    run: fn(&Workspace) -> Result<Findings>,
}

/// All checks, quick ones about the text first, except that formatting comes before everything: it is the most common
/// to fail and the quickest to mend.
const CHECKS: &[Check] = &[
    Check {
        name: "format",
        what: "every file is formatted",
        next: "cargo xtask check --fix (if rustfmt is missing: rustup component add rustfmt)",
        run: compile::format,
    },
    Check {
        name: "clippy",
        what: "clippy has no complaint about any target",
        next: "cargo xtask check --fix, then mend the rest (if clippy is missing: rustup component add clippy)",
        run: compile::clippy,
    },
    Check {
        name: "features",
        what: "each combination of features builds without warnings",
        next: "run the cargo command shown above until it is silent",
        run: compile::features,
    },
    Check {
        name: "docs",
        what: "the documentation builds without warnings",
        next: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --lib",
        run: compile::docs,
    },
    Check {
        name: "table",
        what: "the README's table of backends says what they declare",
        next: "cargo xtask check --fix table; new words for a capability go into tests/tests/table.rs",
        run: compile::table,
    },
    Check {
        name: "arrows",
        what: "dependencies between our packages point one way",
        next: "take the dependency out, or move the code to where the arrow may point",
        run: arrows::between_packages,
    },
    Check {
        name: "core-tree",
        what: "core depends on nothing outside its list",
        next: "cargo tree -e normal -p taskloom-core; then drop the dependency, or add it to CORE_MAY_USE in \
               xtask/src/check/arrows.rs with a reason that a reviewer accepts",
        run: arrows::core_tree,
    },
    Check {
        name: "forbid",
        what: "crates that need no unsafe code forbid it",
        next: "write `#![forbid(unsafe_code)]` below the opening docs of the files named",
        run: safety::forbidden,
    },
    Check {
        name: "unsafe",
        what: "unsafe code stands in the listed files only",
        next: "move it behind the safe types of a listed file, or list the file in xtask/src/check/safety.rs with the \
               reason",
        run: safety::confined,
    },
    Check {
        name: "contract",
        what: "each clause of the contract has its test, and each test its clause",
        next: "write the test in tests/src and name it in tests/src/suite.rs, or correct crates/core/src/contract.md",
        run: contract::check,
    },
    Check {
        name: "manifests",
        what: "every manifest states the Rust version and takes the workspace's lints",
        next: "add `rust-version.workspace = true` to [package], or `[lints]` with `workspace = true`",
        run: manifests::check,
    },
    Check {
        name: "sizes",
        what: "no file is larger than 1 MiB",
        next: "make the file smaller, generate it, or keep it out of git",
        run: files::sizes,
    },
    Check {
        name: "words",
        what: "no note to self and no path of somebody's machine is left",
        next: "do it, say it in a plain sentence, or write the path relative to something",
        run: files::words,
    },
];

/// Runs the checks named, or all; all of them run, whatever fails, so that one look shows everything.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--list") {
        CHECKS.iter().for_each(|check| println!("{:10} {}", check.name, check.what));
        return Ok(ExitCode::SUCCESS);
    }
    let (fix, checks) = chosen(args)?;
    if fix {
        repair(workspace)?;
    }
    let mut failed = Vec::new();
    for (number, check) in (1..).zip(&checks) {
        println!("[{number:2}/{}] {}: {}", checks.len(), check.name, check.what);
        let findings = (check.run)(workspace).unwrap_or_else(|error| vec![format!("{error:#}")]);
        if !findings.is_empty() {
            findings.iter().for_each(|finding| println!("        {}", finding.replace('\n', "\n        ")));
            println!("        next: {}", check.next);
            failed.push(check.name);
        }
    }
    if failed.is_empty() {
        println!("all passed; checks: {}", checks.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} of {} checks failed; next: cargo xtask check {}", failed.len(), checks.len(), failed.join(" "));
    Ok(ExitCode::FAILURE)
}

/// `--fix` or not, and the checks whose names were given.
fn chosen(args: &[String]) -> Result<(bool, Vec<&'static Check>)> {
    let (flags, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with('-'));
    if let Some(unknown) = flags.iter().find(|flag| **flag != "--fix") {
        bail!("`check` knows --fix and --list, not {unknown}; next: cargo xtask help");
    }
    let known = |name: &&&String| CHECKS.iter().any(|check| check.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        bail!("there is no check `{unknown}`; next: cargo xtask check --list");
    }
    let wanted = |check: &&Check| names.is_empty() || names.iter().any(|name| *name == check.name);
    Ok((!flags.is_empty(), CHECKS.iter().filter(wanted).collect()))
}

/// Lets the tools mend what they can. Uncommitted work is no hindrance: it is what one wants mended.
fn repair(workspace: &Workspace) -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    for mut command in [workspace.cargo(&clippy), workspace.cargo(&["fmt", "--all"]), compile::write_table(workspace)] {
        println!("fix: {}", show(&command));
        if !status(&mut command)?.success() {
            bail!("{} failed; next: mend what it reports", show(&command));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(args: &[&str]) -> Result<(bool, Vec<&'static str>)> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        chosen(&args).map(|(fix, checks)| (fix, checks.iter().map(|check| check.name).collect()))
    }

    #[test]
    fn all_checks_run_unless_some_are_named() {
        assert_eq!(names(&[]).unwrap().1.len(), CHECKS.len());
        assert_eq!(names(&["words", "--fix", "format"]).unwrap(), (true, vec!["format", "words"]));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert!(names(&["wurds"]).unwrap_err().to_string().contains("no check `wurds`"));
        assert!(names(&["--fxi"]).unwrap_err().to_string().contains("not --fxi"));
    }

    #[test]
    fn names_are_unique() {
        assert_eq!(CHECKS.iter().map(|check| check.name).collect::<BTreeSet<_>>().len(), CHECKS.len());
    }
}
