//! Sockets that keep packets apart: one of our own, and a look at one that somebody else owns, without taking anything
//! from it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use super::checked;

/// Two ends of a connection; no program that is started inherits either unless it is given it.
pub(crate) fn pair() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` is ours and has room for the two numbers that the call writes.
    checked(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    // SAFETY: the descriptors were made just now, and nobody else knows them.
    Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Sends a packet, whole or not at all. Waits while there is no room.
pub(crate) fn send(fd: impl AsFd, packet: &[u8]) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: pointer and length are those of one slice, which outlives the call.
    let sent = unsafe { libc::send(fd, packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the packet at the front, which has so many bytes.
pub(crate) fn receive(fd: impl AsFd, size: usize) -> io::Result<Vec<u8>> {
    let mut packet = Vec::<u8>::with_capacity(size);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the vector has room for so many bytes, and the call writes no more.
    let taken = unsafe { libc::recv(fd, packet.as_mut_ptr().cast(), size, 0) };
    let taken = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many bytes at its beginning have been written.
    unsafe { packet.set_len(taken) };
    Ok(packet)
}

/// The size of the packet at the front of a socket, and its first bytes; waits for one. `None` at the end of the stream,
/// which looks like a packet without a byte, but is told from one.
pub(crate) fn peek(fd: RawFd, head: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: pointer and length are those of one slice, which is ours for the time of the call.
    let size = unsafe { libc::recv(fd, head.as_mut_ptr().cast(), head.len(), libc::MSG_PEEK | libc::MSG_TRUNC) };
    match usize::try_from(size) {
        Ok(0) if has_ended(fd) => Ok(None),
        Ok(size) => Ok(Some(size)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Whether a packet can be taken out of a socket, or its end found, without waiting.
pub(crate) fn has_some(fd: RawFd) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the entry is ours and outlives the call; its number is given as one.
    unsafe { libc::poll(&raw mut entry, 1, 0) > 0 }
}

/// Whether a socket from which no byte came has ended. If it has not, what came is an empty packet.
fn has_ended(fd: RawFd) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: the entry is ours and outlives the call; its number is given as one.
    let found = unsafe { libc::poll(&raw mut entry, 1, 0) };
    let mut left: libc::c_int = 0;
    // SAFETY: `left` is ours and outlives the call, which writes to it and nothing else.
    let told = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut left) };
    // Behind an empty packet there may be others, though nobody sends any more.
    found != 0 && (told < 0 || left == 0)
}

/// Takes the packet at the front out of a socket.
pub(crate) fn discard(fd: RawFd) {
    // SAFETY: a buffer of no length is not written to. If there is nothing to be had there is nothing to take out.
    unsafe { libc::recv(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
}

/// The socket's owner still reads what has arrived, and then finds the end, whoever else can write to
/// it; and nobody waits any more for room in it.
pub(crate) fn end_of_stream(fd: RawFd) {
    // SAFETY: takes numbers only. It fails only if the socket has ended already.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Connects to the socket at this path, and leaves. Nothing happens if nobody is there.
pub(crate) fn call_and_hang_up(path: &str) {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers only.
    let Ok(fd) = checked(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }) else { return };
    // SAFETY: the descriptor was made just now, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain data, for which zeroes are values.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The last byte stays zero.
    let room = address.sun_path.len() - 1;
    for (to, from) in address.sun_path[..room].iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: pointer and size are those of `address`, which outlives the call.
    unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) };
}

/// Writes past whatever protocol the socket has.
#[cfg(any(test, feature = "chaos"))]
pub(crate) fn write_raw(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice, which outlives the call.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    // A packet goes whole or not at all.
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
