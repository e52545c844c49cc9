//! Starts a worker process, and takes it in: the parent's half of the handshake.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{self, Command, Stdio},
    sync::Arc,
    thread,
};

use taskloom_core::{Exhausted, StartError, TaskError};

use crate::{
    backend::{Config, Shared},
    capture::Capture,
    chaos::{self, Point},
    entry::{self, Calling, Ticket},
    fast::{self, Rings},
    line::{Down, Line, Output, Vital},
    message::Message,
    os::{self, process::Child},
    reader::{self, Hearing, Started, Up},
    share::{self, Probe},
    stderr::Tail,
    transport::{Lines, Received, Receiver, Server, both_ways, in_process},
    wire::{self, Greeting, Rare, Record, Terms, Welcome},
};

/// Descriptors that one worker costs: two senders, a receiver, a pipe, the process itself, and four while it starts.
const DESCRIPTORS: u64 = 9;

/// Checks that there are descriptors for so many workers.
///
/// # Errors
/// If there are not; says how many would do.
pub(crate) fn check_descriptors(workers: usize) -> Result<(), TaskError> {
    let Some(limit) = os::files::descriptor_limit() else { return Ok(()) };
    // Reading the directory takes one itself.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1)) as u64;
    let needed = DESCRIPTORS.saturating_mul((workers as u64).saturating_add(1)).saturating_add(open);
    if needed <= limit {
        return Ok(());
    }
    let message = format!(
        "{workers} workers need about {needed} open files, {open} of them open now, and the limit is {limit}: raise it with `ulimit -n {needed}`, or ask for fewer workers"
    );
    Err(StartError::new(message).into())
}

/// A worker that has been started and has not yet said hello.
pub(crate) struct Launched {
    pub(crate) vital: Arc<Vital>,
    /// Where it will look for us, if it will.
    pub(crate) server: Option<String>,
    pub(crate) ears: Ears,
}

/// Who hears a worker.
pub(crate) enum Ears {
    /// A thread of its own.
    Thread(thread::JoinHandle<()>),
    /// Whoever looks after it.
    Lent(Arc<Hearing>),
}

/// Starts a worker, and the thread that hears it.
///
/// # Errors
/// If that is not possible here and now.
pub(crate) fn start(shared: &Arc<Shared>, worker: u32, slot: u32) -> Result<Launched, TaskError> {
    // If there are no descriptors this says so, where ipc-channel speaks of a bad one.
    drop(File::open("/dev/null").map_err(|error| cannot_start(&shared.config, &error))?);
    let (token, mark) = random()?;
    let server = Server::new()?;
    let name = server.name().to_owned();
    let ticket = Ticket { parent: std::process::id(), token: token.clone(), server: Some(name.clone()) };
    let born = Born::new(shared, (worker, slot), &ticket, mark, None)?;
    let (shared, heard) = (shared.clone(), born.vital.clone());
    let run = move || {
        os::signals::block_all();
        shared.enter();
        reader::run(&shared, &heard, || take_in(&shared, &heard, server, &token));
    };
    match thread::Builder::new().name(format!("taskloom-procs-{slot}")).spawn(run) {
        Ok(reader) => Ok(Launched { vital: born.raise(), server: Some(name), ears: Ears::Thread(reader) }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Exhausted::new("threads, to hear a worker", 0).into())
        }
        Err(error) => Err(StartError::new(format!("a worker process cannot be heard: {error}")).into()),
    }
}

