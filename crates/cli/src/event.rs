//! One line of an event stream: a JSON object whose fields stay in the order in which they were added.

use std::fmt;

use serde::Serialize;

/// An event under way: `{"v":1,"event":"…"` so far.
#[derive(Debug)]
pub(crate) struct Event(String);

impl Event {
    pub(crate) fn new(name: &str) -> Self {
        Self("{\"v\":1".to_owned()).with("event", name)
    }

    /// Adds a field.
    pub(crate) fn with(mut self, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        self.0.push_str(&format!(",\"{key}\":{value}"));
        self
    }

    /// Adds a field if there is something to add.
    pub(crate) fn with_some(self, key: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}}}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order() {
        let event = Event::new("x").with("b", 1).with_some("a", Some("\"")).with_some("c", None::<u8>);
        assert_eq!(event.to_string(), r#"{"v":1,"event":"x","b":1,"a":"\""}"#);
    }
}
