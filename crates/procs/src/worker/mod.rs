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
mod laps;
mod logger;
mod runner;
mod thrift;

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    sync::{Arc, OnceLock},
    thread,
};

use taskloom_core::backend_api::{Init, Worker, last_words, prepare_copies};

use crate::{
    chaos::{self, Point},
    entry::Ticket,
    fast::{self, Rings},
    message::Message,
    os::{self, forked::Original},
    share,
    transport::{Ends, Gone, Received, Receiver, Sender, both_ways},
    wire::{self, Greeting, Rare, Records, Terms, Welcome},
};

/// The protocol could not be kept: nobody to talk to, or nobody who understands.
const EXIT_PROTOCOL: i32 = 70;

/// Runs a worker from its first to its last moment. One for a single task has been given a socket.
pub(crate) fn run(ticket: &Ticket, socket: Option<io::Result<OwnedFd>>) -> ! {
    // Before anything that could fail, so that no worker outlives its parent.
    let fenced = os::signals::die_with_parent(ticket.parent);
    if std::os::unix::process::parent_id() != ticket.parent {
        os::process::kill_own_group();
    }
    if let Err(error) = fenced {
        give_up(&format!("a worker cannot watch its parent: {error}"));
    }
    let gate = Arc::new(gate::Gate::default());
    let (down, terms, up) = match socket {
        None => meet(ticket, &gate),
        Some(Ok(socket)) => begin(ticket, socket, &gate),
        Some(Err(error)) => give_up(&format!("a worker has no way to its parent: {error}")),
    };
    let mut down = down;
    let (worker, first_words) = settle(&terms, &up, &mut down);
    chaos::at(Point::Ready);
    let thrift = thrift::Thrift::new(&terms, |news| up.rare(&news));
    let capture = terms.captured.then(capture::Capture::new).flatten();
    runner::run(down, worker, &gate, up, thrift, capture, first_words)
}

/// Finds the parent, introduces itself, and is given terms.
fn meet(ticket: &Ticket, gate: &Arc<gate::Gate>) -> (Down, Terms, Arc<Up>) {
    let (ends, introduction) = Ends::new().unwrap_or_else(|error| give_up(&error.message));
    let up = Up::new(ends.up, ends.control.fd(), ticket.parent);
    watch(ends.control, gate, &up);
    let greeting = Greeting::of_this_program(ticket.token.clone());
    chaos::at(Point::Hello);
    if introduction.send(ticket.server.as_deref().unwrap_or_default(), wire::encode(&greeting)).is_err() {
        give_up("a worker found nobody who waits for it");
    }
    chaos::at(Point::Greeted);
    let terms = read_terms(&ends.data);
    let down = take_lane(&terms, ends.data, &up);
    (down, terms, up)
}

/// Has been given terms already, and perhaps its task: nothing is asked, and nothing waited for.
fn begin(ticket: &Ticket, socket: OwnedFd, gate: &Arc<gate::Gate>) -> (Down, Terms, Arc<Up>) {
    let ([plain, _], down) = both_ways(socket);
    let up = Up::new(plain, down.fd(), ticket.parent);
    chaos::at(Point::Hello);
    let terms = read_terms(&down);
    let own = Greeting::of_this_program(ticket.token.clone());
    if terms.parent.as_ref().is_none_or(|parent| parent.difference(&own).is_some()) {
        up.rare(&Rare::Different(own));
        os::process::exit_now(EXIT_PROTOCOL);
    }
    chaos::at(Point::Greeted);
    (Down::Once(Some(Once { plain: down, task: None, gate: gate.clone(), up: up.clone() })), terms, up)
}

fn read_terms(data: &Receiver) -> Terms {
    let Received::Message(welcome) = data.receive() else { os::process::exit_now(EXIT_PROTOCOL) };
    let Ok(Welcome::Terms(terms)) = wire::decode(&welcome.bytes) else { os::process::exit_now(EXIT_PROTOCOL) };
    terms
}

/// Starts the thread that hears what the parent says while a task runs, and ends with it.
fn watch(control: Receiver, gate: &Arc<gate::Gate>, up: &Arc<Up>) {
    let (up, gate) = (up.clone(), gate.clone());
    let thread =
        thread::Builder::new().name("taskloom-control".to_owned()).spawn(move || control::run(&control, &gate, &up));
    if let Err(error) = thread {
        give_up(&format!("a worker cannot watch its parent: {error}"));
    }
}

/// Goes over to the rings that the parent has made, if it has, and if they can be had here.
fn take_lane(terms: &Terms, plain: Receiver, up: &Up) -> Down {
    let Some(fd) = terms.rings else { return Down::Plain(plain) };
    let rings = Rings::open(up.parent, fd);
    up.rare(&Rare::Rings(rings.as_ref().map(drop).map_err(ToString::to_string)));
    match rings {
        Ok(rings) => {
            let (down, sender, begun) = rings.workers();
            up.fast.get_or_init(|| sender);
            Down::Fast(down, begun)
        }
        Err(_) => Down::Plain(plain),
    }
}

/// Where work comes from.
enum Down {
    Plain(Receiver),
    Fast(fast::Receiver, fast::Note),
    /// One message with a task; everything that comes behind it is for the control thread.
    Once(Option<Once>),
}

struct Once {
    plain: Receiver,
    /// The message, if it has come already.
    task: Option<Message>,
    gate: Arc<gate::Gate>,
    up: Arc<Up>,
}

