//! Rows as a table to read, as the table of `docs/performance.md`, and as JSON.

use std::fs;

use serde_json::{Value, json};

use crate::compare::{Bound, Row, Verdict, median, range};

impl Bound {
    fn text(self, unit: &str) -> String {
        let (sign, value) = match self {
            Self::AtMost(value) => ("≤", value),
            Self::AtLeast(value) => ("≥", value),
        };
        format!("{sign} {value}{}", suffix(unit))
    }
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::AimMet => "aim met",
            Self::MustMet => "must met",
            Self::AimMissed => "aim missed",
            Self::Missed => "missed",
            Self::NotRun => "not run",
        }
    }
}

fn suffix(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}

/// Figures of any size with three digits or so.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        big if big >= 100.0 => 0,
        middle if middle >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

impl Row {
    fn figure(&self) -> String {
        median(&self.figures).map_or_else(String::new, |median| format!("{}{}", short(median), suffix(self.unit)))
    }

    fn range(&self) -> String {
        let several = range(&self.figures).filter(|_| self.figures.len() > 1);
        several.map_or_else(String::new, |(least, most)| format!("{} - {}", short(least), short(most)))
    }

    fn goals(&self) -> [String; 2] {
        [self.must, self.aim].map(|bound| bound.map_or_else(String::new, |bound| bound.text(self.unit)))
    }

    fn said(&self) -> &'static str {
        self.verdict().map_or("", Verdict::text)
    }

    /// A line for a terminal.
    pub(crate) fn line(&self) -> String {
        let [must, aim] = self.goals();
        let cells = [
            (self.id, 4),
            (&self.what, 41),
            (&self.versus, 31),
            (&self.ours, 11),
            (&self.theirs, 11),
            (&self.figure(), 10),
            (&self.range(), 16),
            (&must, 8),
            (&aim, 8),
            (self.said(), 10),
            (&self.note, 0),
        ];
        padded(&cells)
    }

    /// A line of the document's table.
    pub(crate) fn markdown(&self) -> String {
        let [must, aim] = self.goals();
        let what = if self.note.is_empty() { self.what.clone() } else { format!("{} ({})", self.what, self.note) };
        let cells =
            [self.id, &what, &self.versus, &self.ours, &self.theirs, &self.figure(), &self.range(), &must, &aim];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {} | {} |", cells.join(" | "), self.said())
    }

    pub(crate) fn json(&self, measure: &str) -> Value {
        let [must, aim] = self.goals();
        json!({
            "v": 2, "measure": measure, "id": self.id, "what": self.what, "versus": self.versus, "ours": self.ours,
            "theirs": self.theirs, "figures": self.figures, "unit": self.unit, "median": median(&self.figures),
            "must": must, "aim": aim, "verdict": self.said(), "note": self.note,
        })
    }
}

fn padded(cells: &[(&str, usize)]) -> String {
    let line: Vec<_> = cells.iter().map(|(cell, width)| format!("{cell:<width$}")).collect();
    line.join(" ").trim_end().to_owned()
}

/// The table's head, for a terminal.
pub(crate) fn head() -> String {
    padded(&[
        ("", 4),
        ("measure", 41),
        ("beside", 31),
        ("ours", 11),
        ("theirs", 11),
        ("ratio", 10),
        ("range", 16),
        ("must", 8),
        ("aim", 8),
    ])
}

/// The same for the document.
pub(crate) fn markdown_head() -> String {
    let names = ["", "measure", "beside", "ours", "theirs", "ratio", "range", "must", "aim", ""];
    format!("| {} |\n|{}", names.join(" | "), "---|".repeat(names.len()))
}

/// One word for each measure of the plan: the worst of its musts, then of its aims.
pub(crate) fn summary(rows: &[Row]) -> String {
    let mut ids: Vec<_> = rows.iter().map(|row| row.id).filter(|id| !id.is_empty()).collect();
    ids.dedup();
    let said = ids.iter().map(|id| {
        let verdicts: Vec<_> = rows.iter().filter(|row| row.id == *id).filter_map(Row::verdict).collect();
        let has = |verdict| verdicts.contains(&verdict);
        let word = if has(Verdict::Missed) {
            "missed"
        } else if has(Verdict::NotRun) {
            "not run in full"
        } else if has(Verdict::MustMet) || has(Verdict::AimMissed) {
            "must met"
        } else {
            "aim met"
        };
        format!("{id} {word}")
    });
    said.collect::<Vec<_>>().join(", ")
}

/// Where the figures come from.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok();
    let cpu = cpu.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("model name")));
    let cpu = cpu.map_or("an unknown processor", |name| name.trim_start_matches([' ', '\t', ':'])).to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {cpu}, Linux {}", crate::cores(), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &'static str, figure: f64) -> Row {
        let (must, aim) = (Some(Bound::AtMost(1.0)), Some(Bound::AtMost(0.5)));
        Row { id, figures: vec![figure], must, aim, ..Row::default() }
    }

    #[test]
    fn a_measure_is_as_good_as_its_worst_row() {
        let rows = [row("P1", 0.1), row("P1", 0.9), row("P2", 0.1), row("P3", 2.0), row("P3", 0.1)];
        assert_eq!(summary(&rows), "P1 must met, P2 aim met, P3 missed");
    }

    #[test]
    fn figures_keep_their_digits() {
        assert_eq!([0.0, 0.0421, 5.678, 1234.5].map(short), ["0", "0.042", "5.68", "1234"]);
    }
}
