use std::path::Path;

use taskloom_core::{Context, task};

#[task]
fn count(path: &Path) -> u64 {
    path.as_os_str().len() as u64
}

#[task]
fn words(cx: &Context, lines: &[&'static str]) -> usize {
    lines.len() + cx.attempt() as usize
}

#[task]
fn nested(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

#[task(local)]
fn name(text: &String) -> usize {
    text.len()
}

fn main() {
    let _ = (count::task(Path::new("a")), words::task(&[]), nested::task(None::<&str>), name::task(&String::new()));
}
