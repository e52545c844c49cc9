//! How much is kept: runs that are over and too many, too old or too large go.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{Place, folder, journal};
use crate::{Stop, settings, values};

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) runs: usize,
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
}

impl Limits {
    /// As nextest has it, where nothing else is set.
    pub(crate) const RUNS: &str = "100";
    pub(crate) const AGE: &str = "30d";
    pub(crate) const SIZE: &str = "1GB";

    /// What is set.
    pub(crate) fn set() -> Result<Self, Stop> {
        let set = |name, default: &str| settings::get(name).map(|(value, _)| value.unwrap_or(default.to_owned()));
        let runs = set("keep_runs", Self::RUNS)?;
        Ok(Self {
            runs: values::count("keep_runs", &runs)?,
            age: values::time("keep_age", &set("keep_age", Self::AGE)?)?,
            bytes: values::size("keep_size", &set("keep_size", Self::SIZE)?)?,
        })
    }
}

/// Deletes what is over the limits, or only says what would be; the new run does not count itself.
pub(crate) fn prune(limits: &Limits, new: Option<&Place>, dry: bool) -> Result<Vec<Place>, Stop> {
    let mut gone = Vec::new();
    let (mut count, mut bytes) = (usize::from(new.is_some()), 0);
    for place in folder::places()? {
        if new == Some(&place) {
            continue;
        }
        count += 1;
        bytes += size(&place);
        let changed = fs::metadata(place.journal()).and_then(|about| about.modified());
        let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok()).unwrap_or_default();
        let over = count > limits.runs || age > limits.age || bytes > limits.bytes;
        if over && !journal::is_open(&place) {
            if !dry {
                delete(&place);
            }
            gone.push(place);
        }
    }
    Ok(gone)
}

/// Deletes a run.
pub(crate) fn delete(place: &Place) {
    // The journal first: what is left of a folder without one is no run. Somebody else may delete it at the same time.
    let _ = fs::remove_file(place.journal());
    let _ = fs::remove_dir_all(&place.folder);
}

/// What a run's folder holds.
pub(crate) fn size(place: &Place) -> u64 {
    let entries = fs::read_dir(&place.folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
}
