//! Short tasks that go together: what is promised of each input holds in company too.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
};

use crate::harness::{Folder, Ran, send};

/// Files that are there, but for each seventh; and their names, a line each.
fn files(count: usize) -> (Folder, String) {
    let mut folder = Folder::new();
    let mut names = String::new();
    for number in 0..count {
        let name = format!("f{number}");
        if number % 7 != 3 {
            folder = folder.with(&name, "x".repeat(number));
        }
        names += &(name + "\n");
    }
    (folder.with("names", &names), names)
}

fn sizes(out: &str) -> Vec<usize> {
    let size = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["bytes"].as_u64().unwrap();
    out.lines().map(|line| size(line) as usize).collect()
}

#[test]
fn what_fails_in_company_costs_its_input_alone_and_runs_again() {
    for options in ["-b threads --chunk 8 -k", "-b procs --chunk 30 -k", "-b threads -k", "-b procs --chunk 1 -k"] {
        let (folder, _) = files(100);
        let there = |number: &usize| number % 7 != 3;
        let ran = folder.recorded(&format!("run count_words --lines names -o out {options}")).code(100);
        ran.says("100 inputs: 86 ok, 14 failed").says("    FAIL  #4 count_words f3  names:4\n").says("and 4 more\n");
        let out = || sizes(&fs::read_to_string(folder.path().join("out")).unwrap());
        assert_eq!(out(), (0..100).filter(there).collect::<Vec<_>>(), "{options}");
        let shown = folder.recorded("runs show").code(0).out;
        assert!(shown.contains("86 of 100 ok, 14 failed;"), "{options}: {shown}");
        (0..100)
            .filter(|number| !there(number))
            .for_each(|n| fs::write(folder.path().join(format!("f{n}")), "").unwrap());
        let id = shown.split_whitespace().nth(1).unwrap().to_owned();
        folder.recorded(&format!("runs resume {id}")).code(0).says("14 of 100 left").says("14 ok, 86 done before");
        assert_eq!(out().len(), 100, "{options}");
        let shown = folder.recorded("runs show").code(0).out;
        assert!(shown.contains("100 of 100 ok;"), "{options}: {shown}");
    }
}

#[test]
fn each_success_is_recorded_and_stands_for_one_input() {
    let folder = Folder::new().with("list", "0\n".repeat(3000)).with("more", "0\n".repeat(3500));
    folder.recorded("run sleep_ms -i list -b threads -o out").code(0);
    let id = folder.recorded("runs show").code(0).out.split_whitespace().nth(1).unwrap().to_owned();
    let again = folder.recorded(&format!("run sleep_ms -i more -b threads -o out --resume {id}")).code(0);
    again.says("500 of 3500 left").says("500 ok, 3000 done before");
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "0\n".repeat(3500));
}

#[test]
fn inputs_that_do_not_fit_are_left_out_wherever_they_stand() {
    let lines: String =
        (0..3000).map(|n| if n % 10 == 9 { "x\n".to_owned() } else { format!("{}\n", n % 3) }).collect();
    let folder = Folder::new().with("list", &lines);
    let good: Vec<&str> = lines.lines().filter(|line| *line != "x").collect();
    for options in ["-k -b threads --chunk 7", "-k -b procs --chunk 500"] {
        let ran = folder.run(&format!("run sleep_ms -i list --on-bad-input skip {options}")).code(0);
        assert!(ran.out.lines().eq(good.iter().copied()), "{options}");
        ran.says("3000 inputs: 2700 ok, 300 skipped").says("    SKIP list:10: expected value\n");
    }
}

#[test]
fn in_events_each_input_has_its_own() {
    let folder = Folder::new();
    for backend in ["threads", "procs"] {
        let ran = folder.run(&format!("run sleep_ms --range 0..20 -k --json --chunk 6 -b {backend}")).code(0);
        let events = ran.out.lines().filter(|line| line.contains("\"task-finished\"")).collect::<Vec<_>>();
        assert_eq!(events.len(), 20, "{}", ran.out);
        assert!(events.iter().zip(0..).all(|(event, n)| event.contains(&format!("\"result\":{n}"))), "{}", ran.out);
    }
}

#[test]
fn a_task_that_stays_holds_back_no_result_before_it() {
    for options in ["", "-k"] {
        let folder = Folder::new().with("ms", "1\n2\n600000\n3\n");
        for backend in ["threads", "procs"] {
            let (mut child, mut results) = start(&folder, &format!("-b {backend} --chunk 4 {options}"));
            for expected in ["1\n", "2\n"] {
                let mut line = String::new();
                // Would wait for ten minutes if they came with the one behind them.
                results.read_line(&mut line).unwrap();
                assert_eq!(line, expected, "{backend} {options}");
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[test]
fn what_runs_may_end_and_what_waits_does_not_start() {
    for options in ["-b threads --chunk 4", "-b procs --chunk 4 -k"] {
        let folder = Folder::new().with("ms", "1\n2000\n1\n1\n".repeat(20));
        let (child, mut results) = start(&folder, &format!("{options} -j 1"));
        results.read_line(&mut String::new()).unwrap();
        send("INT", child.id());
        let mut rest = String::new();
        results.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "2000\n", "{options}");
        let ran = Ran::of(options, child.wait_with_output().unwrap()).code(130);
        ran.says("Stopping: what runs has 10s to finish").says("interrupted: 2 of 80 done (2 ok), 0 cancelled, 78 not");
    }
}

#[test]
fn whatever_runs_in_company_may_end() {
    for backend in ["threads", "procs"] {
        let folder = Folder::new().with("f", "").with("names", "f\none\nother\n");
        folder.shell("mkfifo one other").code(0);
        let mut command = folder.command(&format!("run count_words --lines names -b {backend} --chunk 3 -j 2"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A pipe is opened when it has a reader: both are being read.
        let [one, other] = ["one", "other"].map(|name| File::create(folder.path().join(name)).unwrap());
        send("INT", child.id());
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("Stopping: ")));
        drop((one, other));
        assert!(said.any(|line| line.contains("interrupted: 3 of 3 done (3 ok), 0 cancelled, 0 not")), "{backend}");
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert_eq!((child.wait().unwrap().code(), sizes(&out)), (Some(130), vec![0, 0, 0]), "{backend}");
    }
}

/// Starts a run over the file `ms`.
fn start(folder: &Folder, options: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = folder.command(&format!("run sleep_ms -i ms {options}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let results = BufReader::new(child.stdout.take().unwrap());
    (child, results)
}
