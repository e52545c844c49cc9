//! The only module that knows ipc-channel: channels of bytes, and how two processes find each other.
//!
//! ```text
//! parent                                   worker
//!   Server::new, name ── environment ──▶  Ends::new, introduce(name, greeting)
//!   Server::accept    ◀── Hello { greeting, the parent's three ends } ──
//!   data, control ═════ bytes ══════════▶
//!              ◀═══════ bytes ═══════════ up
//! ```
//!
//! Four facts of ipc-channel 0.23 shape it. It sends a long message through a second socket of which
//! it holds both ends: when the reader dies half way, the sender waits for ever; so here no message is
//! longer than one packet, and longer ones are sent in parts. It trusts what it reads: so each packet's
//! header is looked at before ipc-channel may have it, and a panic in there is caught. It cannot say that
//! the other side is gone while a stray copy of its descriptor is open: so the owner of an end can end the
//! stream itself. And it hides its descriptors, but not from `{:?}`, where they come from; the version is
//! pinned, and a test says so if that changes.

use std::{
    cell::RefCell,
    fmt::Debug,
    io,
    os::fd::RawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use ipc_channel::{
    IpcError,
    ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use taskloom_core::StartError;

use crate::{chaos, os};

/// Longest part of a message: well below what ipc-channel puts into one packet (212,448 bytes). A
/// packet of this size goes into an empty socket at once.
pub(crate) const PART: usize = 128 * 1024;
/// Bytes of a packet beyond its part, at most.
const OVERHEAD: u64 = 64;

/// What goes through every channel. Users' values are bytes before they come here: a value that
/// fails to encode inside ipc-channel would leave its attachments to the next message.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Envelope {
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    bytes: Arc<ByteBuf>,
    /// The message goes on in the next envelope.
    more: bool,
    attachments: Vec<Attachment>,
}

/// What can travel beside the bytes: nothing yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Attachment {}

fn write_bytes<S: Serializer>(bytes: &Arc<ByteBuf>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

fn read_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<ByteBuf>, D::Error> {
    ByteBuf::deserialize(from).map(Arc::new)
}

/// The sending end of a channel. Several threads may use it; a message is never torn by another.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: IpcSender<Envelope>,
    fd: RawFd,
    /// Held for the time of a message: its parts come one behind the other.
    whole: Mutex<()>,
}

/// The other side has closed, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Sender {
    fn new(channel: IpcSender<Envelope>) -> Result<Self, StartError> {
        let fd = descriptor(&channel)?;
        Ok(Self { channel, fd, whole: Mutex::new(()) })
    }

    /// The descriptor, for [`os::socket::end_of_stream`].
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Sends a message. Waits while the channel is full; in the end for the reader, if the message has many parts.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        // Nothing panics while it holds this lock.
        let _whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() <= PART {
            return self.send_part(bytes, false);
        }
        let mut parts = bytes.chunks(PART).peekable();
        while let Some(part) = parts.next() {
            self.send_part(part.to_vec(), parts.peek().is_some())?;
            chaos::at_either(chaos::Point::Part);
        }
        Ok(())
    }

    fn send_part(&self, bytes: Vec<u8>, more: bool) -> Result<(), Gone> {
        let envelope = Envelope { bytes: Arc::new(bytes.into()), more, attachments: Vec::new() };
        loop {
            match self.channel.send(envelope.clone()) {
                Ok(()) => return Ok(()),
                // A packet goes whole or not at all.
                Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }
}

/// The receiving end of a channel.
#[derive(Debug)]
pub(crate) struct Receiver {
    channel: IpcReceiver<Envelope>,
    fd: RawFd,
    /// The parts so far of a message that garbage has interrupted: the rest may follow.
    parts: RefCell<Vec<u8>>,
}

/// What came out of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Message(Vec<u8>),
    /// Something that our own code does not send.
    Garbage(String),
    /// Nothing more will come; the last message may have been cut off by its sender's death.
    End,
}

