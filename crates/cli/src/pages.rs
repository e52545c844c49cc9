//! What shells and `man` want to know of the commands.

use std::{fs, path::Path};

use clap::Command;

use crate::{Output, Stop, args::CompletionsArgs, program, words};

/// Writes a script that completes words.
pub(crate) fn completions(args: &CompletionsArgs, mut grammar: Command) -> Result<(), Stop> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar, program(), &mut script);
    let mut out = Output::stdout();
    out.bytes(&script)?;
    out.flush()
}

/// Writes manual pages.
pub(crate) fn man(dir: Option<&Path>, grammar: Command) -> Result<(), Stop> {
    let failed = |to: &str, error| Stop::not_written(&words::shown(to, 200), &error);
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(grammar).render(&mut page).map_err(|error| failed("standard output", error))?;
        let mut out = Output::stdout();
        out.bytes(&page)?;
        return out.flush();
    };
    let made = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(grammar, dir));
    made.map_err(|error| failed(&dir.to_string_lossy(), error))
}
