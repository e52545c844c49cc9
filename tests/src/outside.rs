//! Crates outside the workspace, as users have them: copied to a folder of their own, and built there. The build is kept
//! between runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Builds a program of `tests/outside`, and says where it is. `folder` is `env!("CARGO_TARGET_TMPDIR")`, which only files
/// of tests know; `options` are cargo's.
pub fn build(folder: &str, program: &str, options: &[&str]) -> PathBuf {
    let workspace = workspace(folder);
    let target = workspace.join("target");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--package", program])
        .args(options)
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo can be started");
    assert!(built.status.success(), "{program}: {}\n{}", built.status, String::from_utf8_lossy(&built.stderr));
    target.join("debug").join(program)
}

/// Runs a program that has been built, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be started");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text").trim().to_owned()
}

/// The copy, made once for all tests of a program.
fn workspace(folder: &str) -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().expect("the package is in the workspace");
        let copy = Path::new(folder).join("outside");
        copy_tree(&here.join("outside"), &copy, &root.join("crates"));
        // The versions that the workspace was tested with, and no look at the registry.
        let lock = fs::read_to_string(root.join("Cargo.lock")).expect("the lock file can be read");
        write_if_new(&copy.join("Cargo.lock"), &lock);
        copy
    })
}

fn copy_tree(from: &Path, to: &Path, crates: &Path) {
    fs::create_dir_all(to).expect("the copy's folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("its entries can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target, crates);
        } else {
            let text = fs::read_to_string(entry.path()).expect("it is text");
            write_if_new(&target, &text.replace("@CRATES@", &crates.to_string_lossy()));
        }
    }
}

/// A file that is touched is a file that cargo builds anew.
fn write_if_new(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).expect("the copy can be written");
    }
}
