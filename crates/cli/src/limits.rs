//! What tasks and commands may take, and what happens when they fail.

use std::time::Duration;

use taskloom::{Kind, Policy, Retry};

use crate::{
    Stop,
    args::LimitArgs,
    outcome::Status,
    values::{self, MaxFail},
    words,
};

/// What was typed, understood.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) slow: Duration,
    pub(crate) memory: Option<u64>,
    /// How often to try again, and after which ends; those that were typed, if any were.
    pub(crate) retry: Retry,
    pub(crate) retries: u32,
    pub(crate) retry_on: Vec<Kind>,
    backoff: Duration,
    pub(crate) max_fail: MaxFail,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) min_free_memory: Option<u64>,
}

impl Limits {
    pub(crate) fn parse(args: &LimitArgs) -> Result<Self, Stop> {
        let time = |flag, typed: &Option<String>| typed.as_ref().map(|typed| values::time(flag, typed)).transpose();
        let size = |flag, typed: &Option<String>| typed.as_ref().map(|typed| values::size(flag, typed)).transpose();
        let retry_on = args.retry_on.iter().map(|typed| kind(typed)).collect::<Result<Vec<_>, _>>()?;
        let kinds = if retry_on.is_empty() { ENDS.map(|(_, _, kind)| kind).to_vec() } else { retry_on.clone() };
        let backoff = time("--backoff", &args.backoff)?.unwrap_or_default();
        Ok(Self {
            timeout: time("--timeout", &args.timeout)?,
            grace: values::time("--grace", &args.grace)?,
            slow: values::time("--slow", &args.slow)?,
            memory: size("--memory", &args.memory)?,
            retry: Retry::on(kinds, args.retries).backoff(backoff),
            retries: args.retries,
            retry_on,
            backoff,
            max_fail: MaxFail::parse(&args.max_fail)?,
            run_timeout: time("--run-timeout", &args.run_timeout)?,
            min_free_memory: size("--min-free-memory", &args.min_free_memory)?,
        })
    }

    /// Whether to try again after such an end was asked for by its name.
    pub(crate) fn names(&self, kind: Kind) -> bool {
        self.retry_on.contains(&kind)
    }

    /// What the pool is to keep, for each task by itself. Where none can be killed, one over its time may still run: then
    /// it is not tried again.
    pub(crate) fn policy(&self, kills: bool) -> Policy {
        let policy = Policy::new().grace(self.grace).timeout(self.timeout.unwrap_or(Duration::MAX));
        if self.retries == 0 {
            return policy;
        }
        if kills || !self.retry_on.is_empty() {
            return policy.retry(self.retry.clone());
        }
        let kinds = ENDS.map(|(_, _, kind)| kind).into_iter().filter(|kind| *kind != Kind::TimedOut);
        policy.retry(Retry::on(kinds, self.retries).backoff(self.backoff))
    }

    /// Whether no more may be with the pool than run, because what follows from one decides on the next.
    pub(crate) fn hold_back(&self) -> bool {
        self.min_free_memory.is_some() || !self.max_fail.is_all()
    }

    /// Whether each input is to go by itself, because something is kept for it that is not kept for several at once.
    pub(crate) fn is_for_each(&self) -> bool {
        self.timeout.is_some() || self.retries > 0 || self.min_free_memory.is_some()
    }
}

/// The ends after which something can be tried again, as they are typed.
const ENDS: [(&str, Status, Kind); 6] = [
    ("fail", Status::Fail, Kind::Failed),
    ("panic", Status::Panic, Kind::Panicked),
    ("crash", Status::Crash, Kind::Crashed),
    ("timeout", Status::Timeout, Kind::TimedOut),
    ("memory", Status::Memory, Kind::OutOfMemory),
    ("lost", Status::Lost, Kind::Lost),
];

fn kind(typed: &str) -> Result<Kind, Stop> {
    let known = ENDS.iter().find(|(word, ..)| *word == typed);
    known.map(|(_, _, kind)| *kind).ok_or_else(|| {
        let shown = words::shown(typed, 40);
        let all = ENDS.map(|(word, ..)| format!("`{word}`")).join(", ");
        Stop::usage("bad-value", format!("`--retry-on {shown}`: no such end")).help(format!("there are {all}"))
    })
}

/// The word of the retry rules for such an end.
pub(crate) fn kind_of(status: Status) -> Kind {
    let known = ENDS.iter().find(|(_, known, _)| *known == status);
    known.map_or(if status == Status::Cancelled { Kind::Cancelled } else { Kind::Succeeded }, |(_, _, kind)| *kind)
}

/// The end that such a word of the retry rules stands for.
pub(crate) fn status_of(kind: Kind) -> Status {
    ENDS.iter().find(|(_, _, known)| *known == kind).map_or(Status::Lost, |(_, status, _)| *status)
}

/// A time as it was typed, near enough: `5s`, `1m30s`, `250ms`.
pub(crate) fn exact(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1000 == 0 && millis < 60_000 => format!("{}s", millis / 1000),
        millis @ 1..1000 => format!("{millis}ms"),
        _ => words::time(time),
    }
}

/// What is said of everything that was over this limit on time: to people, and to programs.
pub(crate) fn over_time(limit: Duration) -> (String, String) {
    (format!("over --timeout {}", exact(limit)), format!("over the limit of {}", exact(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_as_they_are_typed() {
        for (typed, said) in [("5ms", "5ms"), ("250ms", "250ms"), ("5s", "5s"), ("90s", "90.0s"), ("2h30m", "2h30m")] {
            assert_eq!(exact(values::time("--timeout", typed).unwrap()), said);
        }
    }

    #[test]
    fn each_end_has_one_word_and_one_status() {
        for (word, status, of_pool) in ENDS {
            assert_eq!((kind(word).unwrap(), kind_of(status), status_of(of_pool)), (of_pool, of_pool, status));
        }
        assert_eq!(kind_of(Status::Ok), Kind::Succeeded);
        assert!(kind("bad luck").unwrap_err().to_string().contains("there are `fail`, `panic`, `crash`"));
    }
}
