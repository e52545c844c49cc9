//! Records of runs, and going on with them.

mod full;
mod resume;
mod runs;

use std::{fs, path::PathBuf};

use crate::harness::Folder;

/// The folder of the only run.
fn only_run(folder: &Folder) -> PathBuf {
    let all: Vec<_> = fs::read_dir(folder.state().join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [run] = &all[..] else { panic!("{all:?}") };
    run.clone()
}

/// The id of the only run.
fn only_id(folder: &Folder) -> String {
    only_run(folder).file_name().unwrap().to_str().unwrap().to_owned()
}

/// The lines of a journal that are events of this name.
fn lines(folder: &Folder, event: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(only_run(folder).join("journal.jsonl")).unwrap();
    let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    events.filter(|line| line["event"] == event).collect()
}
