//! Sockets that keep messages apart: datagrams and sequenced packets. A read drops the part
//! of a message that it has no room for. So each message is received whole.

use std::io::{self, IoSliceMut};

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketType};
use rustix::net::{recv, recvmsg, sockopt};

use crate::stream::Stream;

/// The buffer's least size: more than any packet whose length the socket does not tell
/// beforehand.
const LEAST: usize = 64 << 10;

/// Receives one packet into `buffer`, and returns its length. 0 is the end of the stream.
/// Does not block.
///
/// An empty datagram is the end of a stream of datagrams, which has no other end. An empty
/// sequenced packet is a message without bytes.
///
/// <https://man7.org/linux/man-pages/man2/recv.2.html>
/// <https://man7.org/linux/man-pages/man7/unix.7.html>
pub(crate) fn receive(stdin: &Stream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    match receive_one(stdin, buffer) {
        Ok(0) if sockopt::socket_type(stdin)? != SocketType::SEQPACKET => Ok(0),
        Ok(0) if has_ended(stdin) => Ok(0),
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()), // an empty packet has no bytes to send
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && has_ended(stdin) => Ok(0),
        received => received,
    }
}

fn receive_one(stdin: &Stream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    // With TRUNC, `recv` returns the length of the packet. Some kinds of socket return 0,
    // or fail as the call below will.
    let look = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let len = recv(stdin, &mut [0; 0], look).map_or(0, |(_, len)| len);
    buffer.resize(buffer.len().max(len).max(LEAST), 0);
    let mut parts = [IoSliceMut::new(buffer)];
    let mut no_control = RecvAncillaryBuffer::default();
    let received = recvmsg(stdin, &mut parts, &mut no_control, RecvFlags::DONTWAIT)?;
    match received.flags.contains(ReturnFlags::TRUNC) {
        // Another reader of the socket has taken the packet that was peeked at.
        true => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
        false => Ok(received.bytes),
    }
}

/// Whether the socket is empty and no more can come.
fn has_ended(stdin: &Stream) -> bool {
    let is_shut = stdin.has(PollFlags::RDHUP | PollFlags::HUP);
    is_shut && rustix::io::ioctl_fionread(stdin).unwrap_or(0) == 0
}
