//! Exit codes, all in one place. They follow `sysexits(3)` where that has a word for it, nextest for
//! "tests ran and some failed", and the shell's 128 + signal.
//!
//! If several apply, the one that hides most wins: 101, 74, those of signals, 124, 65, 100.

/// Every task succeeded, and all output was written.
pub const OK: u8 = 0;
/// The program itself failed, for a reason that has no code of its own.
pub const FAILED: u8 = 1;
/// Wrong usage: an unknown flag, task or backend; values that make no sense. As clap exits.
pub const USAGE: u8 = 2;
/// An input could not be read as the task's arguments (`EX_DATAERR`).
pub const BAD_INPUT: u8 = 65;
/// An input file or folder cannot be read, or there is no input at all (`EX_NOINPUT`).
pub const NO_INPUT: u8 = 66;
/// The backend is not available here (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// Results could not be written (`EX_IOERR`): a full disk.
pub const NOT_WRITTEN: u8 = 74;
/// At least one task did not succeed.
pub const TASKS_FAILED: u8 = 100;
/// A bug: the program panicked, or one of its threads did, which it tells. Rust's own code. Nothing that can be typed leads to
/// it: what panics in a task is the task's outcome, and a command is a process of its own.
pub const BUG: u8 = 101;
/// The limit on the whole run was reached, as `timeout(1)` says it.
pub const RUN_TIMEOUT: u8 = 124;
/// The terminal went away (128 + `SIGHUP`).
pub const HUNG_UP: u8 = 129;
/// Interrupted, as by Ctrl-C (128 + `SIGINT`).
pub const INTERRUPTED: u8 = 130;
/// Asked to end from the keyboard, as by Ctrl-\ (128 + `SIGQUIT`).
pub const QUIT: u8 = 131;
/// The reader of standard output went away, as `| head` does (128 + `SIGPIPE`). Said by the code alone.
pub const READER_GONE: u8 = 141;
/// Asked to end (128 + `SIGTERM`).
pub const TERMINATED: u8 = 143;

/// The signal that one of these codes stands for.
pub(crate) fn signal(code: u8) -> &'static str {
    match code {
        HUNG_UP => "SIGHUP",
        QUIT => "SIGQUIT",
        TERMINATED => "SIGTERM",
        _ => "SIGINT",
    }
}
