//! Where the repository is, which files belong to it, and how cargo is called in it.

use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail};

/// The repository that this xtask was built in.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The folder above `xtask/`, wherever the task was started from.
    pub(crate) fn here() -> Self {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: xtask.parent().unwrap_or(xtask).to_owned() }
    }

    /// The folder of the workspace's manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command at the root, with the very cargo that started this task.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(args).current_dir(&self.root);
        // Cargo and what it starts follow its own setting; libtest and rustfmt follow neither that nor NO_COLOR, but do
        // believe a terminal that says it has no colours.
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            command.envs([("CARGO_TERM_COLOR", "never"), ("TERM", "dumb")]);
        }
        command
    }

    /// The text of a file named relative to the root; `None` if it is not text.
    pub(crate) fn text(&self, file: &Path) -> Result<Option<String>> {
        let bytes = fs::read(self.root.join(file)).with_context(|| format!("reading {}", file.display()))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Every file that is in git or about to be, relative to the root, sorted.
    ///
    /// Files not added yet count: a check that passes only until `git add` would be of no use. Without git, as in an
    /// unpacked archive, everything outside build folders counts.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let safe = format!("safe.directory={}", self.root.display());
        let listing = Command::new("git")
            .args(["-c", &safe, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output();
        let mut files = match listing {
            Ok(output) if output.status.success() => split_nul(&output.stdout),
            _ => walk(&self.root, Path::new(""))?,
        };
        // A file deleted but not yet committed is still listed.
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The same, narrowed to Rust sources below `folder`.
    pub(crate) fn rust_files(&self, folder: &str) -> Result<Vec<PathBuf>> {
        let mut files = self.files()?;
        files.retain(|file| file.starts_with(folder) && file.extension().is_some_and(|end| end == "rs"));
        Ok(files)
    }
}

/// Runs a command with our own streams; how it ended is the caller's to judge.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("starting {}", show(command)))
}

/// Becomes the command, so that its exit code, signals and terminal are its own. Returns only if that failed.
pub(crate) fn become_command(command: &mut Command) -> anyhow::Error {
    let error = command.exec();
    anyhow::Error::new(error).context(format!("starting {}", show(command)))
}

/// The exit code a shell would show for this end.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

/// Runs a command for its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", show(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", show(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed what is not UTF-8", show(command)))
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}

fn split_nul(listing: &[u8]) -> Vec<PathBuf> {
    let names = listing.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned())).collect()
}

/// Every file below `folder`, without `.git` and without what cargo marked as a cache.
fn walk(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if root.join(folder).join("CACHEDIR.TAG").exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != ".git" {
                files.extend(walk(root, &path)?);
            }
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_split_at_nul_bytes() {
        assert_eq!(split_nul(b"a b\0c/d.rs\0"), [PathBuf::from("a b"), PathBuf::from("c/d.rs")]);
        assert!(split_nul(b"").is_empty());
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(show(&command), "`cargo fmt --all`");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(101 << 8)), 101);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn the_walk_skips_git_and_build_folders() {
        let root = std::env::temp_dir().join(format!("xtask-walk-{}", std::process::id()));
        for folder in ["src", ".git", "target/debug"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["Cargo.toml", "src/lib.rs", ".git/config", "target/CACHEDIR.TAG", "target/debug/x"] {
            fs::write(root.join(file), "").unwrap();
        }
        let mut found = walk(&root, Path::new("")).unwrap();
        found.sort();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [PathBuf::from("Cargo.toml"), PathBuf::from("src/lib.rs")]);
    }
}
