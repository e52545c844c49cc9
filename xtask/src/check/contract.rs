//! The contract and its tests, compared in both directions.
//!
//! ```text
//! crates/core/src/contract.md          tests/src/**.rs                     tests/src/suite.rs
//! ## outcome: …
//! - `outcome.once` Every task …   ◀──▶ pub fn outcome_once<H: Harness>(…)  ◀── named there, for every backend
//! - `limits.kill` (planned) An …       none yet; the mark goes when the test comes
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::Findings;
use crate::{
    source::{code, has_word, in_word},
    workspace::Workspace,
};

const CONTRACT: &str = "crates/core/src/contract.md";
const TESTS: &str = "tests/src";
const SUITE: &str = "tests/src/suite.rs";

/// Reads all three places and compares them.
pub(super) fn check(workspace: &Workspace) -> Result<Findings> {
    let contract = workspace.text(Path::new(CONTRACT))?.with_context(|| format!("{CONTRACT} is not text"))?;
    let contract = Contract::parse(&contract).context(CONTRACT)?;
    let mut tests = BTreeMap::new();
    for file in workspace.rust_files(TESTS)? {
        for name in public_generic_functions(&code(&workspace.text(&file)?.unwrap_or_default())) {
            tests.insert(name, file.display().to_string());
        }
    }
    let suite = match workspace.root().join(SUITE).exists() {
        true => code(&workspace.text(Path::new(SUITE))?.unwrap_or_default()),
        false => String::new(),
    };
    Ok(compare(&contract, &tests, &suite))
}

/// The clauses, in the order of the file.
struct Contract {
    clauses: Vec<Clause>,
}

/// One promise.
struct Clause {
    section: String,
    id: String,
    /// Promised for later: there is no test yet.
    planned: bool,
}

impl Clause {
    fn name(&self) -> String {
        format!("{}.{}", self.section, self.id)
    }

    /// What its test is called.
    fn test(&self) -> String {
        format!("{}_{}", self.section, self.id)
    }
}

impl Contract {
    /// The format is strict, because a clause that is not recognised is one that nobody tests: a section is
    /// `## name: title`; inside one each bullet is a clause, `` - `name.id` text `` or `` - `name.id` (planned) text ``,
    /// and may go on in indented lines.
    fn parse(text: &str) -> Result<Self> {
        let mut section: Option<&str> = None;
        let mut clauses: Vec<Clause> = Vec::new();
        for (line, at) in text.lines().zip(1..) {
            if let Some(heading) = line.strip_prefix("## ") {
                let name = heading.split_once(": ").map(|(name, _)| name).filter(|name| is_section(name));
                let name = name.with_context(|| format!("line {at}: a section is `## name: title`"))?;
                ensure!(clauses.iter().all(|clause| clause.section != name), "line {at}: `{name}` is there twice");
                section = Some(name);
            } else if let (Some(section), Some(bullet)) = (section, line.strip_prefix("- ")) {
                let clause = clause(section, bullet).with_context(|| {
                    format!("line {at}: a clause is ``- `{section}.id` text`` or ``- `{section}.id` (planned) text``")
                })?;
                ensure!(
                    clauses.iter().all(|known| known.name() != clause.name()),
                    "line {at}: `{}` is there twice",
                    clause.name()
                );
                clauses.push(clause);
            }
        }
        ensure!(!clauses.is_empty(), "there is no clause in it");
        Ok(Self { clauses })
    }

    fn sections(&self) -> BTreeSet<&str> {
        self.clauses.iter().map(|clause| clause.section.as_str()).collect()
    }
}

/// Reads what stands behind the dash.
fn clause(section: &str, bullet: &str) -> Option<Clause> {
    let (id, text) = bullet.strip_prefix('`')?.strip_prefix(section)?.strip_prefix('.')?.split_once("` ")?;
    let (planned, text) = match text.strip_prefix("(planned) ") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let valid = is_name(id) && !text.trim().is_empty();
    valid.then(|| Clause { section: section.to_owned(), id: id.to_owned(), planned })
}

/// A section has no underscore, so that the name of a test says where its section ends.
fn is_section(name: &str) -> bool {
    is_name(name) && !name.contains('_')
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && name.chars().all(plain)
}

/// The names of `pub fn name<…>(…)`, however far they are visible. What is private or not generic is not called for a
/// backend: a helper, or a task that the tests run.
fn public_generic_functions(code: &str) -> Vec<String> {
    let public = code.lines().map(str::trim_start).filter(|line| line.starts_with("pub ") || line.starts_with("pub("));
    public
        .filter_map(|line| {
            let (_, from_name) = line.split_once(" fn ")?;
            let name = from_name.split(|c| !in_word(c)).next()?;
            from_name[name.len()..].starts_with('<').then(|| name.to_owned())
        })
        .collect()
}

