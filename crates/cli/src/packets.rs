//! Sockets that keep messages apart: datagrams, and packets in sequence. What
//! a read has no room for of a message is gone, so each is received whole.

use std::io::{self, IoSliceMut};

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketType};
use rustix::net::{recv, recvmsg, sockopt};

use crate::stream::Stream;

/// More than a packet has whose length the socket does not tell beforehand.
const LEAST: usize = 64 << 10;

/// Receives one packet into `buffer` and says how long it is; 0 is the end of
/// the stream. Does not block.
///
/// A packet of no bytes is the end of a stream of datagrams, which has no
/// other; of packets in sequence it is one more of them, which adds nothing.
///
/// <https://man7.org/linux/man-pages/man2/recv.2.html>
/// <https://man7.org/linux/man-pages/man7/unix.7.html>
pub(crate) fn receive(stdin: &Stream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    match receive_one(stdin, buffer) {
        Ok(0) if sockopt::socket_type(stdin)? != SocketType::SEQPACKET => Ok(0),
        Ok(0) if has_ended(stdin) => Ok(0),
        Ok(0) => Err(io::ErrorKind::WouldBlock.into()), // what comes next is yet to be seen
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && has_ended(stdin) => Ok(0),
        received => received,
    }
}

fn receive_one(stdin: &Stream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    // With TRUNC the length is that of the packet. It is 0 where a kind of
    // socket does not do that, or fails as the call below will.
    let look = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let len = recv(stdin, &mut [0; 0], look).map_or(0, |(_, len)| len);
    buffer.resize(buffer.len().max(len).max(LEAST), 0);
    let mut parts = [IoSliceMut::new(buffer)];
    let mut no_control = RecvAncillaryBuffer::default();
    let received = recvmsg(stdin, &mut parts, &mut no_control, RecvFlags::DONTWAIT)?;
    match received.flags.contains(ReturnFlags::TRUNC) {
        // Another reader of the socket took the packet that was looked at.
        true => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
        false => Ok(received.bytes),
    }
}

/// Whether nothing more can come, and nothing is there.
fn has_ended(stdin: &Stream) -> bool {
    let is_shut = stdin.has(PollFlags::RDHUP | PollFlags::HUP);
    is_shut && rustix::io::ioctl_fionread(stdin).unwrap_or(0) == 0
}
