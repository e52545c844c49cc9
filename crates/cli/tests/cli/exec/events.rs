//! `exec --json`.

use serde_json::{Value, json};

use crate::harness::{Folder, Ran, exec};

pub(super) fn events(ran: &Ran) -> Vec<Value> {
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["v"] == 1), "{}", ran.out);
    events
}

#[test]
fn a_run_is_a_stream_of_events() {
    let ran =
        exec("--json -k ::: ok 3", &["sh", "-c", "echo out; echo last words >&2; [ $0 = ok ] || exit $0"]).code(100);
    let events = events(&ran);
    let [first, ok, failed, last] = &events[..] else { panic!("{}", ran.out) };
    assert_eq!(
        (&first["event"], &first["total"], &first["command"][0]),
        (&json!("run-started"), &json!(2), &json!("sh"))
    );
    assert_eq!((&ok["status"], &ok["stdout"], &ok["out_bytes"]), (&json!("ok"), &json!("out\n"), &json!(4)));
    assert!(ok["wall_s"].as_f64().unwrap() > 0.0 && ok["cpu_s"].as_f64().unwrap() > 0.0 && ok["worker"].is_u64());
    assert_eq!((&failed["index"], &failed["status"]), (&json!(2), &json!("fail")));
    assert_eq!(failed["error"], json!({ "message": "exit code 3", "exit_code": 3, "stderr_tail": "last words" }));
    assert_eq!((&last["event"], &last["status"], &last["ok"]), (&json!("run-finished"), &json!("failed"), &json!(1)));
    assert_eq!(last["exit_code"], 100);
}

#[test]
fn processor_time_is_the_commands_own() {
    let script = "if [ $0 = 0 ]; then sleep 0.4; else n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done; fi";
    let ran = exec("--json -k -j 2 ::: 0 1", &["sh", "-c", script]).code(0);
    let events = events(&ran);
    let [idle, busy] = [&events[1], &events[2]].map(|event| event["cpu_s"].as_f64().unwrap());
    assert!(events[1]["wall_s"].as_f64().unwrap() >= 0.4, "{}", ran.out);
    assert!(busy > 0.02 && idle < 0.2, "asleep {idle}, awake {busy}");
}

#[test]
fn attempts_that_are_repeated_have_events() {
    let ran = exec("--json --retries 1 ::: a", &["false"]).code(100);
    let events = events(&ran);
    assert_eq!((&events[1]["event"], &events[1]["attempt"]), (&json!("task-retried"), &json!(1)));
    assert_eq!((&events[2]["event"], &events[2]["attempt"]), (&json!("task-finished"), &json!(2)));
}

#[test]
fn long_output_is_cut_in_events_and_whole_in_a_file() {
    let folder = Folder::new();
    let ran = folder.exec("--json ::: a", &["sh", "-c", "yes | head -c 100000"]).code(0);
    let event = &events(&ran)[1];
    assert_eq!((&event["out_bytes"], &event["stdout_cut"]), (&json!(100_000), &json!(true)));
    assert_eq!(event["stdout"].as_str().unwrap().len(), 64 << 10);
    let ran = folder.exec("--json -o whole ::: a", &["sh", "-c", "yes | head -c 100000"]).code(0);
    assert!(events(&ran)[1].get("stdout").is_none());
    assert_eq!(std::fs::metadata(folder.path().join("whole")).unwrap().len(), 100_000);
}

#[test]
fn refusals_are_events_too() {
    let ran = exec("--json ::: a", &["no-such-command"]).code(2).says_exactly("");
    assert_eq!((&events(&ran)[0]["event"], &events(&ran)[0]["code"]), (&json!("error"), &json!("unknown-command")));
    let folder = Folder::new().with("in.jsonl", "1\n{\n");
    let ran = folder.exec("--json -i in.jsonl", &["true"]).code(65).says_exactly("");
    let events = events(&ran);
    assert_eq!((&events[0]["event"], &events[0]["source"]), (&json!("input-error"), &json!("in.jsonl:2")));
    assert_eq!((&events[1]["status"], &events[1]["not_started"]), (&json!("bad-input"), &json!(2)));
}
