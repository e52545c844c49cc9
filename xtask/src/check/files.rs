//! What no file of the repository may be or contain.

use std::fs;

use anyhow::{Context, Result};

use super::Findings;
use crate::{source::has_word, workspace::Workspace};

/// In bytes. What is larger was most likely generated, and stays in the history of the repository for ever.
const LARGEST: u64 = 1 << 20;

/// Notes to self. Written in two halves, so that this file passes its own check.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Where home and work folders begin, absolute, on the machines that people use.
const MACHINES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/work", "space/"),
];

/// Is a file larger than that?
pub(super) fn sizes(workspace: &Workspace) -> Result<Findings> {
    let mut findings = Findings::new();
    for file in workspace.files()? {
        let size =
            fs::metadata(workspace.root().join(&file)).with_context(|| format!("reading {}", file.display()))?.len();
        if size > LARGEST {
            findings.push(format!("{} has {size} bytes", file.display()));
        }
    }
    Ok(findings)
}

/// Does a line of text contain what does not belong?
pub(super) fn words(workspace: &Workspace) -> Result<Findings> {
    let root = workspace.root().to_string_lossy();
    let mut findings = Findings::new();
    for file in workspace.files()? {
        let Some(text) = workspace.text(&file)? else { continue };
        for (line, at) in text.lines().zip(1..) {
            let found = unwanted(line).or_else(|| line.contains(&*root).then_some("the path of this very checkout"));
            findings.extend(found.map(|word| format!("{}:{at}: {word}", file.display())));
        }
    }
    Ok(findings)
}

/// The first word of the line that does not belong.
fn unwanted(line: &str) -> Option<&'static str> {
    let note = NOTES.iter().find(|note| has_word(line, note));
    note.or_else(|| MACHINES.iter().find(|folder| has_absolute(line, folder))).copied()
}

/// Does the folder stand at the beginning of a path? In `https://host/path/` and `src/path/` it does not.
fn has_absolute(line: &str, folder: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "_-.~}*/".contains(c);
    line.match_indices(folder).any(|(at, _)| !line[..at].chars().next_back().is_some_and(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_to_self_are_found_as_whole_words() {
        let note = NOTES[0];
        assert_eq!(unwanted(&format!("// {note}: later")), Some(note));
        assert_eq!(unwanted(&format!("{note}S and {}", note.to_lowercase())), None);
    }

    #[test]
    fn only_absolute_paths_are_found() {
        for folder in MACHINES {
            assert_eq!(unwanted(&format!("see \"{folder}somebody\"")), Some(*folder));
            assert_eq!(unwanted(&format!("https://example.org{folder}x, src{folder}y, ~{folder}z")), None);
        }
    }
}
