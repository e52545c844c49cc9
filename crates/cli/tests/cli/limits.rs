//! Limits on tasks and on whole runs, and what happens when they are reached.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Folder, run, send, state, until};

/// Some short tasks, and one that would take far longer than any test.
fn with_a_long_one() -> Folder {
    Folder::new().with("ms", "1\n600000\n2\n")
}

#[test]
fn a_task_over_its_time_is_stopped_where_it_can_be() {
    let folder = with_a_long_one();
    let start = Instant::now();
    let ran = folder.run("run sleep_ms --lines ms -j 2 --timeout 200ms --grace 300ms").code(100);
    assert!(start.elapsed() >= Duration::from_millis(500), "it had its time and its grace");
    assert_eq!(ran.sorted(), ["1", "2"]);
    ran.says("Running on procs: there --timeout stops a task\nStarting sleep_ms: 3 inputs, procs x 2\n")
        .says(" TIMEOUT [  0.200s] #2 sleep_ms 600000\n          over --timeout 200ms\n")
        .says("again, alone: taskloom run --only 2 sleep_ms --lines ms")
        .says("3 inputs: 2 ok, 1 timed out\n");
    let events = folder.run("run sleep_ms --lines ms --timeout 200ms --grace 0s --json").code(100).out;
    let late = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let late = late.filter(|event| event["status"] == "timeout").collect::<Vec<_>>();
    assert_eq!(late.len(), 1);
    assert_eq!(late[0]["error"], serde_json::json!({ "message": "over the limit of 200ms", "limit_s": 0.2 }));
}

#[test]
fn a_task_over_its_time_is_left_behind_where_it_cannot_be_stopped() {
    let folder = with_a_long_one();
    let ran = folder.run("run sleep_ms --lines ms -j 1 -b threads --timeout 200ms").code(100);
    // The only worker was replaced.
    assert_eq!(ran.out, "1\n2\n");
    ran.says("On threads a task over --timeout is reported; its thread is left behind, for only procs can stop it\n")
        .says("3 inputs: 2 ok, 1 timed out\n");
}