/// Starts the only worker of a pool, which it then is ready for: what it is sent it finds when it has begun.
///
/// # Errors
/// If that is not possible here and now.
pub(crate) fn start_alone(shared: &Arc<Shared>) -> Result<Launched, TaskError> {
    let (token, mark) = random()?;
    let [here, there] =
        os::socket::pair().map_err(|error| StartError::new(format!("no channels can be made: {error}")))?;
    let ([data, control], up) = both_ways(here);
    let probe = share::is_unknown().then(Probe::new).and_then(Result::ok);
    let parent = Greeting::of_this_program(String::new());
    let terms = Terms { parent: Some(parent), ..terms(shared, (0, 0), probe.as_ref(), None) };
    // It finds them when it has begun, and what follows them too. Before it is started: then this thread takes the processor
    // from it, where the system has both on the same one.
    if data.send(wire::encode(&Welcome::Terms(terms))).is_err() {
        return Err(StartError::new("a worker process cannot be sent its terms").into());
    }
    let ticket = Ticket { parent: std::process::id(), token, server: None };
    let vital = Born::new(shared, (0, 0), &ticket, mark, Some(there))?.raise();
    vital.listen(&[up.fd()], None);
    let line = Arc::new(Line::new(vital.clone(), Down::Once(data, probe), control));
    let hearing = reader::begin(shared, Started { line, up: Up::Plain(up) });
    Ok(Launched { vital, server: None, ears: Ears::Lent(hearing) })
}

/// A process that nobody looks after yet: it ends with this, unless somebody does.
struct Born {
    vital: Arc<Vital>,
    child: Option<process::Child>,
}

impl Born {
    fn new(
        shared: &Shared,
        (worker, slot): (u32, u32),
        ticket: &Ticket,
        mark: String,
        socket: Option<OwnedFd>,
    ) -> Result<Self, TaskError> {
        let failed = |error: io::Error| cannot_start(&shared.config, &error);
        let capture = shared.hub.settings().capture_output.then(Capture::new).transpose().map_err(failed)?;
        let mut child = command(&shared.config, ticket, &mark, capture.as_ref(), socket)
            .and_then(|mut command| chaos::brief(&mut command, worker).spawn())
            .map_err(failed)?;
        let output = match (capture, child.stderr.take()) {
            (Some(capture), _) => Ok(Output::Captured(capture)),
            (None, Some(pipe)) => Tail::new(pipe).map(|tail| Output::PassedOn(Arc::new(tail))),
            (None, None) => Err(io::ErrorKind::BrokenPipe.into()),
        };
        let watched = output.and_then(|output| Child::watch(child.id()).map(|child| (child, output)));
        let (watched, output) = watched.map_err(|error| {
            end(&mut child);
            failed(error)
        })?;
        let vital = Arc::new(Vital::new(worker, slot, mark, watched, output));
        chaos::on(Point::Launched, &vital);
        // Before anybody can announce it: whoever waits for that looks here next.
        shared.remember(&vital);
        Ok(Self { vital, child: Some(child) })
    }

    /// Somebody looks after it.
    fn raise(mut self) -> Arc<Vital> {
        self.child = None;
        self.vital.clone()
    }
}

impl Drop for Born {
    fn drop(&mut self) {
        self.child.iter_mut().for_each(end);
    }
}

