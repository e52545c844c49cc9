//! Workers that never come as far as being one.

mod support;

use std::time::{Duration, Instant};

use support::*;
use taskloom_core::TaskError;

taskloom_procs::__private::inventory::submit! { taskloom_procs::__private::TestSupport { module: module_path!() } }

/// In place of what `test_support!` writes: a worker that does something else, by its directory.
#[test]
fn taskloom_worker() {
    if std::env::var_os("TASKLOOM_WORKER").is_some() {
        if std::env::current_dir().unwrap().ends_with("proc") {
            std::thread::sleep(Duration::from_secs(600));
        }
        eprintln!("no library for you");
        std::process::exit(9);
    }
}

#[test]
fn the_build_fails_with_the_reason() {
    within(60, || {
        std::env::set_current_dir("/tmp").unwrap();
        let start = Instant::now();
        let Err(TaskError::Start(error)) = taskloom_procs::pool().workers(2).build() else { panic!() };
        assert!(error.status.as_ref().unwrap().contains("exit status: 9"), "{error:?}");
        assert_eq!(error.stderr.last().unwrap(), "no library for you");
        assert!(start.elapsed() < Duration::from_secs(9), "it did not wait for the deadline");

        std::env::set_current_dir("/proc").unwrap();
        let limit = Duration::from_millis(300);
        let Err(TaskError::Start(error)) = taskloom_procs::pool().workers(2).start_timeout(limit).build() else {
            panic!()
        };
        assert!(error.status.as_ref().unwrap().contains("no hello within 300ms"), "{error:?}");

        std::env::set_current_dir("/tmp").unwrap();
        let left = descriptors();
        let _ = taskloom_procs::pool().workers(2).build();
        assert_eq!(descriptors(), left);

        // It is not waited for: that is the outcome of its task, unless it is known before there is one.
        let outcome = taskloom_procs::spawn(pid::task()).and_then(taskloom_procs::Process::join);
        let Err(TaskError::Start(error)) = outcome else { panic!() };
        assert!(error.message.contains("before its task began"), "{error:?}");
        assert!(error.status.as_ref().unwrap().contains("exit status: 9"), "{error:?}");
        assert_eq!(error.stderr.last().unwrap(), "no library for you");
        assert_eq!(descriptors(), left);
    });
}
