//! A command with placeholders, and what stands in their places for one input.
//!
//! Only the listed words in braces are placeholders, and names of fields where the input has such a field; all other
//! braces are left alone. A word that is nothing but `{}` becomes one word per value if there are several lists.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use serde_json::value::RawValue;
use taskloom::JsonFault;

use crate::{
    input::{Text, not_utf8},
    shell,
};

/// What a script reads instead of a placeholder.
pub(crate) const INPUT_VARIABLE: &str = "TASKLOOM_TASK_INPUT";

/// What placeholders stand for: the values of one input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// One, or one from each list.
    words: Vec<Vec<u8>>,
    fields: BTreeMap<String, Vec<u8>>,
}

impl Subject {
    pub(crate) fn of(text: &Text) -> Result<Self, JsonFault> {
        let one = |word: Vec<u8>| Self { words: vec![word], fields: BTreeMap::new() };
        Ok(match text {
            Text::Plain(text) => one(text.as_bytes().to_vec()),
            Text::Bytes(bytes) => one(bytes.clone()),
            Text::BadJson(bytes) => return Err(not_utf8(bytes)),
            Text::Several(words) => {
                let fields = words.iter().zip(1..).map(|(word, at)| (at.to_string(), word.clone())).collect();
                Self { words: words.clone(), fields }
            }
            Text::Json(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(|error| JsonFault::not_json(text, &error))?;
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
                let fields = fields.into_iter().map(|(name, value)| (name, plain(value.get()))).collect();
                Self { words: vec![plain(raw.get())], fields }
            }
        })
    }

    /// All of it in one word.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.words.join(&b' ')
    }
}

/// A JSON string without its quotes; anything else as it stands.
fn plain(json: &str) -> Vec<u8> {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned()).into_bytes()
}

/// The words of a command.
#[derive(Debug)]
pub(crate) struct Template {
    words: Vec<Vec<Piece>>,
    /// Whether a shell reads them.
    shell: bool,
    /// Whether a script reads the input by itself.
    reads_variable: bool,
}

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    Input,
    WithoutExtension,
    BaseName,
    Folder,
    Number,
    Slot,
    /// A field, if the input has it.
    Field(String),
}

impl Template {
    pub(crate) fn new(command: &[OsString], shell: bool) -> Self {
        let words: Vec<_> = command.iter().map(|word| pieces(word.as_bytes())).collect();
        let mentions = |word: &OsString| word.to_string_lossy().contains(INPUT_VARIABLE);
        Self { words, shell, reads_variable: shell && command.iter().any(mentions) }
    }

    /// The program, if it is the same for all inputs.
    pub(crate) fn program(&self) -> Option<&OsStr> {
        match &self.words.first()?[..] {
            [Piece::Text(text)] if !self.shell => Some(OsStr::from_bytes(text)),
            _ => None,
        }
    }

    /// The command for one input: the program's words, one of them a script if a shell reads it. Without a slot, as before
    /// a command has one, its placeholder is left alone.
    pub(crate) fn fill(&self, subject: &Subject, number: u64, slot: Option<usize>) -> Vec<OsString> {
        let mut replaced = self.reads_variable;
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(self.words.len() + 1);
        for word in &self.words {
            if let [Piece::Input] = word[..] {
                replaced = true;
                words.extend(subject.words.iter().map(|value| self.quoted(value.clone())));
                continue;
            }
            let mut filled = Vec::new();
            for piece in word {
                match piece.value(subject, number, slot) {
                    Ok(value) => {
                        replaced = true;
                        filled.extend(self.quoted(value));
                    }
                    Err(text) => filled.extend(text),
                }
            }
            words.push(filled);
        }
        if !replaced {
            words.extend(subject.words.iter().map(|value| self.quoted(value.clone())));
        }
        if self.shell {
            words = vec![b"sh".to_vec(), b"-c".to_vec(), words.join(&b' ')];
        }
        words.into_iter().map(OsString::from_vec).collect()
    }

    fn quoted(&self, value: Vec<u8>) -> Vec<u8> {
        if self.shell { shell::quote(&value) } else { value }
    }
}

