//! Channels of bytes, and how two processes find each other. The only module that knows ipc-channel.
//!
//! ```text
//! parent                                   worker
//!   Server::new, name ── environment ──▶  Ends::new, introduce(name, greeting)
//!   Server::accept    ◀── Hello { greeting, the parent's three ends } ──
//!   data, control ═════ bytes ══════════▶
//!              ◀═══════ bytes ═══════════ up
//! ```
//!
//! A worker for one task is given one socket, which carries everything in both directions ([`both_ways`]): to look for its
//! parent, and to be answered, would take longer than all else that is done for such a task.
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
    os::fd::{AsRawFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use taskloom_core::StartError;

use crate::{
    chaos,
    message::{Begun, Message, Progress, packets},
    os,
};

/// Longest part of a message: well below what ipc-channel puts into one packet (212,448 bytes). A
/// packet of this size goes into an empty socket at once.
pub(crate) const PART: usize = 128 * 1024;
/// Bytes of a packet beyond its part, at most.
const OVERHEAD: usize = 64;

/// The sending end of a channel. Several threads may use it; a message is never torn by another.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: Out,
    fd: RawFd,
    /// Held for the time of a message: its parts come one behind the other.
    whole: Arc<Mutex<()>>,
}

#[derive(Debug)]
enum Out {
    Ipc(IpcBytesSender),
    Socket(Arc<OwnedFd>),
}

/// The other side has closed, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Sender {
    fn new(channel: IpcBytesSender) -> Result<Self, StartError> {
        let fd = descriptor(&channel)?;
        Ok(Self { channel: Out::Ipc(channel), fd, whole: Arc::default() })
    }

    /// The descriptor, for [`os::socket::end_of_stream`].
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Sends a message. Waits while the channel is full; in the end for the reader, if the message has many parts.
    pub(crate) fn send(&self, message: impl Into<Message>) -> Result<(), Gone> {
        let Message { bytes, bodies } = message.into();
        // Nothing panics while it holds this lock.
        let _whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        packets(&bytes, &bodies, PART, |pieces, more| {
            self.send_packet(&pieces.concat())?;
            if more {
                chaos::at_either(chaos::Point::Part);
            }
            Ok(())
        })
    }

    fn send_packet(&self, bytes: &[u8]) -> Result<(), Gone> {
        loop {
            let sent = match &self.channel {
                Out::Ipc(channel) => channel.send(bytes).map_err(|error| error.kind()),
                Out::Socket(socket) => os::socket::send(socket, bytes).map_err(|error| error.kind()),
            };
            match sent {
                Ok(()) => return Ok(()),
                // A packet goes whole or not at all.
                Err(io::ErrorKind::Interrupted) => {}
                Err(_) => return Err(Gone),
            }
        }
    }
}

/// The receiving end of a channel.
#[derive(Debug)]
pub(crate) struct Receiver {
    channel: In,
    fd: RawFd,
    /// The parts so far of a message that garbage has interrupted: the rest may follow.
    begun: RefCell<Option<Begun>>,
}

#[derive(Debug)]
enum In {
    Ipc(IpcBytesReceiver),
    Socket(Arc<OwnedFd>),
}

/// What came out of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Message(Message),
    /// Something that our own code does not send.
    Garbage(String),
    /// Nothing more will come; the last message may have been cut off by its sender's death.
    End,
}

impl Received {
    pub(crate) fn message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Garbage(_) | Self::End => None,
        }
    }
}

impl Receiver {
    fn new(channel: IpcBytesReceiver) -> Result<Self, StartError> {
        let fd = descriptor(&channel)?;
        Ok(Self { channel: In::Ipc(channel), fd, begun: RefCell::default() })
    }

    /// The descriptor, for [`os::socket::end_of_stream`].
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Waits for a message. What is garbage has been taken out of the channel: one may go on.
    pub(crate) fn receive(&self) -> Received {
        loop {
            if let Some(received) = self.receive_part() {
                return received;
            }
        }
    }

    /// Waits for a part of a message. `None` if it was not the last one.
    pub(crate) fn receive_part(&self) -> Option<Received> {
        let packet = match self.receive_packet() {
            Ok(packet) => packet,
            Err(other) => return Some(other),
        };
        let mut begun = self.begun.borrow_mut();
        let taken = match begun.take() {
            None => Begun::read(packet, PART),
            Some(message) => message.go_on(&packet),
        };
        match taken {
            Ok(Progress::Done(message)) => Some(Received::Message(message)),
            Ok(Progress::More(message)) => {
                *begun = Some(message);
                None
            }
            Err(what) => Some(Received::Garbage(what)),
        }
    }

