//! `run --json`.

use serde_json::{Value, json};

use crate::harness::{Folder, Ran, run};

fn events(ran: &Ran) -> Vec<Value> {
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["v"] == 1), "{}", ran.out);
    events
}

#[test]
fn a_run_is_a_stream_of_events() {
    for backend in ["inline", "threads", "procs"] {
        let ran = run(&format!("run sleep_ms --range 1..4 --json -b {backend} -j 2")).code(0);
        let events = events(&ran);
        let [first, tasks @ .., last] = &events[..] else { panic!("{}", ran.out) };
        assert_eq!((&first["event"], &first["total"]), (&json!("run-started"), &json!(3)));
        assert_eq!(first["backend"], backend);
        let mut indices: Vec<_> = tasks.iter().map(|task| task["index"].as_u64().unwrap()).collect();
        indices.sort_unstable();
        assert_eq!(indices, [1, 2, 3]);
        for task in tasks {
            assert_eq!((&task["event"], &task["status"]), (&json!("task-finished"), &json!("ok")));
            assert_eq!(task["result"], task["index"], "inputs and numbers are the same here");
            let wall = task["wall_s"].as_f64().unwrap();
            assert!(wall >= task["result"].as_f64().unwrap() / 1000.0, "{task}");
            assert!(task["start_s"].as_f64().unwrap() >= 0.0 && task["worker"].is_u64(), "{task}");
        }
        assert_eq!((&last["event"], &last["status"], &last["ok"]), (&json!("run-finished"), &json!("ok"), &json!(3)));
        assert_eq!(last["exit_code"], 0);
    }
}

#[test]
fn failures_are_records() {
    let ran = run("run segfault --json -b procs").code(100);
    let events = events(&ran);
    assert_eq!(events[1]["status"], "crash");
    assert_eq!(events[1]["error"]["signal"], 11);
    assert_eq!(events[1]["error"]["stderr_tail"], "about to follow a null pointer");
    assert_eq!((&events[2]["status"], &events[2]["exit_code"]), (&json!("failed"), &json!(100)));

    let folder = Folder::new().with("in.jsonl", "\"boom\"\n");
    let ran = folder.run("run panic_with -i in.jsonl --json").code(100);
    let event = &self::events(&ran)[1];
    assert_eq!((&event["status"], &event["source"]), (&json!("panic"), &json!("in.jsonl:1")));
    assert!(event["error"]["at"].as_str().unwrap().starts_with("crates/cli/src/tasks.rs:"), "{event}");
}

#[test]
fn a_bad_input_is_an_event_with_its_place() {
    let folder = Folder::new().with("in.jsonl", "{\"name\": \"q\", \"ms\": \"wide\"}\n");
    let ran = folder.run("run wait_aloud -i in.jsonl --json").code(65).says_exactly("");
    let events = events(&ran);
    assert_eq!(
        events[0],
        json!({
            "v": 1, "event": "input-error", "source": "in.jsonl:1", "column": 21, "path": "ms",
            "message": "expected u64, found string \"wide\"",
        })
    );
    assert_eq!((&events[1]["status"], &events[1]["not_started"]), (&json!("bad-input"), &json!(1)));
}

#[test]
fn a_command_that_cannot_start_is_one_event() {
    let ran = run("run spni --range 0..3 --json").code(2).says_exactly("");
    let events = events(&ran);
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["event"], &events[0]["code"]), (&json!("error"), &json!("unknown-task")));
    assert_eq!(events[0]["exit_code"], 2);
}

#[test]
fn the_last_line_is_always_the_end_of_the_run() {
    let ran = run("run spin -i - --json").code(66);
    let events = events(&ran);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["status"], &last["exit_code"]),
        (&json!("run-finished"), &json!("no-input"), &json!(66))
    );
}