impl Receiver {
    fn new(channel: IpcReceiver<Envelope>) -> Result<Self, StartError> {
        let fd = descriptor(&channel)?;
        Ok(Self { channel, fd, parts: RefCell::default() })
    }

    /// The descriptor, for [`os::socket::end_of_stream`].
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Waits for a message. What is garbage has been taken out of the channel: one may go on.
    pub(crate) fn receive(&self) -> Received {
        let mut message = self.parts.take();
        loop {
            match self.receive_part() {
                Ok((part, _)) if (message.len() + part.len()) as u64 > *LONGEST => {
                    return Received::Garbage("a message longer than this machine's memory".to_owned());
                }
                Ok((part, more)) => {
                    if message.is_empty() {
                        message = part;
                    } else {
                        message.extend_from_slice(&part);
                    }
                    if !more {
                        return Received::Message(message);
                    }
                }
                Err(other) => {
                    self.parts.replace(message);
                    return other;
                }
            }
        }
    }

    fn receive_part(&self) -> Result<(Vec<u8>, bool), Received> {
        // A packet of ipc-channel begins with its own length, then that of the message it is the first part of.
        let mut head = [0; 16];
        let size = loop {
            match os::socket::peek(self.fd, &mut head) {
                Ok(Some(size)) => break size as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) | Err(_) => return Err(Received::End),
            }
        };
        let [packet, message] =
            [&head[..8], &head[8..]].map(|half| usize::from_ne_bytes(half.try_into().unwrap_or_default()) as u64);
        // `message` would be memory to set aside, and a second socket to read from: our own code never asks for that.
        if packet != size || size < 16 || message != size - 16 || message > PART as u64 + OVERHEAD {
            os::socket::discard(self.fd);
            return Err(Received::Garbage(format!("a packet of {size} bytes that is no message")));
        }
        match catch_unwind(AssertUnwindSafe(|| self.channel.recv())) {
            Ok(Ok(Envelope { bytes, more, .. })) => {
                let bytes = Arc::try_unwrap(bytes).unwrap_or_else(|shared| (*shared).clone());
                Ok((bytes.into_vec(), more))
            }
            Ok(Err(error)) => Err(Received::Garbage(error.to_string())),
            Err(_) => Err(Received::Garbage("a message that ipc-channel cannot read".to_owned())),
        }
    }
}

/// A message is put together in memory: one that cannot fit would abort us.
static LONGEST: LazyLock<u64> = LazyLock::new(os::files::machine_memory);

/// The descriptor of one of ipc-channel's ends.
fn descriptor(end: &impl Debug) -> Result<RawFd, StartError> {
    let text = format!("{end:?}");
    // A receiver shows `fd: Cell { value: 3 }`, a sender `fd: SharedFileDescriptor(3)`.
    let number = text.split_once("fd: ").map(|(_, rest)| rest.trim_start_matches(|c: char| !c.is_ascii_digit()));
    number
        .and_then(|number| number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .ok_or_else(|| StartError::new(format!("this build of ipc-channel does not show its descriptors: {text}")))
}

/// The first message of a worker.
#[derive(Serialize, Deserialize)]
struct Hello {
    greeting: ByteBuf,
    data: IpcSender<Envelope>,
    control: IpcSender<Envelope>,
    up: IpcReceiver<Envelope>,
}

/// Where one worker can introduce itself, once.
pub(crate) struct Server {
    server: IpcOneShotServer<Hello>,
    name: String,
}

/// The parent's ends of a worker's channels.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) data: Sender,
    pub(crate) control: Sender,
    pub(crate) up: Receiver,
}

