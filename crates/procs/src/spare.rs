//! Threads that look after processes for one task alone, and stay a moment for the next: to start one, and to end it, takes
//! a tenth of the time that such a process takes.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, ThreadId},
    time::Duration,
};

use taskloom_core::backend_api::hold_wakers;

/// How long a thread without work stays.
const STAY: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

/// Those without work.
static IDLE: Mutex<Idle> = Mutex::new(Idle { process: 0, threads: Vec::new() });

struct Idle {
    /// Whose threads they are: a forked copy of a process has none of them.
    process: u32,
    threads: Vec<(ThreadId, mpsc::Sender<Work>)>,
}

/// Work that somebody does, until it and everything that it had are gone.
#[derive(Debug)]
pub(crate) struct Done(mpsc::Receiver<()>);

impl Done {
    pub(crate) fn wait(self) {
        // Nothing is ever sent: the other end is dropped behind the work.
        let _ = self.0.recv();
    }
}

/// Does `work` on another thread, which holds wakers: see [`hold_wakers`].
///
/// # Errors
/// If there is none, and none can be started.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) -> io::Result<Done> {
    let (end, done) = mpsc::channel::<()>();
    let mut work: Work = Box::new(move || {
        // Whoever waits for an outcome waits for the end of it all too, as a rule: it is woken once.
        hold_wakers(|| {
            work();
            drop(end);
        });
    });
    while let Some((_, thread)) = { idle().threads.pop() } {
        match thread.send(work) {
            Ok(()) => return Ok(Done(done)),
            Err(unsent) => work = unsent.0,
        }
    }
    thread::Builder::new().name("taskloom-procs".to_owned()).spawn(move || stay(work)).map(|_| Done(done))
}

/// A thread's life.
fn stay(first: Work) {
    let (sender, works) = mpsc::channel();
    let id = thread::current().id();
    first();
    loop {
        idle().threads.push((id, sender.clone()));
        let work = works.recv_timeout(STAY).or_else(|_| {
            let mut idle = idle();
            let before = idle.threads.len();
            idle.threads.retain(|(other, _)| *other != id);
            // Whoever has taken it sends it something.
            if idle.threads.len() < before {
                Err(())
            } else {
                drop(idle);
                works.recv().map_err(drop)
            }
        });
        match work {
            Ok(work) => work(),
            Err(()) => return,
        }
    }
}

fn idle() -> MutexGuard<'static, Idle> {
    // Nothing panics while it holds this lock.
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if idle.process != process {
        *idle = Idle { process, threads: Vec::new() };
    }
    idle
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        time::Instant,
    };

    use super::*;

    fn eventually(is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "never");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// One test, for there is one list of threads.
    #[test]
    fn a_thread_stays_for_the_next_and_leaves_when_there_is_none() {
        let (tell, told) = mpsc::channel();
        let (held, gone) = mpsc::channel::<()>();
        let on_which = |held: mpsc::Sender<()>| {
            let tell = tell.clone();
            run(move || {
                tell.send(thread::current().id()).unwrap();
                drop(held);
            })
            .unwrap()
            .wait();
            told.recv().unwrap()
        };
        let first = on_which(held);
        assert!(gone.try_recv().is_err_and(|error| error == mpsc::TryRecvError::Disconnected), "what it had is gone");
        let is_idle = |id| idle().threads.iter().any(|(other, _)| *other == id);
        eventually(|| is_idle(first));
        assert_eq!(on_which(mpsc::channel().0), first, "it was waiting for that");

        let meeting = Arc::new(Barrier::new(2));
        let both = [(), ()].map(|()| {
            let meeting = meeting.clone();
            run(move || {
                meeting.wait();
            })
            .unwrap()
        });
        both.into_iter().for_each(Done::wait);
        eventually(|| idle().threads.is_empty());
    }
}
