//! Errors of calls that never wait, and of closing.

use std::fmt;
use std::io;

use super::{Broken, Bytes, numbered};

/// Why [`Producer::try_write`](crate::Producer::try_write) wrote nothing.
///
/// # Examples
///
/// ```
/// use std::io;
/// use shmpipe::TryWriteError;
///
/// let (mut producer, _consumer) = shmpipe::pair()?;
/// let all = vec![7; producer.capacity()];
/// producer.try_write(&all).unwrap();
/// let full = producer.try_write(b"x").unwrap_err();
/// assert_eq!(full, TryWriteError::Full);
/// assert_eq!(io::Error::from(full).kind(), io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryWriteError {
    /// There is no room: the consumer has not released any.
    Full,
    /// The stream cannot continue.
    Broken(Broken),
}

/// Why [`Consumer::try_read`](crate::Consumer::try_read) read nothing.
///
/// # Examples
///
/// ```
/// use std::io;
/// use shmpipe::TryReadError;
///
/// let (_producer, mut consumer) = shmpipe::pair()?;
/// let empty = consumer.try_read(&mut [0]).unwrap_err();
/// assert_eq!(empty, TryReadError::Empty);
/// assert_eq!(io::Error::from(empty).kind(), io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryReadError {
    /// There is nothing to read yet.
    Empty,
    /// The stream cannot continue. All published bytes have been read.
    Broken(Broken),
}

macro_rules! try_error {
    ($error:ident, $blocked:ident, $sentence:literal) => {
        impl $error {
            fn io_kind(&self) -> io::ErrorKind {
                match self {
                    $error::$blocked => io::ErrorKind::WouldBlock,
                    $error::Broken(broken) => broken.kind(),
                }
            }

            fn own_errno(&self) -> Option<i32> {
                None
            }
        }

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $error::$blocked => f.write_str($sentence),
                    $error::Broken(broken) => broken.fmt(f),
                }
            }
        }

        impl std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    $error::$blocked => None,
                    $error::Broken(broken) => Some(broken),
                }
            }
        }

        impl From<Broken> for $error {
            fn from(broken: Broken) -> $error {
                $error::Broken(broken)
            }
        }

        impl From<$error> for io::Error {
            fn from(error: $error) -> io::Error {
                match error {
                    $error::Broken(broken) => broken.into(),
                    error => io::Error::new(error.kind(), error),
                }
            }
        }
    };
}

numbered!(TryWriteError, "TryWriteError::Full", "EAGAIN");
numbered!(TryReadError, "TryReadError::Empty", "EAGAIN");
try_error!(
    TryWriteError,
    Full,
    "the ring is full: the consumer has released no room yet"
);
try_error!(
    TryReadError,
    Empty,
    "the ring is empty: the producer has written nothing more yet"
);

/// Why [`Producer::close`](crate::Producer::close) or
/// [`Consumer::close`](crate::Consumer::close) did not end the stream in order. The
/// handle cannot be used afterwards in any case.
///
/// # Examples
///
/// ```
/// use shmpipe::{Broken, CloseError};
///
/// let (mut producer, _consumer) = shmpipe::pair()?;
/// producer.abort();
/// assert_eq!(producer.close(), Err(CloseError::Broken(Broken::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseError {
    /// Nobody came to read. The ring was opened without waiting, or the consumer's
    /// end was given to a child. The written bytes are lost.
    NeverCame {
        /// Bytes that nobody will read.
        unread: usize,
    },
    /// The handle was aborted before, its ring is corrupt, or it was inherited by
    /// fork and the process that forked holds the role.
    Broken(Broken),
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseError::NeverCame { unread } => {
                write!(
                    f,
                    "no consumer ever opened the ring: what was written is lost ({})",
                    Bytes(*unread)
                )
            }
            CloseError::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for CloseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CloseError::NeverCame { .. } => None,
            CloseError::Broken(broken) => Some(broken),
        }
    }
}

impl From<Broken> for CloseError {
    fn from(broken: Broken) -> CloseError {
        CloseError::Broken(broken)
    }
}

impl CloseError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            CloseError::NeverCame { .. } => io::ErrorKind::BrokenPipe,
            CloseError::Broken(broken) => broken.kind(),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        None
    }
}

numbered!(CloseError, "CloseError::NeverCame { unread: 5 }", "EPIPE");

impl From<CloseError> for io::Error {
    fn from(error: CloseError) -> io::Error {
        match error {
            CloseError::Broken(broken) => broken.into(),
            error => io::Error::new(error.kind(), error),
        }
    }
}