    fn receive_packet(&self) -> Result<Vec<u8>, Received> {
        // A packet of ipc-channel begins with its own length, then that of the message it is the first part of.
        let mut head = [0; 16];
        let Ok(Some(size)) = insist(|| os::socket::peek(self.fd, &mut head)) else { return Err(Received::End) };
        let channel = match &self.channel {
            In::Ipc(channel) => channel,
            In::Socket(_) if size > PART + OVERHEAD => {
                os::socket::discard(self.fd);
                return Err(Received::Garbage(format!("a packet of {size} bytes")));
            }
            In::Socket(socket) => return insist(|| os::socket::receive(socket, size)).map_err(|_| Received::End),
        };
        let [packet, message] =
            [&head[..8], &head[8..]].map(|half| usize::from_ne_bytes(half.try_into().unwrap_or_default()));
        // `message` would be memory to set aside, and a second socket to read from: our own code never asks for that.
        if packet != size || size < 16 || message != size - 16 || message > PART + OVERHEAD {
            os::socket::discard(self.fd);
            return Err(Received::Garbage(format!("a packet of {size} bytes that is no message")));
        }
        match catch_unwind(AssertUnwindSafe(|| channel.recv())) {
            Ok(Ok(packet)) => Ok(packet),
            Ok(Err(error)) => Err(Received::Garbage(error.to_string())),
            Err(_) => Err(Received::Garbage("a message that ipc-channel cannot read".to_owned())),
        }
    }
}

/// Receives again if that fails for a reason that is none: a signal; or that the other side has ended without having read all that
/// was sent to it, which is said once, at any time, ahead of what has arrived.
fn insist<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset) => {}
            other => return other,
        }
    }
}

/// A channel in either direction over one socket, and a second sender for who sends beside the first.
pub(crate) fn both_ways(socket: OwnedFd) -> ([Sender; 2], Receiver) {
    let fd = socket.as_raw_fd();
    let (socket, whole) = (Arc::new(socket), Arc::<Mutex<()>>::default());
    let sender = || Sender { channel: Out::Socket(socket.clone()), fd, whole: whole.clone() };
    let senders = [sender(), sender()];
    (senders, Receiver { channel: In::Socket(socket), fd, begun: RefCell::default() })
}

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
    data: IpcBytesSender,
    control: IpcBytesSender,
    up: IpcBytesReceiver,
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
    data: IpcBytesSender,
    control: IpcBytesSender,
    up: IpcBytesReceiver,
}

impl Ends {
    /// Makes a worker's channels.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub(crate) fn new() -> Result<(Self, Introduction), StartError> {
        let failed = |error: io::Error| StartError::new(format!("no channels can be made: {error}"));
        let (data, data_receiver) = ipc::bytes_channel().map_err(failed)?;
        let (control, control_receiver) = ipc::bytes_channel().map_err(failed)?;
        let (up_sender, up) = ipc::bytes_channel().map_err(failed)?;
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
    let (sender, receiver) = ipc::bytes_channel().unwrap();
    (Sender::new(sender).unwrap(), Receiver::new(receiver).unwrap())
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use taskloom_core::Blob;

    use super::*;
    use crate::{message::HEAD, os::counted::most_held};

    #[test]
    fn messages_of_all_sizes_arrive() {
        let (sender, receiver) = pair();
        let sizes = [0, 1, 1000, PART, PART + 1, 250_000, 5_000_000];
        let thread = thread::spawn(move || sizes.map(|size| sender.send(vec![7; size])));
        for size in sizes {
            assert_eq!(receiver.receive(), Received::Message(vec![7; size].into()));
        }
        assert_eq!(thread.join().unwrap(), [Ok(()); 7]);
        assert_eq!(receiver.receive(), Received::End);
    }

    #[test]
    fn the_end_comes_behind_what_has_arrived_though_the_sender_lives() {
        let (sender, receiver) = pair();
        sender.send(b"last words".to_vec()).unwrap();
        os::socket::end_of_stream(receiver.fd());
        assert_eq!(receiver.receive(), Received::Message(b"last words".to_vec().into()));
        assert_eq!(receiver.receive(), Received::End);
        assert_eq!(sender.send(Vec::new()), Err(Gone));
    }

    #[test]
    fn last_words_are_heard_of_one_who_has_not_heard_all() {
        let [ours, theirs] = os::socket::pair().unwrap().map(both_ways);
        ours.0[0].send(b"an order".to_vec()).unwrap();
        theirs.0[1].send(b"last words".to_vec()).unwrap();
        drop(theirs);
        assert_eq!(ours.1.receive(), Received::Message(b"last words".to_vec().into()));
        assert_eq!(ours.1.receive(), Received::End);
        assert_eq!(ours.0[1].send(Vec::new()), Err(Gone));
    }

