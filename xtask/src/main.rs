//! The tasks of this repository, started with `cargo xtask TASK`.
//!
//! ```text
//! word ── main ──▶ one function, in the file of that name ──▶ exit code
//!                        │
//!                        └── workspace, metadata, source: what several tasks read
//! ```
//!
//! Nothing here is needed to use or to build Taskloom, and nothing here reaches for the network beyond what cargo
//! does to build the same code.

#![forbid(unsafe_code)]

mod bench;
mod chaos;
mod check;
mod demo;
mod metadata;
mod source;
mod test;
mod tsan;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask TASK [ARGS…]

  demo [ARGS…]                  build the release binary and run `taskloom demo ARGS`
  test [--quick] [ARGS…]        all tests, doc tests included; --quick leaves out doc tests and examples;
                                ARGS go to `cargo test`
  check [--fix] [--list] [NAME…]
                                everything that has to hold besides the tests; --fix formats and repairs first,
                                --list names the checks, NAME runs only those
  bench [--quick] [--only NAME] [--json FILE] [--markdown]
                                ours beside peers and limits, in a release build; NAME is P1 to P14 or a word,
                                --markdown writes the table of docs/performance.md
  chaos [--minutes N] [--seed S] [--round K] [--verbose]
                                kills, stops and garbles worker processes at random places of the protocol, and checks
                                that nothing is lost, run twice or left; 1 minute unless told otherwise
  tsan [ARGS…]                  the tests of core and threads under ThreadSanitizer; needs the component rust-src
  help                          this text";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_else(|| "help".to_owned());
    let args: Vec<String> = args.collect();
    let workspace = Workspace::here();

    let result = match task.as_str() {
        "demo" => demo::run(&workspace, &args),
        "test" => test::run(&workspace, &args),
        "check" => check::run(&workspace, &args),
        "bench" => bench::run(&workspace, &args),
        "chaos" => chaos::run(&workspace, &args),
        "tsan" => tsan::run(&workspace, &args),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        unknown => {
            eprintln!("error: there is no task `{unknown}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
