//! What would be run, and where.

use serde_json::Value;

use crate::{
    Stop,
    dry_run::{self, Would},
    event::Event,
    input::Text,
    plan::Plan,
};

/// Says what would be run, once it is known that it could be.
pub(crate) fn dry_run(plan: &Plan) -> Result<u8, Stop> {
    plan.pool()?;
    let name = plan.fit.def.short_name();
    dry_run::run(&plan.facts(), &plan.feed, plan.show.json, |number, input| {
        plan.fit.task(&input.text)?;
        let text = input.text.as_shown();
        let line = format!("{name} {text}").trim_end().as_bytes().to_vec();
        let value = serde_json::from_str(&text).ok().filter(|_| matches!(input.text, Text::Json(_)));
        let event = Event::new("would-run").with("index", number).with("task", name);
        Ok(Would { line, event: event.with("input", value.unwrap_or(Value::String(text))) })
    })
}