    #[test]
    fn last_words_are_heard_of_one_who_ends_while_they_are_taken() {
        let [ours, theirs] = os::socket::pair().unwrap();
        os::socket::write_raw(ours.as_raw_fd(), b"an order").unwrap();
        os::socket::write_raw(theirs.as_raw_fd(), b"last words").unwrap();
        assert_eq!(os::socket::peek(ours.as_raw_fd(), &mut [0; 16]).unwrap(), Some(10));
        drop(theirs);
        assert_eq!(insist(|| os::socket::receive(&ours, 10)).unwrap(), b"last words");
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
        let receiver = Receiver { channel: In::Ipc(ipc::bytes_channel().unwrap().1), fd, begun: RefCell::default() };
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
        assert_eq!(receiver.receive(), Received::Message(b"behind it".to_vec().into()));
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        os::socket::write_raw(sender.fd(), b"").unwrap();
        sender.send(b"last words".to_vec()).unwrap();
        drop(sender);
        assert!(matches!(receiver.receive(), Received::Garbage(_)));
        assert_eq!(receiver.receive(), Received::Message(b"last words".to_vec().into()));
        assert_eq!(receiver.receive(), Received::End);
    }

    /// Two bodies that take several packets each, and one that takes none.
    fn large() -> Message {
        let body = |byte: u8, size: usize| Blob::from(vec![byte; size]);
        Message { bytes: vec![1; PART + 9], bodies: vec![body(2, 3 * PART + 1), body(3, 0), body(4, PART)] }
    }

    #[test]
    fn bodies_arrive_behind_the_bytes_and_each_in_memory_of_its_own() {
        let (sender, receiver) = pair();
        let thread = thread::spawn(move || [sender.send(large()), sender.send(b"behind it".to_vec())]);
        let Received::Message(message) = receiver.receive() else { panic!("no message") };
        assert_eq!((message.size(), &message), (5 * PART + 10, &large()));
        for body in message.bodies {
            let length = body.len();
            assert_eq!(body.into_vec().capacity(), length);
        }
        assert_eq!(receiver.receive(), Received::Message(b"behind it".to_vec().into()));
        assert_eq!(thread.join().unwrap(), [Ok(()); 2]);
    }

    #[test]
    fn a_message_that_garbage_interrupts_is_put_together() {
        let (sender, receiver) = pair();
        let packets = packets_of(large());
        let (last, packets) = packets.split_last().unwrap();
        for (at, packet) in packets.iter().enumerate() {
            sender.send_packet(packet).unwrap();
            os::socket::write_raw(sender.fd(), [&b"garbage"[..], b""][at % 2]).unwrap();
            assert!(matches!(receiver.receive(), Received::Garbage(_)));
        }
        sender.send_packet(last).unwrap();
        assert_eq!(receiver.receive(), Received::Message(large()));
        sender.send(b"another".to_vec()).unwrap();
        assert_eq!(receiver.receive(), Received::Message(b"another".to_vec().into()));
    }

    /// The packets that a message is sent in.
    fn packets_of(message: Message) -> Vec<Vec<u8>> {
        let (sender, receiver) = pair();
        thread::spawn(move || sender.send(message));
        std::iter::from_fn(|| receiver.receive_packet().ok()).collect()
    }

    #[test]
    fn lengths_that_are_false_are_garbage_and_cost_nothing() {
        let head = |first: &[u8], length: u64, bodies: u64| {
            let mut packet = first.to_vec();
            packet.extend_from_slice(&length.to_le_bytes());
            packet.extend_from_slice(&bodies.to_le_bytes());
            packet.push(HEAD);
            packet
        };
        let lengths = |all: &[u64]| all.iter().flat_map(|length| length.to_le_bytes()).collect::<Vec<_>>();
        let hostile = [
            vec![],
            vec![2],
            vec![HEAD],
            head(&[], u64::MAX, 0),
            head(&[], 0, u64::MAX),
            head(&[], u64::MAX - 8, 1),
            head(&[], u64::MAX, u64::MAX),
            head(&[7; 9], 8, 0),
            head(&[7; 7], 8, 0),
            head(&lengths(&[u64::MAX]), 0, 1),
            head(&lengths(&[u64::MAX / 2, u64::MAX / 2]), 0, 2),
            head(&lengths(&[1 << 62]), 0, 1),
        ];
        for packet in hostile {
            let (sender, receiver) = pair();
            sender.send_packet(&packet).unwrap();
            sender.send(b"behind it".to_vec()).unwrap();
            let (received, most) = most_held(|| receiver.receive());
            assert!(matches!(received, Received::Garbage(_)), "{packet:?}: {received:?}");
            assert!(most < 1 << 20, "{most} bytes for {packet:?}");
            assert_eq!(receiver.receive(), Received::Message(b"behind it".to_vec().into()));
        }
    }

    #[test]
    fn memory_is_set_aside_as_bytes_arrive() {
        let (sender, receiver) = pair();
        // As much as there may be; nothing comes.
        let mut packet = (os::files::machine_memory() / 2).to_le_bytes().to_vec();
        packet.extend([0_u64, 1].into_iter().flat_map(u64::to_le_bytes));
        packet.push(HEAD);
        sender.send_packet(&packet).unwrap();
        sender.send_packet(&[7; PART - 1]).unwrap();
        let (received, most) = most_held(|| receiver.receive());
        assert!(matches!(&received, Received::Garbage(what) if what.contains("in the middle")), "{received:?}");
        assert!(most <= 257 << 20, "{most} bytes");
    }
}