fn end(child: &mut process::Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The words for a process that the system does not start.
fn cannot_start(config: &Config, error: &io::Error) -> StartError {
    match &config.directory {
        // The system does not say what it has not found.
        Some(directory) if !directory.is_dir() => StartError::new(format!(
            "a worker process cannot be started: the folder {}, in which its pool was built, is gone; make it again, or \
             change to one that stays before the pool is built",
            directory.display()
        )),
        _ => StartError::new(format!("a worker process cannot be started: {error}")),
    }
}

/// `socket` goes where nothing else is needed: a worker that is given one finds it there.
fn command(
    config: &Config,
    ticket: &Ticket,
    mark: &str,
    capture: Option<&Capture>,
    socket: Option<OwnedFd>,
) -> io::Result<Command> {
    // The same program, also if its file has been replaced or deleted since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(&config.program).args(config.calling.arguments());
    command.env_clear().envs(config.environment.iter().map(|(name, value)| (name, value)));
    command.env(entry::TICKET, ticket.write()).env(entry::FAMILY, format!("{}/{mark}", config.family));
    if let Some(directory) = &config.directory {
        command.current_dir(directory);
    }
    // Its own group: the terminal's Ctrl-C is the parent's, and the group can be killed whole.
    command.process_group(0);
    let [stdout, stderr] = match (capture, &config.calling) {
        (Some(capture), _) => capture.ends()?,
        (None, Calling::Main) => [Stdio::inherit(), Stdio::piped()],
        (None, Calling::Test(_)) => [io::stdout().as_fd().try_clone_to_owned()?.into(), Stdio::piped()],
    };
    command.stderr(stderr);
    let other = socket.map_or_else(Stdio::null, Stdio::from);
    match config.calling {
        Calling::Main => command.stdin(other).stdout(stdout),
        // The test harness prints before our helper test runs: what it prints is heeded by nobody, and
        // the helper test finds the real standard output in the place of the input.
        Calling::Test(_) => command.stdin(stdout).stdout(other),
    };
    Ok(command)
}

/// Two words that nobody else has.
fn random() -> Result<(String, String), StartError> {
    let word = || os::process::random().map(|bytes| format!("{:032x}", u128::from_ne_bytes(bytes)));
    let words = word().and_then(|one| Ok((one, word()?)));
    words.map_err(|error| StartError::new(format!("the system gives no random bytes: {error}")))
}

/// What the worker has to know.
fn terms(shared: &Shared, (worker, slot): (u32, u32), probe: Option<&Probe>, rings: Option<&File>) -> Terms {
    let settings = shared.hub.settings();
    Terms {
        pool: shared.hub.id(),
        worker,
        slot,
        log_level: log::max_level() as usize,
        umask: shared.config.umask,
        watched: settings.memory_limit.is_some(),
        captured: settings.capture_output,
        probe: probe.map(Probe::numbers),
        recycle_above: settings.recycle_above.or(settings.memory_limit.map(|limit| limit / 2)),
        rings: rings.map(AsRawFd::as_raw_fd),
        init: shared
            .config
            .init
            .as_ref()
            .and_then(|init| init.to_bytes())
            .map(|(slot, args)| (slot, args.to_vec().into())),
        parent: None,
    }
}

/// Waits for the worker's hello, answers, and waits until its initialiser has run.
fn take_in(shared: &Shared, vital: &Arc<Vital>, server: Server, token: &str) -> Result<Started, TaskError> {
    let Some((greeting, lines)) = server.accept() else {
        return Err(StartError::new("a worker ended before it said hello").into());
    };
    let Lines { data, control, up } = lines?;
    check(&greeting, vital, token).inspect_err(|_| {
        // It ends by itself then; if it does not, it is killed.
        let _ = data.send(wire::encode(&Welcome::Refused));
    })?;
    vital.greet();
    vital.listen(&[up.fd(), data.fd(), control.fd()], None);
    let rings = rings(shared);
    // Its descriptor is open until the worker is ready. If there is none now, there is none for blobs. Who has rings knows.
    let probe = rings.is_none().then(Probe::new).and_then(Result::ok);
    let terms = terms(shared, (vital.worker, vital.slot), probe.as_ref(), rings.as_ref().map(|(_, file)| file));
    // If it cannot be sent, the worker is gone: the next lines say so.
    let _ = data.send(wire::encode(&Welcome::Terms(terms)));
    // Until then the ends are open: a number that was closed is somebody else's.
    let lane = take_lane(vital, rings, &up, control.fd()).inspect_err(|_| vital.listen_no_more())?;
    let (data, mut up) = match lane {
        Some((sender, receiver)) => (Down::Fast(sender), Up::Fast(receiver)),
        None => (Down::Plain(data), Up::Plain(up)),
    };
    let shares = probe.is_some() || matches!(data, Down::Fast(_));
    let line = Arc::new(Line::new(vital.clone(), data, control));
    let outcome = wait_until_ready(shared, &line, &mut up);
    match &outcome {
        Ok(()) if shares => share::is_possible(),
        Ok(()) => {}
        Err(_) => vital.listen_no_more(),
    }
    outcome.map(|()| Started { line, up })
}

/// Memory for the fast lane, if it is wanted and can be had.
fn rings(shared: &Shared) -> Option<(Rings, File)> {
    let rings = shared.config.shared_memory.then(Rings::create)?;
    rings.inspect_err(|error| log::debug!(target: "taskloom", "no memory can be shared with a worker: {error}")).ok()
}

/// Goes over to the rings, if there are any and the worker has them too.
fn take_lane(
    vital: &Vital,
    rings: Option<(Rings, File)>,
    up: &Receiver,
    control: RawFd,
) -> Result<Option<(fast::Sender, fast::Receiver)>, TaskError> {
    let Some((rings, _file)) = rings else { return Ok(None) };
    let answer = receive(up)?;
    match single(read(&answer)?)? {
        Rare::Rings(Ok(())) => {
            let (sender, receiver, fate) = rings.parents();
            vital.listen(&[control], Some(fate));
            Ok(Some((sender, receiver)))
        }
        Rare::Rings(Err(why)) => {
            share::is_impossible(&why);
            Ok(None)
        }
        _ => Err(out_of_turn().into()),
    }
}

/// The one thing that is said now.
fn single(records: Vec<Record<'_>>) -> Result<Rare, StartError> {
    match <[_; 1]>::try_from(records) {
        Ok([Record::Rare(rare)]) => Ok(*rare),
        _ => Err(out_of_turn()),
    }
}

fn out_of_turn() -> StartError {
    StartError::new("a worker said something before it was ready that belongs behind that")
}

/// Compares both sides; every difference is told with both values.
fn check(greeting: &[u8], vital: &Vital, token: &str) -> Result<(), TaskError> {
    let greeting: Greeting =
        wire::decode(greeting).map_err(|fault| StartError::new(format!("a worker's hello cannot be read: {fault}")))?;
    let pid = std::process::id();
    if greeting.pid == pid {
        return Err(in_process().into());
    }
    if greeting.token != token {
        return Err(StartError::new("somebody else said hello in a worker's place").into());
    }
    if greeting.pid != vital.pid() {
        let [here, there] = [vital.pid(), greeting.pid];
        return Err(StartError::new(format!(
            "a worker and its pool have different process ids: here {here}, there {there}"
        ))
        .into());
    }
    different(&greeting).map_or(Ok(()), |error| Err(error.into()))
}

/// What differs between a worker and this program, if anything.
pub(crate) fn different(greeting: &Greeting) -> Option<StartError> {
    let what = Greeting::of_this_program(String::new()).difference(greeting)?;
    Some(StartError::new(format!("a worker and its pool have {what}")))
}

fn receive(plain: &Receiver) -> Result<Message, StartError> {
    match plain.receive() {
        Received::Message(message) => Ok(message),
        Received::Garbage(what) => Err(StartError::new(format!("a worker began with {what}"))),
        Received::End => Err(gone()),
    }
}

fn gone() -> StartError {
    StartError::new("a worker ended before it was ready")
}

fn read(message: &Message) -> Result<Vec<Record<'_>>, StartError> {
    // What a worker says of itself has no bodies.
    Record::read_all(&message.bytes, Vec::new())
        .map_err(|fault| StartError::new(format!("a worker began with garbage: {fault}")))
}

fn wait_until_ready(shared: &Shared, line: &Arc<Line>, up: &mut Up) -> Result<(), TaskError> {
    loop {
        let message = match up {
            Up::Plain(plain) => receive(plain)?,
            Up::Fast(fast) => fast
                .receive(|| {})
                .map_err(|trouble| StartError::new(format!("a worker began with garbage: {trouble:?}")))?
                .ok_or_else(gone)?,
        };
        for record in read(&message)? {
            let Record::Rare(rare) = record else { return Err(out_of_turn().into()) };
            match *rare {
                Rare::Ready => return Ok(()),
                Rare::InitFailed(error) => return Err(error),
                Rare::Unshared(why) => share::is_impossible(&why),
                Rare::Log(record) => reader::pass_on(shared, line, record),
                _ => return Err(out_of_turn().into()),
            }
        }
    }
}
