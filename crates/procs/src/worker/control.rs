//! The lifeline: hears recalls and cancels while the runner runs user code, and ends the worker with its parent.

use super::{Up, gate::Gate, logger};
use crate::{
    chaos::{self, Point},
    os, share,
    transport::{Received, Receiver},
    wire::{self, Control, Rare},
};

pub(super) fn run(control: &Receiver, gate: &Gate, up: &Up) -> ! {
    os::signals::block_all();
    loop {
        match control.receive() {
            Received::Message(message) => match wire::decode(&message.bytes) {
                Ok(Control::Recall(wanted)) => {
                    chaos::at(Point::Recall);
                    gate.recall(wanted, |returned| up.rare(&Rare::Returned(returned)));
                }
                Ok(Control::Cancel { token, item }) => gate.cancel(token, item),
                Ok(Control::Condemn { token, item }) => gate.condemn(token, item, || up.rare(&Rare::Condemned)),
                Ok(Control::LogCredit(count)) => logger::credit(count),
                Ok(Control::Forget(stand_in)) => share::forget(stand_in.into_vec()),
                // The parent is the same program: this cannot be.
                Err(_) => os::process::kill_own_group(),
            },
            // The parent closes this channel by dying, or when this process has.
            Received::End | Received::Garbage(_) => os::process::kill_own_group(),
        }
    }
}
