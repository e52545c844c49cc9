//! Types as text, spaced as people write them. `stringify!` spaces them differently from one compiler to the next.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

/// The type as one would write it: `Vec<(u32, String)>`, `&'static [u8; 4]`.
pub(crate) fn of(ty: &impl ToTokens) -> String {
    let mut text = String::new();
    write(ty.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                // A slice behind a word, as in `&'static [u8]`; parentheses belong to theirs, as in `fn(u8)`.
                if open == "[" && ends_in_word(text) {
                    text.push(' ');
                }
                text.push_str(open);
                write(group.stream(), text);
                if text.ends_with(", ") {
                    text.pop();
                }
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' | ';' => text.extend([punct.as_char(), ' ']),
                '+' | '=' => text.extend([' ', punct.as_char(), ' ']),
                // The arrow of `fn() -> T`: its `-` has just been written.
                '>' if text.ends_with('-') => {
                    text.insert(text.len() - 1, ' ');
                    text.push_str("> ");
                }
                other => text.push(other),
            },
            word => {
                let word = word.to_string();
                if ends_in_word(text) {
                    text.push(' ');
                }
                text.push_str(&word);
            }
        }
    }
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
}

#[cfg(test)]
mod tests {
    #[test]
    fn types_read_as_people_write_them() {
        for text in [
            "Vec<(u32, String)>",
            "(u8,)",
            "&'static [u8; 4]",
            "Result<u64, Box<dyn std::error::Error + Send + Sync>>",
            "Option<fn(&str) -> Vec<u8>>",
            "<T as Iterator>::Item",
            "*const T",
            "Box<dyn Fn(u8) -> u8>",
            "Box<dyn Iterator<Item = u8>>",
        ] {
            let ty: syn::Type = syn::parse_str(text).unwrap();
            assert_eq!(super::of(&ty), text);
        }
    }
}
