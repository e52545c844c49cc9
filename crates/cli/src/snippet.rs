//! The line of an input that does not fit, with a caret under the place.
//!
//! ```text
//!    |
//! 17 | {"path": "q.png", "w": "wide"}
//!    |                        ^^^^^^ `w`: expected u32, found string "wide"
//! ```

/// Longest piece of a line that is shown, in characters.
const WIDTH: usize = 72;
/// How much of the line is shown before the caret when it is longer.
const BEFORE: usize = 40;

/// At which column the margin of line `number` is drawn.
pub(crate) fn margin(number: u64) -> usize {
    number.to_string().len() + 1
}

/// Draws line `number` with carets under `width` characters from `column`, both counted in characters from 0.
pub(crate) fn draw(number: u64, text: &str, column: usize, width: usize, label: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let start = if characters.len() <= WIDTH { 0 } else { column.saturating_sub(BEFORE) };
    let end = characters.len().min(start + WIDTH);
    let left = if start > 0 { "…" } else { "" };
    let right = if end < characters.len() { "…" } else { "" };
    let piece: String = characters[start..end].iter().collect();
    let number = number.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(column - start + left.chars().count());
    let carets = "^".repeat(width.clamp(1, (start + WIDTH - column).max(1)));
    vec![
        format!("{margin} |"),
        format!("{number} | {left}{piece}{right}"),
        format!("{margin} | {indent}{carets} {label}"),
    ]
}

/// How many characters the JSON value at the start of `text` takes; 1 if there is none.
pub(crate) fn value_width(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => text[..values.byte_offset()].trim_end().chars().count(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_value() {
        let text = r#"{"path": "q.png", "w": "wide"}"#;
        let at = text.find("\"wide").unwrap();
        let lines = draw(17, text, at, value_width(&text[at..]), "`w`: expected u32");
        assert_eq!(lines[1], format!("17 | {text}"));
        assert_eq!(lines[2], "   |                        ^^^^^^ `w`: expected u32");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("[{}x{}]", "1,".repeat(500), ",1".repeat(500));
        let at = text.find('x').unwrap();
        let lines = draw(1, &text, at, 1, "expected value");
        let caret = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().nth(caret), Some('x'));
        assert!(lines[1].chars().count() < 90);
    }

    #[test]
    fn a_caret_may_stand_behind_the_end() {
        assert_eq!(draw(3, "[1", 2, 1, "expected `]`")[2], "  |   ^ expected `]`");
    }
}
