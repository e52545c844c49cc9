//! A program of somebody else's, with tasks of its own and one line in `main`: it has the commands over its tasks.
//!
//! This test is that program. Started by cargo it starts itself again, with what a user would type.

use std::process::Command;

use taskloom::task;
use taskloom_cli::Extra;

/// Doubles a number.
#[task]
fn double(n: u64) -> u64 {
    2 * n
}

mod other {
    /// Another one of that name.
    #[taskloom::task]
    pub(crate) fn double(n: f64) -> f64 {
        2.0 * n
    }
}

/// Makes what a worker keeps.
#[task(state)]
fn keeps(n: u64) -> u64 {
    n
}

/// Says that this process is the program and not the test. Workers inherit it.
const PROGRAM: &str = "OWN_PROGRAM";

fn main() {
    if std::env::var_os(PROGRAM).is_some() {
        taskloom_cli::main_with(vec![Extra { command: clap::Command::new("fault"), run: |_| panic!("a fault") }])
    }
    assert_eq!(double(2), 4);
    assert_eq!(other::double(0.5), 1.0);

    let (out, _) = typed("tasks", 0);
    assert!(out.contains("own_program::double(n)") && out.contains("own_program::other::double(n)"), "{out}");
    assert!(!out.contains("spin"), "the tasks of the `taskloom` program are its own: {out}");

    for backend in ["inline", "threads", "procs"] {
        let (out, _) = typed(&format!("run own_program::double --range 0..4 -k -b {backend}"), 0);
        assert_eq!(out, "0\n2\n4\n6\n", "{backend}");
    }

    let (_, err) = typed("run double --range 0..4", 2);
    assert!(err.contains("error: `double` is the name of several tasks\n  own_program::double ("), "{err}");
    assert!(err.contains("help: write more of the name, from the left"), "{err}");
    let (out, err) = typed("run keeps --range 0..4", 2);
    assert_eq!((&*out, &*err), ("", "error: `keeps` makes a worker's state and cannot be run by name\n"));
    assert!(!typed("tasks", 0).0.contains("keeps") && typed("tasks keeps", 0).0.contains("makes a worker's state"));

    assert!(typed("fault", 101).1.contains("a fault"), "a fault of the program itself");

    println!("a program of somebody else's has the commands over its tasks: ok");
}

fn typed(words: &str, code: i32) -> (String, String) {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(words.split(' '))
        .env(PROGRAM, "1")
        .env("TASKLOOM_RECORD", "none")
        .output()
        .expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words}:\n{out}\n{err}");
    (out, err)
}
