//! `doctor`: cores, memory, backends and settings as this program sees them.

use std::fs;

use serde_json::json;

use crate::{Output, Stop, event::Event, record::Limits, settings, terminal, values, words};

pub(crate) fn run(json: bool) -> Result<(), Stop> {
    let usable = values::workers(None)?;
    let all = cores().unwrap_or(usable);
    let free = field("/proc/meminfo", "MemAvailable:");
    let limit = memory_limit();
    let backends = taskloom::backends();
    let mut settings = Vec::new();
    for name in settings::NAMES {
        let (value, from) = settings::get(name)?;
        let default = match name {
            "workers" => usable.to_string(),
            "backend" => crate::plan::backend(None, backends)?.to_owned(),
            "record" => "on".to_owned(),
            "keep_runs" => Limits::RUNS.to_owned(),
            "keep_age" => Limits::AGE.to_owned(),
            "keep_size" => Limits::SIZE.to_owned(),
            _ => "auto".to_owned(),
        };
        settings.push((name, value.unwrap_or(default), from.to_string()));
    }
    let mut out = Output::stdout();
    if json {
        let backends: Vec<_> =
            backends.iter().map(|(name, there)| json!({ "name": name, "available": there })).collect();
        let settings: Vec<_> =
            settings.iter().map(|(name, value, from)| json!({ "name": name, "value": value, "from": from })).collect();
        let event = Event::new("doctor").with("cores", usable).with("cores_in_all", all).with("memory_free", free);
        let event = event.with("memory_limit", limit).with("backends", backends).with("settings", settings);
        out.line(event.to_string())?;
        return out.flush();
    }
    let why = if usable < all { format!(" of {all} (affinity or cgroup quota)") } else { String::new() };
    let free = free.map_or("unknown".to_owned(), |free| format!("{} free", words::size(free)));
    let limit = limit.map_or(String::new(), |limit| format!(", limit {} (cgroup)", words::size(limit)));
    let there = |there: &bool| if *there { "ok" } else { "no: this binary was built without it" };
    let backends: Vec<_> = backends.iter().map(|(name, is)| format!("{name} {}", there(is))).collect();
    let settings: Vec<_> = settings.iter().map(|(name, value, from)| format!("{name} {value} ({from})")).collect();
    let rows = [
        ("cores", format!("{usable} usable{why}")),
        ("memory", format!("{free}{limit}")),
        ("backends", backends.join(", ")),
        ("settings", settings.join(", ")),
    ];
    for (name, text) in rows {
        out.line(terminal::for_locale(&format!("{name:<10} {}", words::shown(&text, 2000))))?;
    }
    out.flush()
}

/// The cores of the machine that are on.
fn cores() -> Option<usize> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|count| *count > 0)
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The lowest limit of this process's control group and those above it.
fn memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = std::path::Path::new("/sys/fs/cgroup").join(path);
    let limit = |folder: &std::path::Path| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok();
    group.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup")).filter_map(limit).min()
}
