//! How an input becomes a task.

use serde_json::Value;
use taskloom::{JsonFault, NamedTask, TaskDef};

use crate::{
    input::{Text, not_utf8},
    words,
};

/// A task that inputs become arguments of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    pub(crate) slot: u32,
    pub(crate) def: &'static TaskDef,
}

impl Fit {
    /// The task with this input as its arguments.
    pub(crate) fn task(&self, text: &Text) -> Result<NamedTask, JsonFault> {
        match text {
            Text::Json(text) => NamedTask::from_json(self.slot, text),
            // A string where a string fits. Else a line may be a number, or an object with the arguments by name.
            Text::Plain(text) => {
                let quoted = Value::from(&**text).to_string();
                NamedTask::from_json(self.slot, &quoted)
                    .or_else(|fault| NamedTask::from_json(self.slot, text).map_err(|_| self.of_plain(fault, text)))
            }
            Text::Bytes(bytes) | Text::BadJson(bytes) => Err(not_utf8(bytes)),
            Text::Several(_) => Err(JsonFault::new("several values where a task takes one input")),
        }
    }

    /// A place in the quoted text is none in the line.
    fn of_plain(&self, mut fault: JsonFault, text: &str) -> JsonFault {
        fault.offset = Some(0);
        if let ([param], true) = (self.def.params(), fault.message.contains("invalid type: string")) {
            fault.message = format!("expected {}, found `{}`", param.ty, words::shown(text, 30));
        }
        fault
    }
}
