//! The inside of a worker process.
//!
//! ```text
//!  data channel ──▶ runner (main thread): claim, Started, body, Done ──▶ up channel
//!                      │ gate │
//!  control channel ──▶ control thread: recall, cancel, condemn, log credit; its end is the end of the process
//! ```
//!
//! A worker lives exactly as long as its parent holds the control channel.

mod capture;
mod control;
mod gate;
mod logger;
mod runner;
mod thrift;

use std::{sync::Arc, thread};

use taskloom_core::backend_api::{Init, Worker, last_words, prepare_copies};

use crate::{
    chaos::{self, Point},
    entry::Ticket,
    os, share,
    transport::{Ends, Gone, Message, Received, Sender},
    wire::{self, Greeting, Rare, Records, Terms, Welcome},
};

/// The protocol could not be kept: nobody to talk to, or nobody who understands.
const EXIT_PROTOCOL: i32 = 70;

/// Runs a worker from its first to its last moment.
pub(crate) fn run(ticket: &Ticket) -> ! {
    // Before anything that could fail, so that no worker outlives its parent.
    let fenced = os::signals::die_with_parent();
    if std::os::unix::process::parent_id() != ticket.parent {
        os::process::kill_own_group();
    }
    let (ends, introduction) = Ends::new().unwrap_or_else(|error| give_up(&error.message));
    let original = os::forked::Original::new()
        .unwrap_or_else(|error| give_up(&format!("a worker cannot tell itself from a copy: {error}")));
    let up = Arc::new(Up { sender: ends.up, parent: ticket.parent, original });
    chaos::enlist(up.sender.fd());
    let gate = Arc::new(gate::Gate::default());
    let control = {
        let (up, gate, control) = (up.clone(), gate.clone(), ends.control);
        thread::Builder::new().name("taskloom-control".to_owned()).spawn(move || control::run(&control, &gate, &up))
    };
    if let Err(error) = control.and(fenced) {
        give_up(&format!("a worker cannot watch its parent: {error}"));
    }

    let greeting = Greeting {
        protocol: wire::PROTOCOL,
        build: crate::entry::build_id(),
        digest: taskloom_core::Registry::get().digest(),
        pid: std::process::id(),
        token: ticket.token.clone(),
    };
    chaos::at(Point::Hello);
    if introduction.send(&ticket.server, wire::encode(&greeting)).is_err() {
        give_up("a worker found nobody who waits for it");
    }
    chaos::at(Point::Greeted);
    let Received::Message(welcome) = ends.data.receive() else { os::process::exit_now(EXIT_PROTOCOL) };
    let Ok(Welcome::Terms(terms)) = wire::decode(&welcome.bytes) else { os::process::exit_now(EXIT_PROTOCOL) };
    let worker = settle(&terms, &up);
    chaos::at(Point::Ready);
    let thrift = thrift::Thrift::new(&terms, |news| up.rare(&news));
    let capture = terms.captured.then(capture::Capture::new).flatten();
    runner::run(&ends.data, worker, &gate, up, thrift, capture)
}

/// Becomes the worker that the parent wants.
fn settle(terms: &Terms, up: &Arc<Up>) -> Worker {
    if let Some(mask) = terms.umask {
        os::files::set_umask(mask);
    }
    os::memory::offer_to_oom_killer();
    logger::install(up.clone(), terms.log_level);
    last_words(runner::last_words);
    let worker = Worker::new(terms.pool, terms.worker, terms.slot).cpu_clock(os::process::thread_cpu_time);
    if let Some(why) = terms.probe.and_then(share::probe) {
        up.rare(&Rare::Unshared(why));
    }
    prepare_copies(os::memory::prefer_large_pages);
    let init = terms.init.as_ref().map(|(slot, args)| Init::from_bytes(*slot, args));
    match worker.init(init.as_ref()) {
        Ok(()) => up.rare(&Rare::Ready),
        Err(error) => {
            up.rare(&Rare::InitFailed(error));
            os::process::exit_now(EXIT_PROTOCOL);
        }
    }
    worker
}

/// Ends a worker that never was one. The parent shows what it says as its last line.
fn give_up(message: &str) -> ! {
    eprintln!("{message}");
    os::process::exit_now(EXIT_PROTOCOL)
}

/// The way to the parent, shared by all threads of the worker.
pub(crate) struct Up {
    sender: Sender,
    parent: u32,
    original: os::forked::Original,
}

impl Up {
    /// Whether this is not the worker but a copy of it, which a task made by a bare `fork`: it shares the
    /// channels, and what it says or reads there would be taken for the worker's.
    pub(crate) fn is_copy(&self) -> bool {
        !self.original.is_here()
    }

    /// Sends records. If that cannot be done any more, the process ends: nobody would hear of what it does.
    pub(crate) fn send(&self, records: Message) {
        if self.is_copy() {
            return;
        }
        if let Err(Gone) = self.sender.send(records) {
            if std::os::unix::process::parent_id() == self.parent {
                // The task may have closed the channel under us; the parent sees the status.
                os::process::exit_now(EXIT_PROTOCOL);
            }
            os::process::kill_own_group();
        }
    }

    pub(crate) fn rare(&self, rare: &Rare) {
        self.send(Records::rare(rare));
    }
}