impl Server {
    /// Opens a socket in the temporary directory.
    ///
    /// # Errors
    /// If it cannot be there.
    pub(crate) fn new() -> Result<Self, StartError> {
        let dir = std::env::temp_dir();
        check_directory(&dir)?;
        let failed = |why: String| {
            StartError::new(format!("no socket can be made in the temporary directory {}: {why}", dir.display()))
        };
        let (server, name) = catch_unwind(IpcOneShotServer::new)
            .map_err(|_| failed("it is not usable".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        if !Path::new(&name).is_absolute() {
            return Err(in_process());
        }
        Ok(Self { server, name })
    }

    /// What a worker must be told to find this server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the worker's greeting; `None` if [`give_up`] was called, or somebody else came.
    pub(crate) fn accept(self) -> Option<(Vec<u8>, Result<Lines, StartError>)> {
        let (_, hello) = catch_unwind(AssertUnwindSafe(|| self.server.accept())).ok()?.ok()?;
        let Hello { greeting, data, control, up } = hello;
        let lines = || Ok(Lines { data: Sender::new(data)?, control: Sender::new(control)?, up: Receiver::new(up)? });
        Some((greeting.into_vec(), lines()))
    }
}

/// Releases whoever waits in [`Server::accept`] for a worker that will not come: somebody who says nothing and leaves.
///
/// Not by ipc-channel's own `connect`, which loses a descriptor when nobody waits any more.
pub(crate) fn give_up(name: &str) {
    os::socket::call_and_hang_up(name);
}

/// The words for ipc-channel without processes.
pub(crate) fn in_process() -> StartError {
    StartError::new(
        "ipc-channel is built with its feature `force-inprocess`, so that no worker process can be reached: \
         some package in this build turns it on; find it with `cargo tree -e features -i ipc-channel`",
    )
}

/// A socket's path has to fit 107 bytes; ipc-channel cuts longer ones off, and panics on a path that is not UTF-8.
fn check_directory(dir: &Path) -> Result<(), StartError> {
    const LONGEST: usize = 107 - "/.tmpXXXXXX/socket".len();
    let shown = dir.display();
    if dir.to_str().is_none() {
        return Err(StartError::new(format!("the temporary directory {shown} is not UTF-8: set TMPDIR to another")));
    }
    if dir.as_os_str().len() > LONGEST {
        let length = dir.as_os_str().len();
        let message = format!(
            "the path of the temporary directory {shown} has {length} bytes, and a socket in it at most {LONGEST}: set TMPDIR to a shorter one"
        );
        return Err(StartError::new(message));
    }
    if !dir.is_dir() {
        return Err(StartError::new(format!("the temporary directory {shown} does not exist: set TMPDIR to another")));
    }
    Ok(())
}

/// The worker's ends of its channels.
pub(crate) struct Ends {
    pub(crate) data: Receiver,
    pub(crate) control: Receiver,
    pub(crate) up: Sender,
}

/// The parent's ends, on their way to it.
pub(crate) struct Introduction {
    data: IpcSender<Envelope>,
    control: IpcSender<Envelope>,
    up: IpcReceiver<Envelope>,
}

impl Ends {
    /// Makes a worker's channels.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub(crate) fn new() -> Result<(Self, Introduction), StartError> {
        let failed = |error: io::Error| StartError::new(format!("no channels can be made: {error}"));
        let (data, data_receiver) = ipc::channel().map_err(failed)?;
        let (control, control_receiver) = ipc::channel().map_err(failed)?;
        let (up_sender, up) = ipc::channel().map_err(failed)?;
        let ends = Self {
            data: Receiver::new(data_receiver)?,
            control: Receiver::new(control_receiver)?,
            up: Sender::new(up_sender)?,
        };
        Ok((ends, Introduction { data, control, up }))
    }
}

impl Introduction {
    /// Sends greeting and ends to the parent.
    pub(crate) fn send(self, name: &str, greeting: Vec<u8>) -> Result<(), Gone> {
        let Self { data, control, up } = self;
        let server = IpcSender::connect(name.to_owned()).map_err(|_| Gone)?;
        server.send(Hello { greeting: greeting.into(), data, control, up }).map_err(|_| Gone)
    }
}

/// Both ends of a channel.
#[cfg(test)]
pub(crate) fn pair() -> (Sender, Receiver) {
    let (sender, receiver) = ipc::channel().unwrap();
    (Sender::new(sender).unwrap(), Receiver::new(receiver).unwrap())
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn messages_of_all_sizes_arrive() {
        let (sender, receiver) = pair();
        let sizes = [0, 1, 1000, PART, PART + 1, 250_000, 5_000_000];
        let thread = thread::spawn(move || sizes.map(|size| sender.send(vec![7; size])));
        for size in sizes {
            assert_eq!(receiver.receive(), Received::Message(vec![7; size]));
        }
        assert_eq!(thread.join().unwrap(), [Ok(()); 7]);
        assert_eq!(receiver.receive(), Received::End);
    }

    #[test]
    fn the_end_comes_behind_what_has_arrived_though_the_sender_lives() {
        let (sender, receiver) = pair();
        sender.send(b"last words".to_vec()).unwrap();
        os::socket::end_of_stream(receiver.fd());
        assert_eq!(receiver.receive(), Received::Message(b"last words".to_vec()));
        assert_eq!(receiver.receive(), Received::End);
        assert_eq!(sender.send(Vec::new()), Err(Gone));
    }

    #[test]
    fn the_end_wakes_a_reader_that_waits() {
        let (_sender, receiver) = pair();
        let fd = receiver.fd();
        let thread = thread::spawn(move || receiver.receive());
        thread::sleep(Duration::from_millis(20));
        os::socket::end_of_stream(fd);
        assert_eq!(thread.join().unwrap(), Received::End);
    }

    #[test]
    fn a_sender_half_way_is_released_by_the_end() {
        let (sender, receiver) = pair();
        let fd = sender.fd();
        let thread = thread::spawn(move || sender.send(vec![7; 50_000_000]));
        thread::sleep(Duration::from_millis(20));
        os::socket::end_of_stream(fd);
        assert_eq!(thread.join().unwrap(), Err(Gone));
        assert_eq!(receiver.receive(), Received::End);
    }

    #[test]
    fn a_sender_half_way_is_released_by_the_readers_death() {
        let (sender, receiver) = pair();
        let thread = thread::spawn(move || sender.send(vec![7; 50_000_000]));
        thread::sleep(Duration::from_millis(20));
        drop(receiver);
        assert_eq!(thread.join().unwrap(), Err(Gone));
    }

    #[test]
    fn nonsense_is_told_from_messages() {
        let (sender, receiver) = ipc::bytes_channel().unwrap();
        let sender_fd: RawFd = {
            let text = format!("{sender:?}");
            text.split(|c: char| !c.is_ascii_digit()).find_map(|part| part.parse().ok()).unwrap()
        };
        let fd = descriptor(&receiver).unwrap();
        let receiver = Receiver { channel: ipc::channel().unwrap().1, fd, parts: RefCell::default() };
        os::socket::write_raw(sender_fd, b"garbage").unwrap();
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
    }

    #[test]
    fn an_empty_packet_is_garbage_and_no_end() {
        let (sender, receiver) = pair();
        os::socket::write_raw(sender.fd(), b"").unwrap();
        sender.send(b"behind it".to_vec()).unwrap();
        os::socket::write_raw(sender.fd(), b"").unwrap();
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        assert_eq!(receiver.receive(), Received::Message(b"behind it".to_vec()));
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        os::socket::write_raw(sender.fd(), b"").unwrap();
        sender.send(b"last words".to_vec()).unwrap();
        drop(sender);
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        assert_eq!(receiver.receive(), Received::Message(b"last words".to_vec()));
        assert_eq!(receiver.receive(), Received::End);
    }

    #[test]
    fn a_message_that_garbage_interrupts_is_put_together() {
        let (sender, receiver) = pair();
        sender.send_part(b"first, ".to_vec(), true).unwrap();
        os::socket::write_raw(sender.fd(), b"garbage").unwrap();
        sender.send_part(b"second".to_vec(), false).unwrap();
        sender.send(b"another".to_vec()).unwrap();
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        assert_eq!(receiver.receive(), Received::Message(b"first, second".to_vec()));
        assert_eq!(receiver.receive(), Received::Message(b"another".to_vec()));
    }
}
