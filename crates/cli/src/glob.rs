//! Paths that fit a pattern: `*`, `?`, `[a-z]`, `[!a-z]` inside one name, `**` for any depth of folders.
//!
//! Names that begin with a dot are found only if the pattern's part does too, and `**` does not follow links, as in
//! a shell. Results are sorted, so that runs repeat.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// A folder that cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) folder: PathBuf,
    pub(crate) error: io::Error,
}

/// The files (not folders) that fit, in order of their names.
pub(crate) fn files(pattern: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let parts: Vec<&OsStr> = pattern.components().map(Component::as_os_str).collect();
    let mut found = Vec::new();
    walk(PathBuf::new(), &parts, &mut found)?;
    found.retain(|path| path.is_file());
    found.sort();
    // `**/**` leads to one file in several ways.
    found.dedup();
    Ok(found)
}

fn walk(base: PathBuf, parts: &[&OsStr], found: &mut Vec<PathBuf>) -> Result<(), Unreadable> {
    let Some((&part, rest)) = parts.split_first() else {
        found.push(base);
        return Ok(());
    };
    if part == "**" {
        // No folder at all, or one more and then any number of them.
        let here = if rest.is_empty() { &[OsStr::new("*")] } else { rest };
        walk(base.clone(), here, found)?;
        for name in names(&base)? {
            let below = base.join(&name);
            let folder = fs::symlink_metadata(&below).is_ok_and(|about| about.is_dir());
            if folder && !is_hidden(&name) {
                walk(below, parts, found)?;
            }
        }
    } else if is_literal(part) {
        let next = base.join(part);
        if rest.is_empty() && !next.exists() {
            return Ok(());
        }
        walk(next, rest, found)?;
    } else {
        for name in names(&base)? {
            let seen = !is_hidden(&name) || part.as_bytes().starts_with(b".");
            if seen && fits(part.as_bytes(), name.as_bytes()) {
                let next = base.join(&name);
                if rest.is_empty() || next.is_dir() {
                    walk(next, rest, found)?;
                }
            }
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<OsString>, Unreadable> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = || -> io::Result<Vec<_>> { fs::read_dir(here)?.map(|entry| Ok(entry?.file_name())).collect() };
    names().map_err(|error| Unreadable { folder: here.to_owned(), error })
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn is_literal(part: &OsStr) -> bool {
    !part.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// Whether a name fits a pattern. A `*` that went too far is taken back one byte at a time: linear in both for one star,
/// and never exponential (Kirk Krauss, "Matching Wildcards", 2008).
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => {
                // One character, not one byte.
                n += character(&name[n..]);
                p += 1;
                continue;
            }
            Some(b'[') => {
                if let Some((true, length)) = class(&pattern[p..], name[n]) {
                    p += length;
                    n += 1;
                    continue;
                }
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, from)) = star else { return false };
        star = Some((at, from + 1));
        (p, n) = (at + 1, from + 1);
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Length of the first character; 1 where the bytes are no UTF-8.
fn character(name: &[u8]) -> usize {
    (1..=4.min(name.len())).find(|&length| std::str::from_utf8(&name[..length]).is_ok()).unwrap_or(1)
}

/// Whether `byte` is in the class `[…]` that `pattern` begins with, and how long the class is. A `[` that is never
/// closed is no class and fits nothing.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // A `]` right at the start stands for itself.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    let set = &pattern[start..end];
    let mut inside = false;
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == b'-' {
            inside |= (set[at]..=set[at + 2]).contains(&byte);
            at += 3;
        } else {
            inside |= set[at] == byte;
            at += 1;
        }
    }
    Some((inside != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        let cases = [
            ("*.log", "a.log", true),
            ("*.log", "a.log.gz", false),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxx", false),
            ("?.rs", "\u{e4}.rs", true),
            ("??.rs", "\u{e4}.rs", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("a[", "a[", false),
            ("*", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!fits(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
    }

    #[test]
    fn depth_hidden_names_and_folders() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = files(&sources.join("**/glob.rs")).unwrap();
        assert_eq!(here, [sources.join("src/glob.rs")]);
        assert_eq!(files(&sources.join("src/glob.rs")).unwrap(), here);
        assert!(files(&sources.join("sr*")).unwrap().is_empty(), "a folder is no file");
        assert_eq!(files(&sources.join("nowhere/*")).unwrap_err().error.kind(), io::ErrorKind::NotFound);
    }
}
