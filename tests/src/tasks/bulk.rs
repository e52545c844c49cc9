//! Tasks with many megabytes to carry. Texts, because they are written in one piece.

use std::{fs, path::PathBuf};

use taskloom::task;

use crate::{
    scratch::{Gate, append_line},
    values::Held,
};

/// So much text.
#[task]
pub fn many_letters(count: usize) -> String {
    "x".repeat(count)
}

/// How long the text is.
#[task]
pub fn measures(text: String) -> usize {
    text.len()
}

/// Notes its thread, as a path below `/proc`. So much text, which waits at the gate when it is read.
#[task]
pub fn gives_held(gate: Option<Gate>, size: usize, file: PathBuf) -> Held {
    append_line(&file, &fs::read_link("/proc/thread-self").unwrap_or_default().to_string_lossy());
    Held { gate, text: "x".repeat(size) }
}

/// Notes in `file` that its body was started, and gives back what it took.
#[task]
pub fn marks_text(file: PathBuf, number: u64, text: String) -> (u64, String) {
    append_line(&file, &number.to_string());
    (number, text)
}
