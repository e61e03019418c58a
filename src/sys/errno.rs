//! The errno of each error kind.

use std::io;

/// Gives an error its public `kind` and `errno`. Its own `io_kind` says which kind;
/// its `own_errno` gives a number where that of the kind says less.
macro_rules! numbered {
    ($error:ident, $sample:literal, $errno:literal) => {
        $crate::sys::errno::numbered!(
            $error,
            concat!(
                "# Examples\n\n```\nuse shmpipe::",
                stringify!($error),
                ";\n\nassert_eq!(",
                $sample,
                ".errno(), libc::",
                $errno,
                ");\n```"
            )
        );
    };
    ($error:ident) => {
        $crate::sys::errno::numbered!($error, "See [`Broken::errno`](crate::Broken::errno).");
    };
    ($error:ident, $example:expr) => {
        impl $error {
            /// The kind that this has as an [`io::Error`](std::io::Error).
            #[must_use]
            pub fn kind(&self) -> std::io::ErrorKind {
                self.io_kind()
            }

            /// The number that this has in errno(3), for C and the like: the one that
            /// the kernel gave, or that its [`kind`](Self::kind) has.
            ///
            #[doc = $example]
            #[must_use]
            pub fn errno(&self) -> i32 {
                let own = self.own_errno();
                own.unwrap_or_else(|| $crate::sys::errno::errno_of(self.io_kind()))
            }
        }
    };
}
pub(crate) use numbered;

/// The errno of `kind`: the one that the standard library maps to this kind, where there is one.
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
