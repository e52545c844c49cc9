//! `tasks`.

use crate::harness::run;

#[test]
fn all_tasks_are_listed_in_eighty_columns() {
    let ran = run("tasks").code(0);
    for task in ["count_words(path)", "spin(seed)", "sleep_ms(ms)", "fetch(url)", "segfault()", "say(text)"] {
        assert!(ran.out.lines().any(|line| line.starts_with(task)), "{task}:\n{}", ran.out);
    }
    for line in ran.out.lines().take_while(|line| !line.is_empty()) {
        assert!(line.chars().count() < 80, "{line}");
        assert!(line.contains("  "), "each has a word about it: {line}");
    }
}

#[test]
fn one_task_is_shown_with_its_arguments() {
    let ran = run("tasks wait_aloud").code(0);
    for text in
        ["taskloom::wait_aloud", "name  String", "ms    u64", r#"{"ms":1,"name":"text"}"#, "crates/cli/src/tasks.rs:"]
    {
        assert!(ran.out.contains(text), "{text}:\n{}", ran.out);
    }
}

#[test]
fn programs_read_json() {
    let ran = run("tasks --json").code(0);
    let list: serde_json::Value = serde_json::from_str(&ran.out).expect("one value");
    assert_eq!(list["v"], 1);
    let fetch = list["tasks"].as_array().unwrap().iter().find(|task| task["short_name"] == "fetch").unwrap();
    assert_eq!(fetch["params"], serde_json::json!([{ "name": "url", "type": "String" }]));

    let ran = run("tasks fetch --json").code(0);
    let one: serde_json::Value = serde_json::from_str(&ran.out).expect("one value");
    assert_eq!((&one["v"], &one["name"]), (&1.into(), &"taskloom::fetch".into()));
}

#[test]
fn a_task_that_is_not_there_is_wrong_usage() {
    run("tasks spinn").code(2).no_results().says("did you mean `spin`?");
}
