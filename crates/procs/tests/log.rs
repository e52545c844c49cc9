//! Log records made in workers arrive at this program's own logger.

mod support;

use std::sync::Mutex;

use support::*;
use taskloom_core::task;

taskloom_procs::test_support!();

static SEEN: Mutex<Vec<(Option<u64>, String)>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        SEEN.lock().unwrap().push((taskloom_core::current_task(), record.args().to_string()));
    }
    fn flush(&self) {}
}

#[task]
fn say(count: u64) {
    for n in 0..count {
        log::info!("record {n}");
        log::debug!("not wanted");
    }
}

#[task]
fn say_and_die() {
    log::info!("last record");
    std::process::abort();
}

#[test]
fn records_arrive_in_order_with_their_task() {
    within(60, || {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        let pool = workers(2);
        let few = pool.submit(say::task(3)).unwrap();
        // More than may be on their way at once.
        let many = pool.submit(say::task(5000)).unwrap();
        let (few_id, many_id) = (few.id(), many.id());
        few.join().unwrap();
        many.join().unwrap();
        let dead = pool.submit(say_and_die::task()).unwrap();
        let dead_id = dead.id();
        death(dead.join());
        pool.join();
        let seen = SEEN.lock().unwrap();
        let of =
            |id| seen.iter().filter(|(task, _)| *task == Some(id)).map(|(_, text)| text.clone()).collect::<Vec<_>>();
        assert_eq!(of(few_id), ["record 0", "record 1", "record 2"]);
        assert_eq!(of(many_id), (0..5000).map(|n| format!("record {n}")).collect::<Vec<_>>());
        assert_eq!(of(dead_id), ["last record"]);
        assert!(!seen.iter().any(|(_, text)| text == "not wanted"));
    });
}