#[test]
fn limits_that_a_backend_cannot_keep_are_refused() {
    let folder = with_a_long_one();
    for (options, message) in [
        (
            "-b inline --timeout 5s",
            "error: --timeout cannot stop a task on the `inline` backend\n  help: use `-b procs`, or `--slow 5s` to be told \
             without stopping it\n",
        ),
        (
            "-b threads --memory 1GiB",
            "error: --memory: limiting tasks' memory is not supported by the `threads` backend\n  help: use `-b procs`\n",
        ),
        (
            "-b threads --retries 1 --retry-on crash",
            "error: --retry-on crash cannot be kept on the `threads` backend\n  reason: there such an end is that of the \
             whole run\n  help: use `-b procs`\n",
        ),
        (
            "-b threads --timeout 1s --retries 1 --retry-on timeout",
            "error: --retry-on timeout cannot be kept on the `threads` backend\n  reason: the first attempt may still run \
             there\n  help: use `-b procs`\n",
        ),
    ] {
        folder.run(&format!("run sleep_ms --lines ms {options}")).code(2).no_results().says_exactly(message);
        // It would not run either.
        folder.run(&format!("run sleep_ms --lines ms -n {options}")).code(2).no_results().says_exactly(message);
    }
    // What was set counts as chosen.
    let mut set = folder.command("run sleep_ms --lines ms --memory 1GiB");
    let ran = set.env("TASKLOOM_BACKEND", "threads").output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn values_without_a_meaning_are_wrong_usage() {
    for (options, message) in [
        ("--timeout 5", "error: `--timeout 5`: a time needs a unit\n  help: `5s` or `5m`?\n"),
        ("--memory 2G", "`2GiB` (powers of 1024) or `2GB` (of 1000)?"),
        ("--retry-on luck", "error: `--retry-on luck`: no such end\n  help: there are `fail`, `panic`, `crash`, "),
        ("--max-fail 0", "a number from 1 up, `10%` or `all`; each also with `:now`"),
    ] {
        run(&format!("run spin --range 0..3 {options}")).code(2).no_results().says(message);
    }
}

#[test]
fn a_task_over_its_memory_is_killed() {
    let line = |name: &str, ms| format!("{{\"name\":\"{name}\",\"ms\":{ms}}}\n");
    let folder = Folder::new().with("in.jsonl", line(&"x".repeat(30_000_000), 600_000) + &line("y", 1));
    let ran = folder.run("run wait_aloud -i in.jsonl --memory 5MiB -j 2").code(100);
    ran.says("Running on procs: there --memory can be kept\n")
        .says("  MEMORY [")
        .says("2 inputs: 1 ok, 1 over memory\n");
    folder.run("run wait_aloud -i in.jsonl --memory 5GiB --only 2").code(0);
}

#[test]
fn failures_can_be_tried_again() {
    let folder = Folder::new().with("messages", "first\n\n");
    for backend in ["inline", "threads", "procs"] {
        let words = format!("run fail_with --lines messages -b {backend} --retries 2 --backoff 10ms");
        let ran = folder.run(&words).code(100);
        assert_eq!(ran.out, "null\n");
        let retries: Vec<_> = ran.err.lines().filter(|line| line.contains("RETRY")).collect();
        assert_eq!(retries.len(), 2, "{backend}: {}", ran.err);
        for (line, attempt) in retries.iter().zip(1..) {
            let expected = format!("   RETRY #1 fail_with first attempt {attempt} failed: first; again in ");
            assert!(line.starts_with(&expected), "{line}");
        }
        // Its attempts are told before its outcome.
        assert!(ran.err.find("RETRY").unwrap() < ran.err.find("FAIL [").unwrap(), "{}", ran.err);
        let ran = folder.run(&format!("run fail_with --lines messages -b {backend} --retries 2 --retry-on panic"));
        assert!(!ran.code(100).err.contains("RETRY"), "{backend}");
    }
    let events = folder.run("run fail_with --lines messages --retries 1 --json").code(100).out;
    let attempts: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let attempts: Vec<_> = attempts.iter().filter(|event| event["index"] == 1).collect();
    assert_eq!((&attempts[0]["event"], &attempts[0]["attempt"]), (&"task-retried".into(), &1.into()));
    assert_eq!((&attempts[1]["event"], &attempts[1]["attempt"]), (&"task-finished".into(), &2.into()));
}

#[test]
fn crashes_and_timeouts_are_tried_again_where_others_go_on() {
    let ran = run("run segfault --retries 1 --retry-on crash").code(100);
    ran.says("Running on procs: there a task that crashes can be tried again\n")
        .says("   RETRY #1 segfault attempt 1 crashed: ")
        .says("; again at once\n")
        .says("1 input: 1 crashed\n");
    let ran = with_a_long_one().run("run sleep_ms --lines ms --timeout 100ms --grace 0s --retries 1").code(100);
    ran.says("   RETRY #2 sleep_ms 600000 attempt 1 timed out: over --timeout 100ms; again at once\n");
    // All ends but this one, and it is said.
    let ran = with_a_long_one().run("run sleep_ms --lines ms --timeout 100ms --retries 1 -b threads").code(100);
    assert!(!ran.err.contains("RETRY"), "{}", ran.err);
    ran.says("is reported, and not tried again; ").says("3 inputs: 2 ok, 1 timed out\n");
}

#[test]
fn retries_wait_for_their_backoff() {
    let folder = Folder::new().with("messages", "first\n");
    let start = Instant::now();
    folder.run("run fail_with --lines messages -q --retries 2 --backoff 200ms").code(100);
    assert!(start.elapsed() >= Duration::from_millis(100 + 200), "half of each wait at least");
}

#[test]
fn failures_can_be_too_many() {
    let folder = Folder::new().with("messages", "bad\n".repeat(1000));
    let ran = folder.run("run fail_with --lines messages -b inline --max-fail 3").code(100);
    ran.says("stopped by --max-fail: 3 of 1000 done (3 failed), 0 cancelled, 997 not started\n");
    for backend in ["inline", "threads", "procs"] {
        let ran = folder.run(&format!("run fail_with --lines messages -b {backend} -j 1 --max-fail 1%")).code(100);
        ran.says("stopped by --max-fail: 10 of 1000 done (10 failed), 0 cancelled, 990 not started\n");
    }
    // A chunk that has been sent comes home whole.
    let ran = folder.run("run fail_with --lines messages -j 1 -b threads --chunk 50 --max-fail 1").code(100);
    ran.says("stopped by --max-fail: ");
}

#[test]
fn what_runs_beside_too_many_failures_is_left_to_end_or_not() {
    for backend in ["threads", "procs"] {
        let (mute, rude) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let [long, bad] = [&mute, &rude].map(|server| format!("http://{}/\n", server.local_addr().unwrap()));
        let folder = Folder::new().with("urls", long + &bad.repeat(2000));
        // Hangs up on the second when the first has been running for a moment, which is answered when asked for.
        let serve = |answers: bool| {
            let (mute, rude) = (mute.try_clone().unwrap(), rude.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut asked = mute.accept().unwrap().0;
                let hung_up_on = rude.accept().unwrap();
                std::thread::sleep(Duration::from_millis(200));
                drop(hung_up_on);
                if answers {
                    std::thread::sleep(Duration::from_millis(500));
                    asked.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
                    asked.shutdown(Shutdown::Write).unwrap();
                }
                // Until the one who asked is gone.
                let _ = asked.read_to_end(&mut Vec::new());
            })
        };
        let words = format!("run fetch --lines urls -b {backend} -j 2 --grace 0s");
        let served = serve(false);
        let ran = folder.run(&format!("{words} --max-fail 1:now")).code(100).no_results();
        ran.says("stopped by --max-fail: 1 of 2001 done (1 failed), 1 cancelled, 1999 not started\n");
        served.join().unwrap();
        let served = serve(true);
        let ran = folder.run(&format!("{words} --max-fail 1")).code(100);
        assert_eq!(ran.out, "{\"bytes\":0,\"status\":200}\n", "{backend}: {}", ran.err);
        ran.says("stopped by --max-fail: 2 of 2001 done (1 ok, 1 failed), 0 cancelled, 1999 not started\n");
        served.join().unwrap();
    }
}

