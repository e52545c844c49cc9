//! The README's table of backends says what the code declares.
//!
//! `cargo xtask check --fix table` writes it anew. The words are here, once; which of them stands where is decided by
//! each pool's capabilities.

use std::{fs, path::Path};

use taskloom::Capabilities;

taskloom::test_support!();

/// One row: what is asked, and what a backend with these capabilities answers.
type Row = (&'static str, fn(&Capabilities) -> &'static str);

const ROWS: &[Row] = &[
    ("runs tasks", |can| match (can.runs_at_submission, can.isolates) {
        (true, _) => "at submission, in the caller",
        (false, false) => "on threads of this process",
        (false, true) => "in worker processes",
    }),
    ("takes closures", |can| if can.encodes { "no: compile error" } else { "yes" }),
    ("encodes arguments", |can| if can.encodes { "always" } else { "only in checked mode" }),
    ("a crash, `exit` or abort costs", |can| if can.isolates { "its task" } else { "the program" }),
    ("a running task can be stopped", |can| match (can.kills, can.abandons) {
        (true, _) => "killed, with its children",
        (false, true) => "left behind, its handle resolves in time",
        (false, false) => "if it looks at its context",
    }),
    ("a task may wait for tasks of its own pool", |can| yes(can.nests)),
    ("a task's memory can be limited", |can| yes(can.limits_memory)),
    ("workers can be replaced by age or size", |can| yes(can.recycles)),
    ("what a task prints can be kept for its outcome", |can| yes(can.captures_output)),
    ("workers can be more or fewer; idle ones can leave", |can| yes(can.resizes)),
];

const BEGIN: &str = "<!-- What each backend declares; `cargo xtask check --fix table` writes it. -->\n";
const END: &str = "<!-- The end of what is written. -->\n";

/// Set to write the table instead of comparing it.
const WRITE: &str = "TASKLOOM_WRITE_TABLE";

fn yes(can: bool) -> &'static str {
    if can { "yes" } else { "no" }
}

#[test]
fn the_readme_says_what_the_code_declares() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md");
    let readme = fs::read_to_string(&path).expect("the README can be read");
    let (before, rest) = readme.split_once(BEGIN).expect("the README says where its table begins");
    let (shown, after) = rest.split_once(END).expect("the README says where its table ends");
    let declared = table();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{before}{BEGIN}{declared}{END}{after}")).expect("the README can be written");
        return;
    }
    assert!(shown == declared, "the README shows\n{shown}\nbut the code declares\n{declared}");
}

fn table() -> String {
    let pools: Vec<Capabilities> = taskloom::backends()
        .iter()
        .map(|(name, _)| {
            let builder = taskloom::pool(name).expect("every backend is compiled in here");
            builder.workers(1).build().expect("a pool of one can be built").capabilities()
        })
        .collect();
    let row = |first: &str, cell: &dyn Fn(&Capabilities) -> String| {
        pools.iter().fold(format!("| {first} |"), |row, can| format!("{row} {} |", cell(can))) + "\n"
    };
    let head = row("", &|can| format!("`{}`", can.name)).replacen("|  |", "| |", 1);
    let rule = format!("|{}\n", "---|".repeat(pools.len() + 1));
    ROWS.iter().fold(head + &rule, |table, (what, answer)| table + &row(what, &|can| answer(can).to_owned()))
}
