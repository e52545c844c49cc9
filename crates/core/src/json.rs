//! Arguments from JSON text, with the place of what does not fit.

use serde_json::value::RawValue;

use crate::{
    codec::Data,
    registry::{JsonFault, Param},
};

/// The texts of a task's arguments, cut out of one JSON text but not parsed yet. Used by `#[task]`.
#[derive(Debug)]
pub struct JsonArgs<'t> {
    whole: &'t str,
    /// In the order of the arguments. Empty for a single one, which is the whole text.
    texts: Vec<&'t str>,
    params: &'static [Param],
}

impl<'t> JsonArgs<'t> {
    /// Cuts `text` up: one argument is the value itself, several are an object by name, none is `null`, `{}` or `[]`.
    ///
    /// # Errors
    /// If the text is not JSON, is no object, or names too few or other arguments. A single argument is looked at when it is
    /// taken.
    pub fn split(text: &'t str, params: &'static [Param]) -> Result<Self, JsonFault> {
        if let [_] = params {
            return Ok(Self { whole: text, texts: Vec::new(), params });
        }
        let whole = raw(text)?;
        let mut texts = Vec::with_capacity(params.len());
        match params {
            [] => {
                if !matches!(whole.get(), "null" | "{}" | "[]") {
                    return Err(JsonFault::new("takes no argument: expected `null` or `{}`"));
                }
            }
            _ => {
                let fields: Vec<(String, &RawValue)> =
                    serde_json::from_str::<Fields<'t>>(whole.get()).map_err(|_| object_expected(params))?.0;
                if let Some((other, _)) = fields.iter().find(|(name, _)| params.iter().all(|p| p.name != name)) {
                    return Err(JsonFault::new(format!("has no argument `{other}`: {}", listed(params))));
                }
                for param in params {
                    // The last of two equal names counts, as in JSON.parse.
                    let found = fields.iter().rev().find(|(name, _)| name == param.name);
                    let missing = || JsonFault {
                        param: Some(param.name),
                        offset: None,
                        message: format!("missing; expected {}", param.ty),
                    };
                    texts.push(match found {
                        Some((_, raw)) => raw.get(),
                        // An optional argument may be left out, as serde's derive has it.
                        None if param.ty.starts_with("Option") => "null",
                        None => return Err(missing()),
                    });
                }
            }
        }
        Ok(Self { whole: text, texts, params })
    }

    /// Parses argument number `i`.
    ///
    /// # Errors
    /// Names the argument, its place in the text, and what was expected.
    pub fn take<T: Data>(&self, i: usize) -> Result<T, JsonFault> {
        let text = self.texts.get(i).copied().unwrap_or(self.whole);
        T::from_json(text).or_else(|e| {
            // Places are counted from the start of the value.
            let text = if self.texts.is_empty() { raw(text)?.get() } else { text };
            let e = T::from_json(text).err().unwrap_or(e);
            // `text` is a slice of `whole` or a literal; only the first has a place.
            let start =
                (text.as_ptr() as usize).checked_sub(self.whole.as_ptr() as usize).filter(|&at| at <= self.whole.len());
            // serde counts a wrong value's end; its start is where the reader looks. Inside a longer value the reported place is nearer.
            let inside = if text.starts_with(['{', '[']) { column_offset(text, &e) } else { 0 };
            Err(JsonFault {
                param: Some(self.params[i].name),
                offset: start.map(|at| at + inside),
                message: without_place(&e),
            })
        })
    }
}

/// The value in this text, without white space around it.
fn raw(text: &str) -> Result<&RawValue, JsonFault> {
    serde_json::from_str(text).map_err(|e| JsonFault::not_json(text, &e))
}

struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> serde::Deserialize<'de> for Fields<'t> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn object_expected(params: &[Param]) -> JsonFault {
    JsonFault { param: None, offset: Some(0), message: format!("expected an object, {}", listed(params)) }
}

fn listed(params: &[Param]) -> String {
    let names: Vec<_> = params.iter().map(|p| format!("`{}`: {}", p.name, p.ty)).collect();
    format!("the arguments are {}", names.join(", "))
}

impl JsonFault {
    /// This text is not JSON at all, as this error of its parser says.
    pub fn not_json(text: &str, error: &serde_json::Error) -> Self {
        let message = format!("not valid JSON: {}", without_place(error));
        Self { param: None, offset: Some(column_offset(text, error)), message }
    }
}

/// serde_json's lines and columns count from 1, columns in bytes; 0 stands for "before the first".
fn column_offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[Param] = &[Param { name: "path", ty: "String" }];
    const TWO: &[Param] = &[Param { name: "path", ty: "String" }, Param { name: "w", ty: "u32" }];
    const OPTIONAL: &[Param] = &[Param { name: "a", ty: "u32" }, Param { name: "b", ty: "Option<u32>" }];

    fn fault<T>(done: Result<T, JsonFault>) -> JsonFault {
        done.err().expect("the text was accepted")
    }

    #[test]
    fn one_argument_is_the_value_itself() {
        assert_eq!(JsonArgs::split(" \"a b\" ", ONE).and_then(|args| args.take::<String>(0)), Ok("a b".to_owned()));
    }

    #[test]
    fn several_arguments_are_an_object_in_any_order() {
        let args = JsonArgs::split(r#"{"w": 7, "path": "x"}"#, TWO).expect("these are the arguments");
        assert_eq!((args.take::<String>(0), args.take::<u32>(1)), (Ok("x".to_owned()), Ok(7)));
    }

    #[test]
    fn optional_arguments_may_be_left_out_and_others_may_not() {
        let args = JsonArgs::split(r#"{"a": 1}"#, OPTIONAL).expect("b is optional");
        assert_eq!(args.take::<Option<u32>>(1), Ok(None));
        let missing = fault(JsonArgs::split(r#"{"path": "x"}"#, TWO));
        assert_eq!((missing.param, &*missing.message), (Some("w"), "missing; expected u32"));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_column() {
        let text = r#"{"path": "q.png", "w": "wide"}"#;
        let wrong = fault(JsonArgs::split(text, TWO).and_then(|args| args.take::<u32>(1)));
        assert_eq!((wrong.param, wrong.offset), (Some("w"), text.find("\"wide\"")));
        assert_eq!(wrong.message, "invalid type: string \"wide\", expected u32");
    }

    #[test]
    fn broken_json_is_named_with_its_column() {
        let text = r#"{"path": "q.png", "w": }"#;
        let broken = fault(JsonArgs::split(text, TWO));
        assert_eq!((broken.offset, &*broken.message), (text.find('}'), "not valid JSON: expected value"));
        let taken = |text| fault(JsonArgs::split(text, ONE).and_then(|args| args.take::<String>(0)));
        let broken = taken(" x");
        assert_eq!((broken.param, broken.offset, &*broken.message), (None, Some(1), "not valid JSON: expected value"));
        let wrong = taken("  [1]");
        assert_eq!((wrong.param, wrong.offset), (Some("path"), Some(2)));
    }

    #[test]
    fn unknown_arguments_and_other_shapes_list_the_right_ones() {
        let other = fault(JsonArgs::split(r#"{"path": "x", "w": 1, "h": 2}"#, TWO));
        assert_eq!(other.message, "has no argument `h`: the arguments are `path`: String, `w`: u32");
        assert_eq!(
            fault(JsonArgs::split("[1]", TWO)).message,
            "expected an object, the arguments are `path`: String, `w`: u32"
        );
        assert!(JsonArgs::split("null", &[]).is_ok());
        assert_eq!(fault(JsonArgs::split("1", &[])).message, "takes no argument: expected `null` or `{}`");
    }
}
