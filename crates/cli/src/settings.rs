//! What somebody set once and does not type each time: a flag, then a `TASKLOOM_*` variable, then the project's file, then
//! the user's, then the default.

use std::{
    env, fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde::Deserialize;

use crate::{Stop, words};

/// The name of a project's file: in the current folder, or the nearest above it.
const PROJECT: &str = "taskloom.toml";

/// What can be set.
pub(crate) const NAMES: [&str; 7] = ["backend", "workers", "color", "record", "keep_runs", "keep_age", "keep_size"];

/// What a file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    backend: Option<String>,
    workers: Option<Number>,
    color: Option<String>,
    record: Option<String>,
    keep_runs: Option<Number>,
    keep_age: Option<String>,
    keep_size: Option<String>,
}

/// `4`, or `"50%"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

impl Number {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Variable(String),
    File(&'static str, PathBuf),
    Default,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(whose, path) => write!(f, "{whose} file {}", words::shown(&path.to_string_lossy(), 200)),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Debug)]
struct Files {
    project: Option<(PathBuf, File)>,
    user: Option<(PathBuf, File)>,
}

/// The value of one of the settings that was not typed, and where it comes from.
pub(crate) fn get(name: &str) -> Result<(Option<String>, From), Stop> {
    static FILES: OnceLock<Result<Files, Stop>> = OnceLock::new();
    let variable = format!("TASKLOOM_{}", name.to_uppercase());
    if let Ok(value) = env::var(&variable)
        && !value.is_empty()
    {
        return Ok((Some(value), From::Variable(variable)));
    }
    let files = FILES.get_or_init(read).as_ref().map_err(Clone::clone)?;
    for (whose, file) in [("project", &files.project), ("user", &files.user)] {
        if let Some((path, file)) = file
            && let Some(value) = file.get(name)
        {
            return Ok((Some(value), From::File(whose, path.clone())));
        }
    }
    Ok((None, From::Default))
}

/// What was typed, or else is set.
pub(crate) fn or_set(typed: Option<&str>, name: &str) -> Result<Option<String>, Stop> {
    match typed {
        Some(typed) => Ok(Some(typed.to_owned())),
        None => get(name).map(|(value, _)| value),
    }
}

impl File {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "backend" => self.backend.clone(),
            "color" => self.color.clone(),
            "record" => self.record.clone(),
            "keep_age" => self.keep_age.clone(),
            "keep_size" => self.keep_size.clone(),
            "keep_runs" => self.keep_runs.as_ref().map(Number::text),
            _ => self.workers.as_ref().map(Number::text),
        }
    }
}

fn read() -> Result<Files, Stop> {
    let here = env::current_dir().unwrap_or_default();
    let project = here.ancestors().map(|folder| folder.join(PROJECT)).find(|path| path.is_file());
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config =
        set("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")));
    let user = config.map(|config| config.join("taskloom/config.toml"));
    let load =
        |path: Option<PathBuf>| path.map(|path| parse(&path).map(|file| file.map(|file| (path, file)))).transpose();
    Ok(Files { project: load(project)?.flatten(), user: load(user)?.flatten() })
}

fn parse(path: &Path) -> Result<Option<File>, Stop> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(crate::input::cannot_read(path, &error)),
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        let shown = words::shown(&path.to_string_lossy(), 200);
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        Stop::usage("bad-settings", format!("{shown}:{line}: {}", words::shown(error.message(), 200)))
            .help(format!("settings are {}", NAMES.map(|name| format!("`{name}`")).join(", ")))
    })
}
