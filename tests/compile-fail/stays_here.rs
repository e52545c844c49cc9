//! What cannot leave the process, on a backend that runs tasks elsewhere.
use taskloom_core::{Backend, Capabilities, Job, Shutdown, Stop, View, task};

struct Elsewhere;

impl Backend for Elsewhere {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("elsewhere", 1)
    }
    fn submit(&self, _: Job) {}
    fn stop(&self, _: u64, _: Stop) {}
    fn shutdown(&self, _: Shutdown) {}
}

#[task(local)]
fn local(n: u64) -> u64 {
    n
}

#[task]
fn portable(n: u64) -> u64 {
    n
}

fn submit(pool: &View<Elsewhere>) {
    let _ = pool.submit(portable::task(1));
    let _ = pool.submit(|| 1);
    let _ = pool.submit(local::task(1));
}

fn map(pool: &View<Elsewhere>) {
    let _ = pool.map((0..3).map(portable::task));
    let _ = pool.map((0..3).map(|n| move || n));
    let _ = pool.map((0..3).map(local::task));
}

fn main() {
    let _ = (submit as fn(&_), map as fn(&_));
}
