//! A pool whose number of threads changes: by `resize`, and by threads that leave for want of work.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Gate, timed, until, watched};
use taskloom_core::{Handle, Policy, TaskError, task_fn};
use taskloom_threads::{Builder, pool};

const SHORT: Duration = Duration::from_millis(20);

/// Tasks that are all there at once, as many as there may be; they go on when the gate is open.
struct Meeting {
    gate: Gate,
    there: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    handles: Vec<Handle<()>>,
}

impl Meeting {
    fn of(count: usize, pool: &taskloom_core::View<taskloom_threads::Threads>) -> Self {
        let (gate, there, most) = (Gate::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let task = || {
            let (gate, there, most) = (gate.clone(), there.clone(), most.clone());
            move || {
                most.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.pass();
                there.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let handles = (0..count).map(|_| pool.submit(task()).unwrap()).collect();
        Self { gate, there, most, handles }
    }

    fn wait_for(&self, count: usize) {
        until(|| self.there.load(Ordering::SeqCst) == count);
    }

    /// Lets all go on, and says how many were there at most.
    fn end(self) -> usize {
        self.gate.open();
        self.handles.into_iter().for_each(|handle| handle.join().unwrap());
        self.most.load(Ordering::SeqCst)
    }
}

#[test]
fn as_many_work_at_once_as_were_last_asked_for() {
    watched("as_many_work_at_once_as_were_last_asked_for", || {
        let pool = pool().workers(1).build().unwrap();
        let meeting = Meeting::of(10, &pool);
        meeting.wait_for(1);
        assert_eq!((pool.backend().threads(), pool.capabilities().workers), (1, 1));
        pool.resize(4).unwrap();
        // What was queued before is begun by those who come.
        meeting.wait_for(4);
        assert_eq!((pool.backend().threads(), pool.capabilities().workers), (4, 4));
        // Whoever is too many finishes what it is at.
        pool.resize(2).unwrap();
        assert_eq!(meeting.there.load(Ordering::SeqCst), 4);
        assert_eq!(meeting.end(), 4);
        let meeting = Meeting::of(10, &pool);
        meeting.wait_for(2);
        until(|| pool.backend().threads() == 2);
        assert_eq!(meeting.end(), 2);
    });
}

#[test]
fn idle_threads_that_are_too_many_leave_and_new_ones_come() {
    watched("idle_threads_that_are_too_many_leave", || {
        let pool = pool().workers(6).build().unwrap();
        pool.resize(1).unwrap();
        until(|| pool.backend().threads() == 1);
        pool.resize(3).unwrap();
        // At once, and not when there is work.
        assert_eq!(pool.backend().threads(), 3);
        let meeting = Meeting::of(3, &pool);
        meeting.wait_for(3);
        assert_eq!(meeting.end(), 3);
    });
}

/// Calls `change` with 1, 2, ... until it is dropped.
struct Changing(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Changing {
    fn start(mut change: impl FnMut(usize) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            for round in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                change(round);
                thread::yield_now();
            }
        };
        Self(stop, Some(thread::spawn(work)))
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn nothing_is_lost_while_the_size_changes() {
    watched("nothing_is_lost_while_the_size_changes", || {
        let pool = pool().workers(2).idle_timeout(Duration::from_micros(50)).build().unwrap();
        let view = taskloom_core::View::clone(&pool);
        let changing = Changing::start(move |round| view.resize(1 + round * 7 % 5).unwrap());
        let handles: Vec<_> = (0..3000_u64).map(|n| pool.submit(move || 2 * n).unwrap()).collect();
        for (n, handle) in (0..).zip(handles) {
            assert_eq!(handle.join().unwrap(), 2 * n);
        }
        // One at a time, so that each may find nobody there.
        for n in 0..500_u64 {
            assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
        }
        let sum: u64 = pool.map((0..2000_u64).map(|n| move || n)).map(Result::unwrap).sum();
        assert_eq!(sum, 1999 * 1000);
        drop(changing);
    });
}

#[test]
fn tasks_that_wait_for_tasks_do_not_mind() {
    watched("tasks_that_wait_for_tasks_do_not_mind", || {
        let pool = Arc::new(pool().workers(3).build().unwrap());
        let view = taskloom_core::View::clone(&pool);
        fn depth(view: taskloom_core::View<taskloom_threads::Threads>, left: usize) -> usize {
            if left == 0 {
                return 0;
            }
            let inner = view.clone();
            1 + view.submit(move || depth(inner, left - 1)).unwrap().join().unwrap()
        }
        let changed = view.clone();
        let changing = Changing::start(move |round| changed.resize(1 + round % 4).unwrap());
        for _ in 0..40 {
            let handles: Vec<_> = (0..4)
                .map(|_| {
                    let inner = view.clone();
                    view.submit(move || depth(inner, 6)).unwrap()
                })
                .collect();
            assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 6));
        }
        drop(changing);
        pool.resize(1).unwrap();
        until(|| pool.backend().threads() == 1);
    });
}

#[test]
fn a_pool_that_all_have_left_starts_one_when_work_comes() {
    watched("a_pool_that_all_have_left_starts_one", || {
        let inits = Arc::new(AtomicUsize::new(0));
        let counted = inits.clone();
        let init = move |_: &taskloom_core::Context| Ok::<_, TaskError>(counted.fetch_add(1, Ordering::SeqCst));
        let pool = pool().workers(2).idle_timeout(SHORT).init_with(init).build().unwrap();
        assert_eq!(inits.load(Ordering::SeqCst), 2);
        for round in 0..5 {
            until(|| pool.backend().threads() == 0);
            let task = task_fn(|cx| (cx.worker(), cx.state::<usize>().copied()));
            let (worker, state) = pool.submit(task).unwrap().join().unwrap();
            assert_eq!((worker, state), (2 + round, Some(2 + round as usize)), "a new one, with its initialiser");
        }
        // As many as there are places.
        let meeting = Meeting::of(5, &pool);
        meeting.wait_for(2);
        assert_eq!(meeting.end(), 2);
    });
}

/// A worker's state whose drop takes until the gate is open.
struct Slow(Gate, Arc<AtomicUsize>);

impl Drop for Slow {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.pass();
    }
}

#[test]
fn a_thread_on_its_way_out_takes_nobodys_place() {
    watched("a_thread_on_its_way_out_takes_nobodys_place", || {
        let (gate, dropping) = (Gate::default(), Arc::<AtomicUsize>::default());
        let (door, counted) = (gate.clone(), dropping.clone());
        let init = move |_: &taskloom_core::Context| Ok::<_, TaskError>(Slow(door.clone(), counted.clone()));
        let pool = pool().workers(1).max_extra(0).idle_timeout(SHORT).init_with(init).build().unwrap();
        for leaving in 1..4 {
            until(|| dropping.load(Ordering::SeqCst) == leaving);
            assert_eq!(pool.submit(|| 7).unwrap().join().unwrap(), 7);
        }
        gate.open();
        until(|| pool.backend().threads() == 0);
    });
}

#[test]
fn a_thread_stays_for_the_whole_of_its_idle_time() {
    watched("a_thread_stays_for_the_whole_of_its_idle_time", || {
        let idle = 10 * SHORT;
        let waiting = |pool: &taskloom_core::Pool<taskloom_threads::Threads>| {
            pool.submit(|| ()).unwrap().join().unwrap();
            until(|| pool.backend().threads() == 0);
        };
        let pool_of_one = pool().workers(1).idle_timeout(idle).build().unwrap();
        let ((), took) = timed(|| waiting(&pool_of_one));
        assert!(took >= idle, "{took:?}");
        // One that may be idle for ever, and one that may not at all.
        let patient = pool().workers(1).idle_timeout(Duration::MAX).build().unwrap();
        assert_eq!(patient.submit(task_fn(|cx| cx.worker())).unwrap().join().unwrap(), 0);
        waiting(&pool().workers(1).idle_timeout(Duration::ZERO).build().unwrap());
        assert_eq!(patient.backend().threads(), 1);
    });
}

#[test]
fn a_pool_whose_only_thread_is_stuck_is_helped_by_another() {
    watched("a_pool_whose_only_thread_is_stuck_is_helped", || {
        let pool = pool().workers(1).max_abandoned(0).idle_timeout(SHORT).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let strict = Policy::new().timeout(SHORT).grace(Duration::ZERO);
        assert!(pool.with(strict).submit(move || door.pass()).unwrap().join().is_err());
        until(|| pool.submit(|| ()).unwrap().join().is_err());
        pool.resize(2).unwrap();
        pool.submit(|| ()).unwrap().join().unwrap();
        // The stuck one holds the only place; the other stays, since nobody could take its place.
        pool.resize(1).unwrap();
        thread::sleep(5 * SHORT);
        pool.submit(|| ()).unwrap().join().unwrap();
        gate.open();
        until(|| pool.backend().threads() <= 1);
        pool.submit(|| ()).unwrap().join().unwrap();
    });
}

#[test]
fn a_thread_that_is_left_behind_is_not_replaced_when_it_was_too_many() {
    watched("a_thread_that_is_left_behind_is_not_replaced", || {
        let pool = pool().workers(2).build().unwrap();
        let gate = Gate::default();
        let door = gate.clone();
        let slow = Policy::new().timeout(SHORT).grace(5 * SHORT);
        let stuck = pool.with(slow).submit(move || door.pass()).unwrap();
        assert!(stuck.join().is_err());
        pool.resize(1).unwrap();
        until(|| pool.backend().abandoned() == 1);
        assert_eq!(pool.backend().threads(), 1);
        pool.submit(|| ()).unwrap().join().unwrap();
        gate.open();
        until(|| pool.backend().abandoned() == 0);
        assert_eq!(pool.backend().threads(), 1);
    });
}

#[test]
fn a_new_thread_that_cannot_begin_is_told_and_the_others_go_on() {
    watched("a_new_thread_that_cannot_begin_is_told", || {
        Collector::install();
        let allowed = Arc::new(AtomicUsize::new(2));
        let left = allowed.clone();
        let init = move |_: &taskloom_core::Context| {
            let take = |left: usize| left.checked_sub(1);
            let took = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
            took.map(drop).map_err(|_| "no licence is left")
        };
        let pool = pool().workers(2).init_with(init).build().unwrap();
        pool.resize(4).unwrap();
        until(|| pool.backend().threads() == 2);
        assert_eq!(Collector::errors("no licence is left"), 2);
        let meeting = Meeting::of(2, &pool);
        meeting.wait_for(2);
        meeting.end();
        assert!(pool.map((0..100_u64).map(|n| move || n)).all(|result| result.is_ok()));
        // There may be more again.
        allowed.store(100, Ordering::SeqCst);
        until(|| {
            let meeting = Meeting::of(4, &pool);
            thread::sleep(SHORT);
            meeting.end() == 4
        });
    });
}

#[test]
fn what_cannot_be_is_refused() {
    watched("what_cannot_be_is_refused", || {
        let pool = pool().workers(1).build().unwrap();
        assert!(matches!(pool.resize(0), Err(TaskError::Start(_))));
        type Wish = fn(Builder) -> Builder;
        let wishes: [(&str, Wish); 4] = [
            ("replacing workers", |builder| builder.max_tasks_per_worker(5)),
            ("replacing workers", |builder| builder.recycle_above(1 << 30)),
            ("limiting tasks' memory", |builder| builder.memory_limit(1 << 30)),
            ("capturing", |builder| builder.capture_output(true)),
        ];
        for (operation, wish) in wishes {
            let refused = wish(taskloom_threads::pool()).build().unwrap_err();
            let TaskError::Unsupported(what) = refused else { panic!("{refused}") };
            assert!(what.operation.starts_with(operation) && what.backend == "threads", "{what:?}");
        }
        pool.join();
        assert!(matches!(pool.resize(2), Err(TaskError::Closed)));
        assert_eq!(pool.backend().threads(), 0);
    });
}

#[test]
fn a_pool_ends_while_its_size_changes() {
    watched("a_pool_ends_while_its_size_changes", || {
        for round in 0..100_u64 {
            let pool = pool().workers(2).idle_timeout(Duration::from_micros(20)).build().unwrap();
            let view = taskloom_core::View::clone(&pool);
            let changing = Changing::start(move |round| drop(view.resize(1 + round % 5)));
            let handles: Vec<_> = (0..20).map(|n: u64| pool.submit(move || n).unwrap()).collect();
            match round % 3 {
                0 => pool.join(),
                1 => pool.cancel_all(Duration::from_secs(3600)),
                _ => {}
            }
            let backend_threads = pool.backend().threads();
            assert!(round % 3 == 2 || backend_threads == 0);
            drop(pool);
            assert!(handles.into_iter().all(|handle| handle.is_finished()));
            drop(changing);
        }
    });
}

/// The program's logger, which keeps errors.
struct Collector(Mutex<Vec<String>>);

impl Collector {
    fn install() {
        log::set_logger(&COLLECTOR).unwrap();
        log::set_max_level(log::LevelFilter::Error);
    }

    fn errors(with: &str) -> usize {
        COLLECTOR.0.lock().unwrap().iter().filter(|message| message.contains(with)).count()
    }
}

static COLLECTOR: Collector = Collector(Mutex::new(Vec::new()));

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}
