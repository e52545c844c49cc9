//! How figures and strange text are written, everywhere alike.

use std::{fmt::Write, time::Duration};

/// `14µs`, `612ms`, `2.91s`, `1m12s`: three digits at most, people do not read more.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0}µs", s * 1e6),
        s if s < 0.1 => format!("{}ms", three(s * 1e3)),
        s if s < 0.9995 => format!("{:.0}ms", s * 1e3),
        s if s < 99.95 => format!("{}s", three(s)),
        s if s < 3600.0 => format!("{}m{:02}s", s as u64 / 60, s as u64 % 60),
        s => format!("{}h{:02}m", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

/// A figure with three digits: `5.97`, `59.7`, `597`, `5970`.
pub fn three(figure: f64) -> String {
    match figure.abs() {
        f if f < 9.995 => format!("{figure:.2}"),
        f if f < 99.95 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// `512MiB`, `1.50GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{}{name}", bytes / unit),
        Some((name, unit)) => format!("{}{name}", three(bytes as f64 / unit as f64)),
        None => format!("{bytes}B"),
    }
}

/// `1 input`, `2 inputs`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Text that people typed or programs wrote, safe on a terminal: control characters are escaped,
/// and what is longer than `most` characters is cut.
pub fn shown(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == most {
            out.push('…');
            break;
        }
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let cases = [
            (14e-6, "14µs"),
            (0.0042, "4.20ms"),
            (0.612, "612ms"),
            (2.914, "2.91s"),
            (72.0, "72.0s"),
            (130.0, "2m10s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(time(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(shown("a\x1b[31m\n", 100), "a\\u{1b}[31m\\n");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
