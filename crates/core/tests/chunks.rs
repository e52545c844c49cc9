//! Automatic chunks: seen from a backend, which is the only one who sees them.

use std::sync::{
    Arc, Mutex,
    mpsc::{Sender, channel},
};

use taskloom_core::{
    Backend, Capabilities, InProcess, Job, Policy, Pool, Settings, Shutdown, Stop,
    backend_api::{Hub, Worker},
};

/// One thread, and a note of the size of each job.
struct Noting {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    sizes: Arc<Mutex<Vec<u32>>>,
}

impl Backend for Noting {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("noting", 1)
    }
    fn submit(&self, job: Job) {
        self.sizes.lock().unwrap().push(job.len());
        if let Some(jobs) = &*self.jobs.lock().unwrap() {
            jobs.send(job).unwrap();
        }
    }
    fn stop(&self, _: u64, _: Stop) {}
    fn shutdown(&self, _: Shutdown) {
        drop(self.jobs.lock().unwrap().take());
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap();
        }
    }
}

impl InProcess for Noting {}

fn noting() -> (Pool<Noting>, Arc<Mutex<Vec<u32>>>) {
    let hub = Hub::new(Settings::default());
    let (jobs, taken) = channel::<Job>();
    let id = hub.id();
    let thread = std::thread::spawn(move || {
        let worker = Worker::new(id, 0, 0);
        taken.into_iter().for_each(|job| {
            let _ = job.run(&worker);
        });
    });
    let sizes = Arc::default();
    let backend = Noting { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), sizes: Arc::clone(&sizes) };
    (Pool::new(hub, backend), sizes)
}

#[test]
fn chunks_of_quick_tasks_grow() {
    for ordered in [true, false] {
        let (pool, sizes) = noting();
        let tasks = (0..50_000_u64).map(|n| move || n);
        let sum: u64 = if ordered {
            pool.map(tasks).map(Result::unwrap).sum()
        } else {
            pool.map_unordered(tasks).map(Result::unwrap).sum()
        };
        assert_eq!(sum, 49_999 * 25_000);
        let sizes = sizes.lock().unwrap();
        assert_eq!(sizes[0], 1);
        assert!(*sizes.iter().max().unwrap() >= 16, "{sizes:?}");
        assert_eq!(sizes.iter().sum::<u32>(), 50_000);
    }
}

#[test]
fn chunks_of_slow_tasks_do_not() {
    let (pool, sizes) = noting();
    let pause = std::time::Duration::from_millis(5);
    assert_eq!(pool.map((0..8).map(|_| move || std::thread::sleep(pause))).filter(Result::is_ok).count(), 8);
    assert!(sizes.lock().unwrap().iter().all(|&size| size == 1));
}

#[test]
fn a_fixed_size_is_kept() {
    let (pool, sizes) = noting();
    let view = pool.with(Policy::new().chunk(3));
    assert_eq!(
        view.map((0..10).map(|n| move || n)).map(Result::unwrap).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(*sizes.lock().unwrap(), [3, 3, 3, 1]);
}
