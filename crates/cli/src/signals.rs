//! Ctrl-C and a request to end, as messages.

use std::{
    io, process,
    sync::{Mutex, PoisonError},
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::exit;

/// Calls `tell` with the exit code that a signal stands for, on a thread of its own. The third one
/// does not wait for anybody.
pub(crate) fn watch(mut tell: impl FnMut(u8) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("taskloom-signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            let code = if signal == SIGTERM { exit::TERMINATED } else { exit::INTERRUPTED };
            if count >= 2 {
                process::exit(code.into());
            }
            tell(code);
        }
    })?;
    Ok(())
}

/// Signals that have come and have not been acted on.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<u8>>);

impl Seen {
    pub(crate) fn push(&self, code: u8) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(code);
    }

    /// One of them. Which does not matter: the first one acted on names the exit code, later ones hurry.
    pub(crate) fn pop(&self) -> Option<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
