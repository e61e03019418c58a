//! Sockets. As stdout, a stream socket takes what it has room for, without a wait.
//!
//! As stdin, datagrams and sequenced packets keep messages apart. A read drops the part of a
//! message that it has no room for. So each message is received whole.
#![allow(unsafe_code)] // send(2) out of the ring

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketType};
use rustix::net::{recv, recvmsg, sockopt};
use shmpipe::{Consumer, PeekError};

use crate::stream::Stream;

/// The buffer's least size: at least the longest packet of sockets that do not report lengths.
const LEAST: usize = 64 << 10;

/// Sends bytes of the ring that are there, at most `most`, straight out of the ring. Returns
/// their number; 0 is the end of the stream. `WouldBlock` if the socket has no room. Only what
/// the socket has taken leaves the ring.
///
/// <https://man7.org/linux/man-pages/man2/send.2.html>
pub(crate) fn send_from(
    consumer: &mut Consumer,
    stdout: &Stream,
    most: usize,
) -> io::Result<usize> {
    let bytes = match consumer.try_peek_raw(most) {
        Ok(bytes) => bytes,
        Err(PeekError::Ended { .. }) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let fd = stdout.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `len` bytes, which stay mapped while the consumer is borrowed.
    // It may read them while the peer writes: the kernel makes no assumption about them.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    match usize::try_from(sent) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()), // 0 would be the end of the stream
        Ok(sent) => {
            consumer.consume_raw(sent)?;
            Ok(sent)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

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
