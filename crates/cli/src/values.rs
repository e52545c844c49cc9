//! Values with units, as they are typed: times, sizes, shares, lists of numbers.

use std::{ops::RangeInclusive, time::Duration};

use crate::{Stop, words};

fn bad(flag: &str, typed: &str, what: &str) -> Stop {
    Stop::usage("bad-value", format!("`{flag} {}`: {what}", words::shown(typed, 40)))
}

/// Splits `1h30m` into (1, "h"), (30, "m").
fn parts(text: &str) -> Option<Vec<(f64, &str)>> {
    let (mut rest, mut parts) = (text.trim(), Vec::new());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(rest.len());
        parts.push((number, &rest[..letters]));
        rest = rest[letters..].trim_start();
    }
    (!parts.is_empty()).then_some(parts)
}

/// `90s`, `1h30m`, `250ms`.
pub(crate) fn time(flag: &str, typed: &str) -> Result<Duration, Stop> {
    let wrong = || bad(flag, typed, "not a time").help("write it as `90s`, `1h30m` or `250ms`");
    let parts = parts(typed).ok_or_else(wrong)?;
    if let [(number, "")] = parts[..] {
        return Err(bad(flag, typed, "a time needs a unit").help(format!("`{number}s` or `{number}m`?")));
    }
    let seconds = parts.into_iter().try_fold(0.0, |sum, (number, unit)| {
        let unit = match unit {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        Some(sum + number * unit)
    });
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(wrong)
}

/// A number from 0 up.
pub(crate) fn count(flag: &str, typed: &str) -> Result<usize, Stop> {
    typed.trim().parse().map_err(|_| bad(flag, typed, "not a number").help("a number from 0 up"))
}

/// `512MiB`, `2GB`.
pub(crate) fn size(flag: &str, typed: &str) -> Result<u64, Stop> {
    let wrong = || bad(flag, typed, "not a size").help("write it as `512MiB` or `2GB`");
    let Some([(number, unit)]) = parts(typed).and_then(|parts| <[_; 1]>::try_from(parts).ok()) else {
        return Err(wrong());
    };
    let factor: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" => 1 << 40,
        "" => {
            return Err(bad(flag, typed, "a size needs a unit").help(format!("`{number}MiB` or `{number}GiB`?")));
        }
        "K" | "k" | "M" | "G" | "T" => {
            let unit = unit.to_uppercase();
            return Err(bad(flag, typed, "this unit has two meanings")
                .help(format!("`{number}{unit}iB` (powers of 1024) or `{number}{unit}B` (of 1000)?")));
        }
        _ => return Err(wrong()),
    };
    Ok((number * factor as f64) as u64)
}

/// How many at once: `4`, `-1` (all usable cores but one), `50%` of them.
pub(crate) fn workers(typed: Option<&str>) -> Result<usize, Stop> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(typed) = typed else { return Ok(cores) };
    let wrong =
        || bad("--workers", typed, "not a number of workers").help("a number, `-1` for all cores but one, or `50%`");
    if let Some(share) = typed.strip_suffix('%') {
        let share: usize = share.parse().map_err(|_| wrong())?;
        return Ok((cores.saturating_mul(share) / 100).max(1));
    }
    if let Some(less) = typed.strip_prefix('-') {
        let less: usize = less.parse().map_err(|_| wrong())?;
        return Ok(cores.saturating_sub(less).max(1));
    }
    match typed.parse() {
        Ok(0) => Err(bad("--workers", typed, "nothing would ever run")
            .help(format!("leave it out for one worker per usable core ({cores} here)"))),
        Ok(workers) => Ok(workers),
        Err(_) => Err(wrong()),
    }
}

/// How many failures are too many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MaxFail {
    most: Most,
    /// Whether what runs is ended too.
    pub(crate) now: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Most {
    All,
    Number(usize),
    Percent(f64),
}

/// Failures below which a share of an unknown number says nothing.
const FEW: usize = 3;

impl MaxFail {
    pub(crate) fn parse(typed: &str) -> Result<Self, Stop> {
        let (most, now) = match typed.strip_suffix(":now") {
            Some(most) => (most, true),
            None => (typed, false),
        };
        let parsed = match most.strip_suffix('%') {
            _ if most == "all" => Some(Most::All),
            Some(percent) => percent.parse().ok().filter(|percent| *percent > 0.0).map(Most::Percent),
            None => most.parse().ok().filter(|number| *number > 0).map(Most::Number),
        };
        match parsed {
            Some(most) => Ok(Self { most, now }),
            None => Err(bad("--max-fail", typed, "not a number of failures")
                .help("a number from 1 up, `10%` or `all`; each also with `:now`")),
        }
    }

