//! `::: a b ::: c d`, cut out of what was typed before anybody looks for flags in it.

use std::ffi::OsString;

const MARK: &str = ":::";

/// The words without the lists, and the lists: from the first `:::` up to `--`, or the end. Only behind `exec`.
pub(crate) fn cut(mut words: Vec<OsString>) -> (Vec<OsString>, Vec<Vec<OsString>>) {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let start = words[..end].iter().position(|word| word == MARK);
    let Some(start) = start.filter(|_| words.get(1).is_some_and(|command| command == "exec")) else {
        return (words, Vec::new());
    };
    let typed: Vec<OsString> = words.drain(start..end).collect();
    let lists = typed[1..].split(|word| word == MARK).map(<[OsString]>::to_vec).collect();
    (words, lists)
}

/// Whether there is a list among a command's own words, where it is none.
pub(crate) fn is_misplaced(command: &[OsString]) -> bool {
    command.iter().any(|word| word == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_words(typed: &str) -> (String, Vec<String>) {
        let (words, lists) = cut(typed.split(' ').map(OsString::from).collect());
        let line = |words: Vec<OsString>| words.join(" ".as_ref()).into_string().unwrap();
        (line(words), lists.into_iter().map(line).collect())
    }

    #[test]
    fn lists_end_where_the_command_begins() {
        let expected = ("t exec -k -- echo ::: x".to_owned(), vec!["a -n".to_owned(), "c".to_owned()]);
        assert_eq!(cut_words("t exec -k ::: a -n ::: c -- echo ::: x"), expected);
        assert_eq!(cut_words("t exec ::: -- x"), ("t exec -- x".to_owned(), vec![String::new()]));
        assert_eq!(cut_words("t run ::: a"), ("t run ::: a".to_owned(), vec![]));
    }
}
