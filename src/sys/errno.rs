//! The numbers of errors.

use std::io;

/// The number of a kind: the one that the standard library takes for this kind,
/// where there is one.
pub(crate) fn errno_of(kind: io::ErrorKind) -> i32 {
    use io::ErrorKind as Kind;
    match kind {
        Kind::AddrInUse => libc::EADDRINUSE,
        Kind::AlreadyExists => libc::EEXIST,
        Kind::BrokenPipe => libc::EPIPE,
        Kind::ConnectionAborted => libc::ECONNABORTED,
        Kind::HostUnreachable => libc::EHOSTUNREACH,
        Kind::InvalidData => libc::EPROTO,
        Kind::InvalidInput => libc::EINVAL,
        Kind::IsADirectory => libc::EISDIR,
        Kind::NotConnected => libc::ENOTCONN,
        Kind::NotFound => libc::ENOENT,
        Kind::OutOfMemory => libc::ENOMEM,
        Kind::PermissionDenied => libc::EACCES,
        Kind::ResourceBusy => libc::EBUSY,
        Kind::StorageFull => libc::ENOSPC,
        Kind::TimedOut => libc::ETIMEDOUT,
        Kind::UnexpectedEof => libc::ENODATA,
        Kind::Unsupported => libc::EOPNOTSUPP,
        Kind::WouldBlock => libc::EAGAIN,
        _ => libc::EIO,
    }
}
