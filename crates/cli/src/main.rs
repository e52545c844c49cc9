//! The `taskloom` program: the commands of this crate's library over a few tasks to try them on, and a demo.

// Denied and not forbidden: `crash` has one line of it, so that there is something to survive.
#![deny(unsafe_code)]

mod crash;
mod demo;
mod tasks;

fn main() {
    taskloom_cli::main_with(vec![demo::command()])
}
