//! `exec`.

mod ends;
mod events;
mod guide;
mod inputs;
mod limits;
mod output;
mod refusals;
mod signals;
