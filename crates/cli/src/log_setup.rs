//! Log records on standard error: warnings by default, what `RUST_LOG` asks for else.

use std::io::Write;

use crate::terminal::LogTarget;

/// Sets the program's logger, unless it has one.
///
/// Not in worker processes: their records travel to this one, and say here which task made them.
pub(crate) fn init() {
    let mut logger = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"));
    logger.format(|line, record| {
        let level = record.level().as_str().to_lowercase();
        match taskloom::current_task() {
            Some(task) => writeln!(line, "{level}: task {task}: {}", record.args()),
            None => writeln!(line, "{level}: {}", record.args()),
        }
    });
    logger.target(env_logger::Target::Pipe(Box::new(LogTarget)));
    // A program that calls `main` after setting a logger of its own keeps it.
    let _ = logger.try_init();
}
