//! Rust text with everything that is not code blanked out, so that a word found in it is a word of the program.
//!
//! A comment that says `unsafe` is not unsafe, and a test in a comment does not run. No parser is needed to know that,
//! only where comments and literals begin and end.

/// The same text, with comments and the insides of literals replaced by spaces. Line breaks stay, so that line numbers
/// hold.
pub(crate) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let hidden = comment(rest).or_else(|| literal(rest, &code));
        let taken = hidden.unwrap_or(first.len_utf8());
        let (piece, tail) = rest.split_at(taken);
        match hidden {
            Some(_) => code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => code.push_str(piece),
        }
        rest = tail;
    }
    code
}

/// The numbers of the lines, from 1, in which `word` stands by itself.
pub(crate) fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let numbered = text.lines().enumerate();
    numbered.filter(|(_, line)| has_word(line, word)).map(|(at, _)| at + 1).collect()
}

/// Does `word` stand in the text with no letter, digit or underscore around it?
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// May this character be part of a Rust name?
pub(crate) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment that begins here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    // Rust's block comments nest.
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of the string or character literal that begins here.
fn literal(text: &str, before: &str) -> Option<usize> {
    // The `r` of `for"…"` is no prefix, and the `b` of `sub'a` neither.
    let own_word = !before.chars().next_back().is_some_and(in_word);
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(text.len());
    let prefix = if own_word { prefix } else { 0 };
    let body = &text[prefix..];
    if text[..prefix].ends_with('r') && body.starts_with(['#', '"']) {
        return raw_string(body).map(|length| prefix + length);
    }
    match body.chars().next()? {
        '"' => Some(prefix + escaped(body, '"')),
        '\'' if is_char(body) => Some(prefix + escaped(body, '\'')),
        _ => None,
    }
}

/// `#"…"#` with any number of hashes. `None` for a raw name, as in `r#type`.
fn raw_string(body: &str) -> Option<usize> {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// A quote, anything with backslashes, and the closing quote.
fn escaped(body: &str, quote: char) -> usize {
    let mut skip = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    body.len()
}

/// A character literal, not a lifetime: `'a'` and `'\n'` are, `'a` and `'static` are not.
fn is_char(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the code, one space apart.
    fn left(text: &str) -> String {
        code(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_go() {
        assert_eq!(left("a // unsafe\nb /* x /* y */ z */ c"), "a b c");
        assert_eq!(left("/// doc\n//! inner\na /* open"), "a");
    }

    #[test]
    fn literals_go() {
        assert_eq!(left(r#"f("unsafe \" // no", 'x', b'\'', b"y") g"#), "f( , , , ) g");
        assert_eq!(left("f(r#\"a \" unsafe\"#, br\"\\\") g"), "f( , ) g");
        assert_eq!(left("f(c\"x\", 'ä', '\"') g"), "f( , , ) g");
    }

    #[test]
    fn lifetimes_and_raw_names_stay() {
        assert_eq!(left("fn f<'a>(r#type: &'a str) -> &'static str"), "fn f<'a>(r#type: &'a str) -> &'static str");
        assert_eq!(left("for x in y {}"), "for x in y {}");
    }

    #[test]
    fn line_numbers_hold() {
        let text = code("/*\n\n*/ \"a\nb\"\nunsafe {}\n");
        assert_eq!(lines_with_word(&text, "unsafe"), [5]);
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("unsafe{}", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
        assert!(!has_word("notunsafe unsafely", "unsafe"));
        assert!(has_word("unsafely unsafe", "unsafe"));
    }
}