impl Piece {
    /// What stands in its place, or the text that is left alone.
    fn value(&self, subject: &Subject, number: u64, slot: Option<usize>) -> Result<Vec<u8>, Vec<u8>> {
        let input = || subject.whole();
        Ok(match self {
            Self::Text(text) => return Err(text.clone()),
            Self::Input => input(),
            Self::WithoutExtension => without_extension(input()),
            Self::BaseName => {
                let input = input();
                path(&input).file_name().map_or_else(Vec::new, |name| name.as_bytes().to_vec())
            }
            Self::Folder => {
                let input = input();
                let folder = path(&input).parent().map_or(&b"/"[..], |folder| folder.as_os_str().as_bytes());
                if folder.is_empty() { b".".to_vec() } else { folder.to_vec() }
            }
            Self::Number => number.to_string().into_bytes(),
            Self::Slot => match slot {
                Some(slot) => slot.to_string().into_bytes(),
                None => return Err(b"{slot}".to_vec()),
            },
            Self::Field(name) => match subject.fields.get(name) {
                Some(value) => value.clone(),
                None => return Err(format!("{{{name}}}").into_bytes()),
            },
        })
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Cuts `.gz` off the base name; a name that only begins with a dot keeps it.
fn without_extension(mut bytes: Vec<u8>) -> Vec<u8> {
    let base = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    if let Some(dot) = bytes[base..].iter().rposition(|byte| *byte == b'.')
        && dot > 0
    {
        bytes.truncate(base + dot);
    }
    bytes
}

fn pieces(word: &[u8]) -> Vec<Piece> {
    let (mut pieces, mut text, mut at) = (Vec::new(), Vec::new(), 0);
    while at < word.len() {
        match token(&word[at..]) {
            Some((piece, length)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                at += length;
            }
            None => {
                text.push(word[at]);
                at += 1;
            }
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The placeholder at the start of the text, and its length.
fn token(text: &[u8]) -> Option<(Piece, usize)> {
    let end = text.strip_prefix(b"{")?.iter().position(|byte| *byte == b'}')?;
    let piece = match &text[1..=end] {
        b"" => Piece::Input,
        b"." => Piece::WithoutExtension,
        b"/" => Piece::BaseName,
        b"//" => Piece::Folder,
        b"#" => Piece::Number,
        b"slot" => Piece::Slot,
        name if name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') => {
            Piece::Field(String::from_utf8_lossy(name).into_owned())
        }
        _ => return None,
    };
    Some((piece, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(command: &[&str], shell: bool, text: Text) -> Vec<String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let subject = Subject::of(&text).unwrap();
        let words = Template::new(&command, shell).fill(&subject, 7, Some(1));
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn one(command: &[&str], input: &str) -> String {
        filled(command, false, Text::Plain(input.into())).join("|")
    }

    #[test]
    fn each_placeholder_stands_for_its_part() {
        let all = ["x", "{}", "{.}", "{/}", "{//}", "{#}", "{slot}", "a{/}b{#}"];
        assert_eq!(one(&all, "d/e.f/g.tar.gz"), "x|d/e.f/g.tar.gz|d/e.f/g.tar|g.tar.gz|d/e.f|7|1|ag.tar.gzb7");
        assert_eq!(one(&["{.}", "{/}", "{//}"], "plain"), "plain|plain|.");
        assert_eq!(one(&["{.}", "{/}", "{//}"], "/.rc"), "/.rc|.rc|/");
        assert_eq!(one(&["{.}"], "a.b/c"), "a.b/c");
    }

    #[test]
    fn other_braces_are_left_alone() {
        let words = ["{a,b}", "${x}", "{{}}", "{", "}", "{ }", "{foo}", "awk '{print}'", "{?}"];
        assert_eq!(one(&words, "I"), "{a,b}|${x}|{I}|{|}|{ }|{foo}|awk '{print}'|{?}");
        assert_eq!(one(&["{a,b}", "{foo}"], "I"), "{a,b}|{foo}|I", "none of these is a placeholder");
    }

    #[test]
    fn without_a_placeholder_the_input_comes_last() {
        assert_eq!(one(&["gzip", "-9"], "a b"), "gzip|-9|a b");
        assert_eq!(one(&["echo", "{#}"], "a"), "echo|7");
        assert_eq!(one(&["echo", ""], "a"), "echo||a");
    }

    #[test]
    fn fields_stand_for_values_of_json() {
        let json = |text: &str| Text::Json(text.into());
        let object = r#"{"name": "a b", "n": 10000000000000000000000, "deep": {"x": [1]}}"#;
        assert_eq!(
            filled(&["x", "{name}", "{n}", "{deep}", "{other}"], false, json(object)),
            ["x", "a b", "10000000000000000000000", r#"{"x": [1]}"#, "{other}"]
        );
        assert_eq!(filled(&["x", "{}"], false, json(object)), ["x", object]);
        assert_eq!(filled(&["x"], false, json(" \"a\\tb\" ")), ["x", "a\tb"]);
        assert_eq!(filled(&["x", "{other}"], false, json("[1, 2]")), ["x", "{other}", "[1, 2]"]);
        assert!(Subject::of(&json("{")).unwrap_err().message.starts_with("not valid JSON"));
    }

    #[test]
    fn several_lists_give_several_words() {
        let both = || Text::Several(vec![b"a b".to_vec(), b"c".to_vec()]);
        assert_eq!(filled(&["x", "{}", "-{}", "{2}{1}"], false, both()), ["x", "a b", "c", "-a b c", "ca b"]);
        assert_eq!(filled(&["x"], false, both()), ["x", "a b", "c"]);
        assert_eq!(filled(&["x"], true, both())[2], "x 'a b' c");
    }

    #[test]
    fn a_shell_gets_quoted_values_in_one_script() {
        let plain = || Text::Plain("it's; rm".into());
        assert_eq!(filled(&["cat {} | wc -l > {#}"], true, plain()), ["sh", "-c", r"cat 'it'\''s; rm' | wc -l > 7"]);
        assert_eq!(filled(&["wc", "-l"], true, plain())[2], r"wc -l 'it'\''s; rm'");
        let reads = filled(&[r#"echo "$TASKLOOM_TASK_INPUT" | wc"#], true, plain());
        assert_eq!(reads[2], r#"echo "$TASKLOOM_TASK_INPUT" | wc"#, "it has the input already");
    }
}
