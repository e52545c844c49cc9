//! Ctrl-C and a request to end, as messages.

use std::{io, process, thread};

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
