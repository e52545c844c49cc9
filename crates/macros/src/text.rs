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
                text.push_str(open);
                write(group.stream(), text);
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
                if text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"') {
                    text.push(' ');
                }
                text.push_str(&word);
            }
        }
    }
}
