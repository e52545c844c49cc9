//! Crates outside the workspace, as users have them, compile and run: on single crates, on the facade with chosen
//! features, with tasks in a library, under another name. They are copied to a folder of their own first.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The copy, made once for all tests here. Its build is kept between runs.
fn workspace() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().expect("the package is in the workspace");
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
        copy_tree(&here.join("outside"), &copy, &root.join("crates"));
        // The versions that the workspace was tested with, and no look at the registry.
        fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).expect("the lock file can be copied");
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
            fs::write(target, text.replace("@CRATES@", &crates.to_string_lossy())).expect("the copy can be written");
        }
    }
}

/// Runs a program of that workspace, and gives what it printed.
fn run(program: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--package", program])
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", workspace().join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{program}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text").trim().to_owned()
}

#[test]
fn core_and_procs_alone() {
    assert_eq!(run("single"), "single: 42");
}

#[test]
fn the_facade_with_procs_and_without_threads() {
    assert_eq!(run("facade"), "facade: task failed: No such file or directory (os error 2)");
}

#[test]
fn tasks_in_a_library_run_from_a_binary_on_every_backend() {
    assert_eq!(run("binary"), "binary: [9900, 9900, 9900]");
}

#[test]
fn the_facade_under_another_name() {
    assert_eq!(run("renamed"), "renamed: hello, you");
}
