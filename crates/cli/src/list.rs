//! `tasks`: what can be run.

use serde_json::{Value, json};
use taskloom::{Registry, TaskDef};

use crate::{Output, Stop, args::TasksArgs, plan, program, words};

/// Width of the list, for terminals of 80 columns.
const WIDTH: usize = 79;
/// Widest first column; a longer entry pushes the rest of its line to the right.
const WIDEST: usize = 36;

/// Lists all tasks, or shows one.
pub(crate) fn run(args: &TasksArgs) -> Result<(), Stop> {
    let registry = Registry::get();
    let mut out = Output::stdout();
    let lines = match (&args.name, args.json) {
        (Some(name), true) => vec![one_json(plan::task(name)?.def).to_string()],
        (Some(name), false) => one(plan::task(name)?.def),
        (None, true) => {
            let tasks: Vec<_> = registry.tasks().iter().map(|def| about(def)).collect();
            vec![json!({ "v": 1, "tasks": tasks }).to_string()]
        }
        (None, false) => {
            let tasks = registry.tasks().iter().copied();
            all(&tasks.filter(|def| !def.makes_state()).collect::<Vec<_>>())
        }
    };
    for line in lines {
        out.line(line)?;
    }
    out.flush()
}

fn all(tasks: &[&'static TaskDef]) -> Vec<String> {
    if tasks.is_empty() {
        return vec!["no tasks: a library of tasks is linked only if something mentions it".to_owned()];
    }
    let short = |def: &TaskDef| tasks.iter().filter(|other| other.short_name() == def.short_name()).count() == 1;
    let names = |def: &&'static TaskDef| if short(def) { def.short_name() } else { def.name() };
    let entries: Vec<_> = tasks.iter().map(|def| signature(names(def), def)).collect();
    let column =
        2 + entries.iter().map(|entry| entry.chars().count()).filter(|&width| width <= WIDEST).max().unwrap_or(0);
    let mut lines: Vec<_> = entries.iter().zip(tasks).map(|(entry, def)| line(entry, def.doc(), column)).collect();
    lines.push(String::new());
    let program = program();
    let example = names(&tasks[0]);
    lines.push(format!("`{program} tasks {example}` shows one; `{program} run {example} -i inputs.jsonl` runs it"));
    lines
}

fn line(entry: &str, doc: &str, column: usize) -> String {
    // The first sentence, up to where it goes into detail.
    let doc = doc.replace('\n', " ");
    let doc = doc.split(". ").next().unwrap_or_default().trim_end_matches('.');
    let start = column.max(entry.chars().count() + 2);
    format!("{entry:<start$}{}", words::shown(doc, WIDTH.saturating_sub(start + 1).max(20))).trim_end().to_owned()
}

fn signature(name: &str, def: &TaskDef) -> String {
    let params: Vec<_> = def.params().iter().map(|param| param.name).collect();
    format!("{name}({})", params.join(", "))
}

fn one(def: &'static TaskDef) -> Vec<String> {
    let place = def.place();
    let mut lines = vec![def.name().to_owned()];
    lines.extend(def.doc().lines().map(|line| format!("  {line}")));
    lines.push(String::new());
    let widest = def.params().iter().map(|param| param.name.len()).max().unwrap_or(0);
    lines.extend(def.params().iter().map(|param| format!("  {:<widest$}  {}", param.name, param.ty)));
    lines.push(format!("  {:<widest$}  {}", "->", def.output()));
    lines.push(String::new());
    lines.push(match def.makes_state() {
        true => "makes a worker's state, for the pool's builder: it cannot be run by name".to_owned(),
        false => format!("one input, as a line of JSON: {}", example(def)),
    });
    let version = if def.version() == 0 { String::new() } else { format!(", version {}", def.version()) };
    lines.push(format!("{}:{}, {} {}{version}", place.file, place.line, place.package.0, place.package.1));
    lines
}

/// One line of input with a value of the right shape, as far as a type's name tells.
fn example(def: &TaskDef) -> Value {
    let value = |ty: &str| match ty.trim_start_matches("std::").rsplit("::").next().unwrap_or(ty) {
        "String" | "PathBuf" => json!("text"),
        "bool" => json!(true),
        "f32" | "f64" => json!(0.5),
        "()" => json!(null),
        ty if ty.starts_with("Vec") => json!([]),
        ty if ty.starts_with("Option") => json!(null),
        ty if ty.starts_with(['u', 'i']) && ty[1..].parse::<u8>().is_ok() => json!(1),
        "usize" | "isize" => json!(1),
        ty => json!(format!("<{ty}>")),
    };
    match def.params() {
        [] => json!(null),
        [param] => value(param.ty),
        params => params.iter().map(|param| (param.name.to_owned(), value(param.ty))).collect(),
    }
}

fn one_json(def: &'static TaskDef) -> Value {
    let mut about = about(def);
    about["v"] = 1.into();
    about
}

fn about(def: &TaskDef) -> Value {
    let place = def.place();
    let params: Vec<_> = def.params().iter().map(|param| json!({ "name": param.name, "type": param.ty })).collect();
    json!({
        "name": def.name(), "short_name": def.short_name(), "version": def.version(), "params": params,
        "output": def.output(), "doc": def.doc(), "file": place.file, "line": place.line,
        "package": place.package.0, "package_version": place.package.1, "makes_state": def.makes_state(),
    })
}
