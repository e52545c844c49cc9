//! `exec`.

mod ends;
mod events;
mod inputs;
mod limits;
mod output;
mod refusals;
mod signals;
