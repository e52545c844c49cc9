//! Tasks looked up by name at run time: JSON in, JSON out. What the command line submits.

use crate::{
    codec::{CodecFault, Encoded, Payload},
    context::Context,
    error::{CodecError, CodecStage, TaskError},
    failure::Failure,
    registry::{JsonFault, Registry, TaskDef},
    task::{ByName, Task},
};

/// A registered task with its arguments already written. Its output is JSON.
#[derive(Debug, Clone)]
pub struct NamedTask {
    slot: u32,
    def: &'static TaskDef,
    args: Payload,
}

impl NamedTask {
    /// The task in `slot` of the registry with arguments from JSON text: one argument is the value
    /// itself, several are an object by name.
    ///
    /// # Errors
    /// Names the argument, the place in the text and what was expected.
    pub fn from_json(slot: u32, text: &str) -> Result<Self, JsonFault> {
        let def = Registry::get().at(slot).map_err(|e| JsonFault::new(e.to_string()))?;
        Ok(Self { slot, def, args: def.args_from_json(text)? })
    }

    pub(crate) fn from_args(slot: u32, args: Payload) -> Result<Self, TaskError> {
        Ok(Self { slot, def: Registry::get().at(slot)?, args })
    }

    /// The task's definition.
    pub fn def(&self) -> &'static TaskDef {
        self.def
    }
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }
    pub(crate) fn args(&self) -> &Payload {
        &self.args
    }

    pub(crate) fn output_to_json(slot: u32, from: Encoded<'_>) -> Result<serde_json::Value, TaskError> {
        let def = Registry::get().at(slot)?;
        let fault = |fault: CodecFault| CodecError::new(CodecStage::DecodeResult, def.name(), fault);
        Ok(def.output_to_json(from).map_err(fault)?)
    }
}

impl Task for NamedTask {
    type Output = serde_json::Value;
    type Reach = ByName;
    fn run(self, cx: &Context) -> Result<serde_json::Value, Failure> {
        // In process a named task still goes through bytes: JSON cannot be made from a type known only by name.
        // A failure that is not the task's own travels as an `Escaped` outcome, so that `Failed` stays the task's word.
        let mut out = Payload::with_bodies();
        let (args, bodies) = self.args.into_parts();
        let done = self.def.run(Encoded::new(&args, bodies), cx, &mut out).and_then(|()| {
            let (bytes, bodies) = out.into_parts();
            Self::output_to_json(self.slot, Encoded::new(&bytes, bodies))
        });
        done.map_err(|error| match error {
            TaskError::Failed(failure) => *failure,
            other => cx.escape(other),
        })
    }
}
