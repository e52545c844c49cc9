//! Drives the real program: what people type, what they see, and the exit code.

mod harness;

mod chunks;
mod codes;
mod demo;
mod ends;
mod events;
mod exec;
mod limits;
mod listing;
mod record;
mod refusals;
mod running;
mod sessions;
mod settings;
mod signals;
mod terminal;
