//! Whole sessions, word for word but for times and names of runs.

use crate::harness::{Folder, Ran};

/// What was said, with `…` for what differs from run to run: times, rates, a run's name, a process's number.
fn told(text: &str) -> String {
    let is_number = |word: &str| {
        let word = word.trim_matches(|c: char| "[](),;%".contains(c)).trim_end_matches(|c: char| "nµms".contains(c));
        word.contains('.') && word.parse::<f64>().is_ok()
    };
    let line = |line: &str| {
        let words = line.split(' ').map(|word| if is_number(word) { "…" } else { word });
        let line = words.collect::<Vec<_>>().join(" ");
        // Behind these only figures follow.
        let end = [" busy, ", " tasks/s"].iter().filter_map(|mark| line.find(mark)).min();
        end.map_or(line.clone(), |_| format!("{} …", line.split(',').next().unwrap_or_default()))
    };
    text.lines().map(|text| line(text).trim_end().to_owned() + "\n").collect()
}

fn id(ran: &Ran) -> String {
    let line = ran.err.lines().find_map(|line| line.strip_prefix("Starting run ")).expect("a run");
    line.split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn all_goes_well() {
    let folder = Folder::new().with("ms.jsonl", "1\n2\n");
    let ran = folder.recorded("run sleep_ms -i ms.jsonl -o out.jsonl").code(0).no_results();
    let expected = "Starting run ID: sleep_ms, 2 inputs, threads x 2\n------------\n Summary [    … 2 inputs: 2 ok\n          \
                    threads x 2 …\n          results: out.jsonl\n";
    assert_eq!(told(&ran.err), expected.replace("ID", &id(&ran)));
}

#[test]
fn commands_with_their_inputs() {
    let folder = Folder::new().with("a.log", "x\n".repeat(120)).with("b.log", "x\n".repeat(98));
    let ran = folder.exec("--files *.log -k --tag", &["wc", "-l", "{}"]).code(0);
    assert_eq!(ran.out, "a.log\t120 a.log\nb.log\t98 b.log\n");
    let ran = folder.exec("-n -j 4 ::: a.txt b.txt", &["gzip", "-9", "{}"]).code(0);
    assert_eq!(ran.out, "would run on procs x 4:\n  #1  gzip -9 a.txt\n  #2  gzip -9 b.txt\n");
}

#[test]
fn a_crash() {
    let folder = Folder::new().with("codes.jsonl", "3\n");
    let ran = folder.recorded("run exit_with -b procs -j 2 -i codes.jsonl").code(100).no_results();
    let expected = "Starting run ID: exit_with, 1 input, procs x 2\nabout to call exit(3)\n   CRASH [  … #1 exit_with 3\n          \
                    worker 0 exited with code 3; it was replaced\n          last line on stderr: about to call exit(3)\n          \
                    again, alone: taskloom run --only 1 exit_with -b procs -j 2 -i codes.jsonl\n------------\n Summary [    … 1 \
                    input: 1 crashed\n          procs x 2 …\n   CRASH  #1 exit_with 3  codes.jsonl:1\n          again: taskloom \
                    runs resume ID\n";
    assert_eq!(told(&ran.err), expected.replace("ID", &id(&ran)));
    let again = folder.run("run --only 1 exit_with -b procs -j 2 -i codes.jsonl").code(100);
    again.says("worker 0 exited with code 3");
    // Neither of these could be typed again.
    for words in ["run exit_with -b procs -i codes.jsonl --only 1", "run exit_with -b procs -i codes.jsonl -o out"] {
        let ran = folder.run(words).code(100);
        assert!(!ran.err.contains("again, alone"), "{words}: {}", ran.err);
    }
    let events = folder.run("run exit_with -b procs -i codes.jsonl --json").code(100).out;
    let crash: serde_json::Value = serde_json::from_str(events.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&crash["status"], &crash["error"]["exit_code"]), (&"crash".into(), &3.into()), "{crash}");
    assert!(crash["wall_s"].as_f64().is_some(), "{crash}");
}

#[test]
fn a_full_disk() {
    let folder = Folder::new();
    let ran = folder.recorded("run sleep_ms --range 0..1 -b inline -o /dev/full --force").code(74);
    let expected = "Starting run ID: sleep_ms, 1 input, inline\nerror: cannot write /dev/full: No space left on device (os error 28)\n  \
                    1 of 1 input was done; /dev/full holds 0 complete results, 1 was lost\n  help: free some space, then `taskloom \
                    runs resume ID` (the lost one runs again)\n";
    assert_eq!(ran.err, expected.replace("ID", &id(&ran)));
}