impl Down {
    /// Waits for a message; `None` if there will be no more. Does `idle` before it sleeps, if it can tell.
    fn receive(&mut self, idle: impl FnMut()) -> Option<Message> {
        match self {
            Self::Plain(plain) => plain.receive().message(),
            Self::Fast(fast, _) => fast.receive(idle).ok().flatten(),
            Self::Once(once) => {
                let Once { plain, task, gate, up } = once.take()?;
                let message = task.or_else(|| plain.receive().message())?;
                watch(plain, &gate, &up);
                Some(message)
            }
        }
    }

    /// Whether the only task is here already, all of it: then nobody waits to hear that the worker is ready for it.
    fn has_task(&mut self) -> bool {
        let Self::Once(Some(once)) = self else { return false };
        if os::socket::has_some(once.plain.fd()) {
            once.task = once.plain.receive_part().and_then(Received::message);
        }
        once.task.is_some()
    }

    /// Whether there will be no other message.
    fn is_over(&self) -> bool {
        matches!(self, Self::Once(None))
    }

    /// Whether a message is there already, as far as is known without asking the system.
    fn has_some(&mut self) -> bool {
        match self {
            Self::Plain(_) | Self::Once(_) => false,
            Self::Fast(fast, _) => fast.has_some(),
        }
    }

    /// The body of this item is about to begin.
    fn note_begun(&self, token: u64, item: u32) {
        if let Self::Fast(_, begun) = self {
            begun.note(token, item);
        }
    }
}

/// Becomes the worker that the parent wants. Also gives what it has to say of that, if it need not be said at once.
fn settle(terms: &Terms, up: &Arc<Up>, down: &mut Down) -> (Worker, Records) {
    if let Some(mask) = terms.umask {
        os::files::set_umask(mask);
    }
    os::memory::offer_to_oom_killer();
    logger::install(up.clone(), terms.log_level);
    last_words(runner::last_words);
    let worker = Worker::new(terms.pool, terms.worker, terms.slot).cpu_clock(taskloom_cpu::thread_time);
    if let Some(why) = terms.probe.and_then(share::probe) {
        up.rare(&Rare::Unshared(why));
    }
    prepare_copies(os::memory::prefer_large_pages);
    let init = terms.init.as_ref().map(|(slot, args)| Init::from_bytes(*slot, args));
    if let Err(error) = worker.init(init.as_ref()) {
        up.rare(&Rare::InitFailed(error));
        os::process::exit_now(EXIT_PROTOCOL);
    }
    let mut words = Records::default();
    words.append(&Rare::Ready);
    if !down.has_task() {
        up.send(&mut words, true);
    }
    (worker, words)
}

/// Ends a worker that cannot be one. The parent shows what it says as its last line.
fn give_up(message: &str) -> ! {
    eprintln!("{message}");
    os::process::exit_now(EXIT_PROTOCOL)
}

/// The way to the parent, shared by all threads of the worker.
pub(crate) struct Up {
    plain: Sender,
    /// In place of the plain channel, once there is one.
    fast: OnceLock<fast::Sender>,
    /// The descriptor of the control channel.
    lifeline: RawFd,
    parent: u32,
    original: Original,
}

impl Up {
    fn new(plain: Sender, lifeline: RawFd, parent: u32) -> Arc<Self> {
        let original = Original::new()
            .unwrap_or_else(|error| give_up(&format!("a worker cannot tell itself from a copy: {error}")));
        let up = Arc::new(Self { plain, fast: OnceLock::new(), lifeline, parent, original });
        chaos::enlist(&up);
        up
    }

    /// Whether this is not the worker but a copy of it, which a task made by a bare `fork`: it shares the
    /// channels, and what it says or reads there would be taken for the worker's.
    pub(crate) fn is_copy(&self) -> bool {
        !self.original.is_here()
    }

    /// Whether what the worker needs to reach its parent is there: not for sure, but whatever a task closes or overwrites by the
    /// way. Over the plain channel the next message tells.
    pub(crate) fn is_intact(&self) -> bool {
        self.fast.get().is_none_or(|fast| fast.is_intact() && os::files::is_open(self.lifeline))
    }

    /// Sends records. If that cannot be done any more, the process ends: nobody would hear of what it does. What is not
    /// urgent may be heard a little later, if much has been said just now.
    pub(crate) fn send(&self, records: &mut Records, urgent: bool) {
        if self.is_copy() {
            return;
        }
        let sent = match (self.fast.get(), records.plain()) {
            (Some(fast), Some(bytes)) => fast.send(bytes, &[], urgent),
            (Some(fast), None) => {
                let Message { bytes, bodies } = records.take();
                fast.send(&bytes, &bodies, urgent)
            }
            (None, _) => self.plain.send(records.take()),
        };
        records.clear();
        if let Err(Gone) = sent {
            if std::os::unix::process::parent_id() == self.parent {
                // The task may have closed the channel under us; the parent sees the status.
                os::process::exit_now(EXIT_PROTOCOL);
            }
            os::process::kill_own_group();
        }
    }

    pub(crate) fn rare(&self, rare: &Rare) {
        let mut records = Records::default();
        records.append(rare);
        self.send(&mut records, true);
    }

    /// Writes noise where the parent reads.
    #[cfg(feature = "chaos")]
    pub(crate) fn garble(&self, noise: &[u8], framed: bool) {
        match self.fast.get() {
            Some(fast) => fast.garble(noise, framed),
            // If the parent has closed, nobody reads it.
            None => drop(os::socket::write_raw(self.plain.fd(), noise)),
        }
    }
}
