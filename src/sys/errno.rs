//! Error kinds and errnos: the public methods `kind` and `errno` of errors.

use std::io;

/// Gives an error type its public `kind` and `errno`. The type's `io_kind` returns the kind. Its
/// `own_errno` returns an errno that is more precise than the kind's, if there is one.
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
            /// The kind of this error as an [`io::Error`](std::io::Error).
            #[must_use]
            pub fn kind(&self) -> std::io::ErrorKind {
                self.io_kind()
            }

            /// The errno(3) of this error, for C and similar uses: the kernel's number if there is
            /// one, or else that of its [`kind`](Self::kind).
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
