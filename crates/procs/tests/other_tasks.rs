//! Workers that know other tasks than their pool.

mod support;

use support::*;
use taskloom_core::{__private::About, Place, Registry, TaskDef, TaskError};

taskloom_procs::__private::inventory::submit! { taskloom_procs::__private::TestSupport { module: module_path!() } }

/// A task that all of them have, as if it stood elsewhere.
static MOVED: TaskDef = TaskDef::of::<add>(About { place: ELSEWHERE, output: "u64", doc: "" });
const ELSEWHERE: Place = Place { package: ("", ""), module: "", file: "", line: 1, column: 1 };

/// In place of what `test_support!` writes.
#[test]
fn taskloom_worker() {
    if std::env::var_os("TASKLOOM_WORKER").is_some() {
        Registry::init_with([&MOVED]).unwrap();
    }
    taskloom_procs::__private::worker_test();
}

#[test]
fn they_are_refused_and_nothing_runs() {
    within(60, || {
        let tells = |refused: Result<(), TaskError>| {
            let Err(TaskError::Start(error)) = refused else { panic!("{refused:?}") };
            let digest = format!("{:016x}", Registry::get().digest());
            let (_, there) = error.message.split_once(&format!("different tasks: here {digest}, there ")).unwrap();
            assert!(there.len() == 16 && there != digest, "{error:?}");
        };
        tells(taskloom_procs::pool().workers(1).build().map(drop));
        tells(taskloom_procs::spawn(exit::task(3)).unwrap().join());
    });
}