    /// Whether no number is too many.
    pub(crate) fn is_all(&self) -> bool {
        self.most == Most::All
    }

    /// Whether it is too many. A share is one of all inputs, or of those done if nobody knows how many there are.
    pub(crate) fn is_reached(&self, failed: usize, done: usize, total: Option<usize>) -> bool {
        match self.most {
            Most::All => false,
            Most::Number(most) => failed >= most,
            Most::Percent(percent) => {
                let of = total.unwrap_or(done) as f64;
                failed > 0 && (total.is_some() || failed >= FEW) && failed as f64 * 100.0 >= percent * of
            }
        }
    }
}

/// Which inputs, by number: all, or some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Only(Option<Vec<RangeInclusive<u64>>>);

impl Only {
    /// `3,10-12`.
    pub(crate) fn parse(typed: Option<&str>) -> Result<Self, Stop> {
        let Some(typed) = typed else { return Ok(Self(None)) };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first >= 1 && first <= last).then_some(first..=last)
        };
        match typed.split(',').map(range).collect() {
            Some(ranges) => Ok(Self(Some(ranges))),
            None => Err(bad("--only", typed, "not a list of inputs").help("numbers from 1 up: `3,10-12`")),
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.0.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(&number)))
    }

    /// Whether neither this one nor any after it is meant.
    pub(crate) fn is_over(&self, number: u64) -> bool {
        self.0.as_ref().is_some_and(|ranges| ranges.iter().all(|range| *range.end() < number))
    }

    /// How many of so many inputs are meant.
    pub(crate) fn count(&self, total: usize) -> usize {
        match &self.0 {
            None => total,
            Some(_) => (1..=total as u64).take_while(|number| !self.is_over(*number)).filter(|n| self.has(*n)).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (typed, seconds) in [("90s", 90.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5s", 1.5), ("1m 30s", 90.0)] {
            assert_eq!(time("--timeout", typed).unwrap(), Duration::from_secs_f64(seconds), "{typed}");
        }
        assert_eq!(
            time("--timeout", "5").unwrap_err().to_string(),
            "error: `--timeout 5`: a time needs a unit\n  help: `5s` or `5m`?"
        );
        for typed in ["", "s", "5x", "-5s", "1..2s", "5s3"] {
            assert!(time("--timeout", typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn sizes_have_units_of_one_meaning() {
        for (typed, bytes) in [("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("1.5 KiB", 1536), ("7B", 7)] {
            assert_eq!(size("--memory", typed).unwrap(), bytes, "{typed}");
        }
        assert!(size("--memory", "512").unwrap_err().to_string().contains("`512MiB` or `512GiB`?"));
        assert!(
            size("--memory", "2G").unwrap_err().to_string().contains("`2GiB` (powers of 1024) or `2GB` (of 1000)?")
        );
        assert!(size("--memory", "1MiB2B").is_err() && size("--memory", "x").is_err());
    }

    #[test]
    fn workers_are_a_number_or_a_share() {
        let cores = workers(None).unwrap();
        assert_eq!(workers(Some("3")).unwrap(), 3);
        assert_eq!(workers(Some("-100000")).unwrap(), 1);
        assert_eq!(workers(Some("200%")).unwrap(), 2 * cores);
        for typed in ["0", "x", "-x", "%", ""] {
            assert_eq!(workers(Some(typed)).unwrap_err().exit(), crate::exit::USAGE, "{typed}");
        }
    }

    #[test]
    fn too_many_failures() {
        let reached = |typed, failed, done, total| MaxFail::parse(typed).unwrap().is_reached(failed, done, total);
        assert!(!reached("all", 100, 100, Some(100)));
        assert!(!reached("3", 2, 9, None) && reached("3", 3, 9, None));
        assert!(!reached("10%", 9, 9, Some(100)) && reached("10%", 10, 10, Some(100)));
        assert!(!reached("10%", 2, 2, None) && reached("10%", 3, 30, None));
        assert!(MaxFail::parse("3:now").unwrap().now && !MaxFail::parse("3").unwrap().now);
        for typed in ["0", "some", "0%", "3:soon", ""] {
            assert!(MaxFail::parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn only_some_inputs() {
        let only = Only::parse(Some("3,10-12")).unwrap();
        let meant: Vec<_> = (1..20).filter(|n| only.has(*n)).collect();
        assert_eq!(meant, [3, 10, 11, 12]);
        assert_eq!((only.count(11), only.count(2), Only::default().count(7)), (3, 0, 7));
        assert!(only.is_over(13) && !only.is_over(12) && !Only::default().is_over(13));
        for typed in ["", "0", "3-", "5-3", "a"] {
            assert!(Only::parse(Some(typed)).is_err(), "{typed}");
        }
    }
}
