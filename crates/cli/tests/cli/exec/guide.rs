//! The guide for users of GNU parallel: every block of it, as it stands there.

use std::process::{Command, Stdio};

use crate::harness::{Folder, Ran};

const GUIDE: &str = include_str!("../../../../../docs/from-gnu-parallel.md");

#[test]
fn every_block_prints_what_stands_under_it() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_taskloom")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for block in GUIDE.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        // A prompt is one at the start of a line.
        for part in format!("\n{block}").split("\n$ ").skip(1) {
            let (typed, expected) = part.split_once('\n').unwrap_or((part, ""));
            let expected = format!("{}\n", expected.trim_end());
            let folder =
                Folder::new().with("a.txt", "one\n").with("b.txt", "two\nthree\n").with("list", "a.txt\nb.txt\n");
            let mut shell = Command::new("sh");
            shell
                .args(["-c", typed])
                .current_dir(folder.path())
                .env("PATH", &path)
                .env("TASKLOOM_RECORD", "none")
                .stdin(Stdio::null());
            let ran = Ran::of(typed, shell.output().unwrap()).code(0);
            assert_eq!(ran.out, expected, "{typed}\n{}", ran.err);
            commands += 1;
        }
    }
    assert!(commands >= 10, "{commands} commands");
}