#[test]
fn what_failed_before_the_end_is_not_tried_again_after_it() {
    let folder = Folder::new().with("messages", "bad\n");
    let start = Instant::now();
    let words = "run fail_with --lines messages --retries 1 --backoff 600s --run-timeout 300ms";
    let ran = folder.run(words).code(124);
    assert!(start.elapsed() < Duration::from_secs(300), "it did not wait for the next attempt");
    ran.says("over --run-timeout 300ms: 1 of 1 done (1 failed), 0 cancelled, 0 not started\n")
        .says("    FAIL  #1 fail_with bad  messages:1\n");
}

#[test]
fn the_whole_run_can_be_limited() {
    for backend in ["threads", "procs"] {
        let folder = Folder::new().with("ms", "1\n".to_owned() + &"600000\n".repeat(20));
        let start = Instant::now();
        let words = format!("run sleep_ms --lines ms -b {backend} -j 2 --run-timeout 400ms --grace 100ms");
        let ran = folder.run(&words).code(124);
        assert!(start.elapsed() >= Duration::from_millis(500));
        ran.says("over --run-timeout 400ms: 1 of 21 done (1 ok), 2 cancelled, 18 not started\n");
    }
    let last = run("run sleep_ms --arg 600000 --run-timeout 100ms --grace 0s --json").code(124).out;
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["exit_code"]), (&"run-timeout".into(), &124.into()), "{last}");
}

#[test]
fn a_rest_is_none_of_the_runs_time() {
    let folder = Folder::new();
    // It rests for longer than the whole run may take.
    let limit = Duration::from_secs(2);
    let mut command = folder.command("run sleep_ms --arg 1000 --arg 300 -j 1 --run-timeout 2s --slow 2s -b procs");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("Starting ")));
    send("TSTP", child.id());
    until("it rests", || state(&child.id().to_string()) == "T");
    std::thread::sleep(limit);
    send("CONT", child.id());
    let said: Vec<_> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said:#?}");
}

#[test]
fn slow_tasks_are_marked() {
    for backend in ["inline", "threads", "procs"] {
        let ran = run(&format!("run sleep_ms --arg 400 --arg 1 --slow 100ms -b {backend}")).code(0);
        assert_eq!(ran.err.matches("SLOW").count(), 1, "{}", ran.err);
        ran.says("    SLOW [> 0.1s] #1 sleep_ms 400\n").says("2 inputs: 2 ok (1 slow)\n");
    }
    for backend in ["threads", "procs"] {
        // While it runs: this one has no end of its own.
        let words = format!("run sleep_ms --arg 600000 --slow 100ms --run-timeout 1s --grace 0s -b {backend}");
        run(&words).code(124).says("    SLOW [> 0.1s] #1 sleep_ms 600000\n");
    }
}

#[test]
fn nothing_starts_while_memory_is_short() {
    let ran = run("run sleep_ms --range 0..20 -k --min-free-memory 1KiB").code(0);
    assert_eq!(ran.out, (0..20).map(|n| format!("{n}\n")).collect::<String>());
    let ran = run("run sleep_ms --range 0..20 --min-free-memory 1000TiB --run-timeout 400ms").code(124);
    ran.no_results()
        .says("waiting for free memory, as --min-free-memory says\n")
        .says("0 of 20 done, 0 cancelled, 20 not started\n");
}

#[test]
fn inputs_with_limits_go_one_by_one() {
    let ran = run("run sleep_ms --arg 1 --arg 2 -k -b threads -j 2 --chunk 2 --retries 1").code(0);
    ran.says("Inputs go one by one: what was asked for is kept for each by itself\nStarting sleep_ms: 2 inputs, threads x 2\n");
}

#[test]
fn a_dry_run_says_what_would_run_and_runs_nothing() {
    let folder = Folder::new().with("in.jsonl", "{\"name\": \"a\", \"ms\": 1}\n{\"name\":\"b\",\"ms\":2}\n");
    let ran = folder.run("run wait_aloud -i in.jsonl -n -b threads -j 3").code(0).says_exactly("");
    assert_eq!(
        ran.out,
        "would run on threads x 3:\n  #1  wait_aloud {\"name\": \"a\", \"ms\": 1}\n  #2  wait_aloud \
         {\"name\":\"b\",\"ms\":2}\n"
    );
    let ran = folder.recorded("run wait_aloud -i in.jsonl -n --timeout 5s --json -o out").code(0);
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[1]["input"], serde_json::json!({ "name": "b", "ms": 2 }));
    assert_eq!((&events[2]["status"], &events[2]["not_started"]), (&"dry-run".into(), &2.into()));
    assert!(!folder.path().join("out").exists(), "nothing is written");
    assert!(folder.recorded("runs").code(0).out.lines().count() <= 1, "nothing is recorded");
}
