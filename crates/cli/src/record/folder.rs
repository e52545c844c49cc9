//! Where records are, and what they are called.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use crate::{Stop, program, words};

/// The name of a journal in its folder.
pub(crate) const JOURNAL: &str = "journal.jsonl";
/// How many ids of a length are tried before a longer one.
const TRIES: u64 = 8;

/// One run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// A new folder: of that name, or with an id that no other run has.
    pub(crate) fn new(name: Option<&str>) -> Result<Self, Stop> {
        let all = all()?;
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        private.recursive(true).create(&all).map_err(|error| super::not_written(&all, &error))?;
        private.recursive(false);
        let make = |id: String| match private.create(all.join(&id)) {
            Ok(()) => Ok(Some(Self { folder: all.join(&id), id })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(super::not_written(&all.join(&id), &error)),
        };
        if let Some(name) = name {
            check_name(name)?;
            let taken = || {
                Stop::usage("run-exists", format!("there is a run called `{name}` already"))
                    .help(format!("`--resume {name}` goes on with it, `{} runs prune {name}` deletes it", program()))
            };
            return make(name.to_owned())?.ok_or_else(taken);
        }
        // A new state is different in each process, and each time.
        let random = RandomState::new();
        for tried in 0.. {
            let number = random.hash_one(tried);
            let digits = usize::try_from(4 + 2 * (tried / TRIES)).unwrap_or(16).min(16);
            let id = format!("{number:016x}")[..digits].to_owned();
            if let Some(place) = make(id)? {
                return Ok(place);
            }
        }
        unreachable!("some number of 64 bits is free")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }
}

fn check_name(name: &str) -> Result<(), Stop> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(fits) && name.starts_with(char::is_alphanumeric) {
        return Ok(());
    }
    let shown = words::shown(name, 80);
    Err(Stop::usage("bad-value", format!("`--record {shown}`: not a name for a run"))
        .help("letters, digits, `.`, `_` and `-`; at most 64 of them, a letter or digit first"))
}

/// The folder of all runs: `$TASKLOOM_STATE`, else where the XDG base directory specification puts what a program keeps.
pub(crate) fn all() -> Result<PathBuf, Stop> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let xdg = || set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || Some(set("HOME")?.join(".local/state"));
    let state = set("TASKLOOM_STATE").or_else(|| Some(xdg().or_else(home)?.join("taskloom")));
    state.map(|state| state.join("runs")).ok_or_else(|| {
        Stop::new(crate::exit::NOT_WRITTEN, "record-error", "there is no folder for records: HOME is not set")
            .help("set TASKLOOM_STATE to a folder, or use `--record none`")
    })
}

/// All runs, the newest first.
pub(crate) fn places() -> Result<Vec<Place>, Stop> {
    let all = all()?;
    let entries = match fs::read_dir(&all) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(crate::input::cannot_read(&all, &error)),
    };
    let mut places = Vec::new();
    for entry in entries.flatten() {
        let (folder, id) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let place = Place { id, folder };
        // One without a journal has just begun, or is no run.
        if let Ok(changed) = fs::metadata(place.journal()).and_then(|about| about.modified()) {
            places.push((changed, place));
        }
    }
    places.sort_by(|(a, x), (b, y)| (b, &y.id).cmp(&(a, &x.id)));
    Ok(places.into_iter().map(|(_, place)| place).collect())
}

/// The run with this id, or the only one whose id begins so.
pub(crate) fn find(typed: &str) -> Result<Place, Stop> {
    let places = places()?;
    let near: Vec<&Place> = places.iter().filter(|place| !typed.is_empty() && place.id.starts_with(typed)).collect();
    if let Some(place) = near.iter().find(|place| place.id == typed).or(near.first().filter(|_| near.len() == 1)) {
        return Ok((**place).clone());
    }
    let shown = words::shown(typed, 80);
    if near.is_empty() {
        let program = program();
        return Err(Stop::usage("unknown-run", format!("there is no run `{shown}`"))
            .help(format!("`{program} runs` lists the {} there", words::count(places.len(), "run"))));
    }
    let stop = Stop::usage("unknown-run", format!("`{shown}` is the start of several runs' ids"));
    Err(near.iter().fold(stop, |stop, place| stop.line(format!("  {}", place.id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        for good in ["7f3a", "nightly-2026.11", "a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-x", "a b", &"x".repeat(65)] {
            assert_eq!(check_name(bad).unwrap_err().exit(), crate::exit::USAGE, "{bad}");
        }
    }
}