fn compare(contract: &Contract, tests: &BTreeMap<String, String>, suite: &str) -> Findings {
    let mut findings = Findings::new();
    for clause in &contract.clauses {
        let (name, test) = (clause.name(), clause.test());
        match tests.get(&test) {
            None if clause.planned => {}
            None => findings.push(format!("`{name}` has no test: {TESTS} has no `pub fn {test}<H: Harness>(…)`")),
            Some(file) if clause.planned => {
                findings.push(format!("`{name}` is marked (planned) but has its test in {file}: take the mark away"));
            }
            Some(file) if !has_word(suite, &test) => {
                findings.push(format!("`{test}` in {file} is not named in {SUITE}: no backend runs it"));
            }
            Some(_) => {}
        }
    }
    let sections = contract.sections();
    let clauses: BTreeSet<_> = contract.clauses.iter().map(Clause::test).collect();
    for (test, file) in tests.iter().filter(|(test, _)| !clauses.contains(*test)) {
        if let Some((section, id)) = test.split_once('_').filter(|(section, _)| sections.contains(section)) {
            findings.push(format!("{file}: `{test}` tests no clause: the contract has no `{section}.{id}`"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "\
# Title

- `not.this` A bullet before the first section is prose.

## outcome: one task, one outcome

Prose.

- `outcome.once` Exactly one,
  - `kept` on a line of its own.
- `outcome.decode_arg` (planned) Later.

## map: many
- `map.once` The same id in another section.
";

    fn parse(text: &str) -> Result<Vec<String>> {
        let contract = Contract::parse(text)?;
        let show = |clause: &Clause| format!("{}{}", clause.name(), if clause.planned { "?" } else { "" });
        Ok(contract.clauses.iter().map(show).collect())
    }

    fn tests(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|&name| (name.to_owned(), "tests/src/a.rs".to_owned())).collect()
    }

    #[test]
    fn clauses_are_read_in_order() {
        assert_eq!(parse(SMALL).unwrap(), ["outcome.once", "outcome.decode_arg?", "map.once"]);
    }

    #[test]
    fn bullets_that_are_no_clauses_are_refused() {
        for bullet in [
            "Just text.",
            "`once` No section.",
            "`map.once` Wrong section.",
            "`outcome.Once` Capitals.",
            "`outcome.` No id.",
            "`outcome.once`No space.",
            "`outcome.once` (planned) ",
            "`outcome.once`, `outcome.twice` Two at once.",
        ] {
            let text = format!("## outcome: title\n- {bullet}\n");
            let error = parse(&text).expect_err(bullet);
            assert!(error.to_string().starts_with("line 2: "), "{bullet}: {error}");
        }
    }

    #[test]
    fn headings_are_strict() {
        for heading in ["## outcome", "## two words: title", "## Outcome: title", "## out_come: title"] {
            assert!(parse(heading).expect_err(heading).to_string().starts_with("line 1: "));
        }
    }

    #[test]
    fn nothing_is_there_twice() {
        let clause = "- `a.b` Text.\n";
        assert!(parse(&format!("## a: t\n{clause}{clause}")).unwrap_err().to_string().starts_with("line 3: "));
        assert!(parse(&format!("## a: t\n{clause}## a: t\n")).unwrap_err().to_string().starts_with("line 3: "));
        let planned = "- `a.b` (planned) Text.\n";
        assert!(parse(&format!("## a: t\n{clause}{planned}")).unwrap_err().to_string().starts_with("line 3: "));
    }

    #[test]
    fn a_file_without_clauses_is_no_contract() {
        assert!(parse("# Title\n").is_err());
    }

    #[test]
    fn conformance_functions_are_public_and_generic() {
        let code = "pub fn outcome_once<H: Harness>(h: &H) {}\n    pub(crate) fn map_order<H>() {}\n\
                    fn map_helper<H>() {}\npub fn crash_segv() {}\npub struct Harness<T>(T);\n";
        assert_eq!(public_generic_functions(code), ["outcome_once", "map_order"]);
    }

    #[test]
    fn a_contract_with_all_its_tests_passes() {
        let contract = Contract::parse(SMALL).unwrap();
        let tests = tests(&["outcome_once", "map_once", "with_pool"]);
        assert!(compare(&contract, &tests, "suite! { outcome_once, map_once }").is_empty());
    }

    #[test]
    fn each_difference_is_found() {
        let contract = Contract::parse(SMALL).unwrap();
        let findings = compare(&contract, &tests(&["outcome_decode_arg", "map_once", "map_twice"]), "");
        let expected = [
            "`outcome.once` has no test",
            "`outcome.decode_arg` is marked (planned)",
            "`map_once` in tests/src/a.rs is not named",
            "tests/src/a.rs: `map_twice` tests no clause",
        ];
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, start) in findings.iter().zip(expected) {
            assert!(finding.starts_with(start), "{finding}");
        }
    }
}
