//! Where tasks run, and whether that place can keep the limits that were asked for.

use taskloom::{Capabilities, Kind, TaskError};

use crate::{
    Stop,
    limits::{Limits, exact},
    plan::backend,
};

/// Chooses the backend. What only worker processes can do makes them the choice where nothing was chosen; the second
/// value says so.
pub(crate) fn choose(
    asked: Option<&str>,
    limits: &Limits,
    known: &[(&'static str, bool)],
) -> Result<(&'static str, Option<String>), Stop> {
    let why = match needs_processes(limits).filter(|_| asked.is_none()) {
        None => return backend(asked, known).map(|name| (name, None)),
        Some(why) => why,
    };
    backend(Some("procs"), known).map(|name| (name, Some(format!("Running on procs: {why}"))))
}

fn needs_processes(limits: &Limits) -> Option<&'static str> {
    let wishes = [
        (limits.timeout.is_some(), "there --timeout stops a task"),
        (limits.memory.is_some(), "there --memory can be kept"),
        (
            limits.names(Kind::Crashed) || limits.names(Kind::OutOfMemory),
            "there a task that crashes can be tried again",
        ),
    ];
    wishes.into_iter().find(|(wished, _)| *wished).map(|(_, why)| why)
}

/// Refuses what this place cannot keep; else what is to be said about how it is kept.
pub(crate) fn check(limits: &Limits, capabilities: &Capabilities) -> Result<Option<String>, Stop> {
    let Capabilities { name, kills, abandons, isolates, .. } = *capabilities;
    let refuse =
        |flag: &str, what: &str| Err(Stop::usage("unsupported", format!("{flag} {what} on the `{name}` backend")));
    if let Some(limit) = limits.timeout.filter(|_| !kills && !abandons) {
        let help = format!("use `-b procs`, or `--slow {}` to be told without stopping it", exact(limit));
        return refuse("--timeout", "cannot stop a task").map_err(|stop: Stop| stop.help(help));
    }
    for (kind, word) in [(Kind::Crashed, "crash"), (Kind::OutOfMemory, "memory")] {
        if limits.names(kind) && !isolates {
            let refused = refuse(&format!("--retry-on {word}"), "cannot be kept");
            return refused
                .map_err(|stop| stop.reason("there such an end is that of the whole run").help("use `-b procs`"));
        }
    }
    if limits.timeout.is_none() || kills {
        return Ok(None);
    }
    if limits.retries > 0 && limits.names(Kind::TimedOut) {
        let refused = refuse("--retry-on timeout", "cannot be kept");
        return refused.map_err(|stop| stop.reason("the first attempt may still run there").help("use `-b procs`"));
    }
    let not_again = if limits.retries > 0 { ", and not tried again" } else { "" };
    Ok(Some(format!(
        "On {name} a task over --timeout is reported{not_again}; its thread is left behind, for only procs can stop it"
    )))
}

/// A pool that was not built, because it cannot keep a limit.
pub(crate) fn refused(error: &TaskError) -> Option<Stop> {
    let TaskError::Unsupported(unsupported) = error else { return None };
    let message =
        format!("--memory: {} is not supported by the `{}` backend", unsupported.operation, unsupported.backend);
    Some(Stop::usage("unsupported", message).help("use `-b procs`"))
}
