//! Errors of the calls that ask for a number of bytes at once.

use std::fmt;
use std::io;

use super::{Broken, Bytes, CANCELLED, WaitError, numbered};

/// Why [`Producer::try_reserve`](crate::Producer::try_reserve) or another call for
/// room returned no grant. The call changed nothing.
///
/// # Examples
///
/// ```
/// use shmpipe::ReserveError;
///
/// let (mut producer, _consumer) = shmpipe::pair()?;
/// let capacity = producer.capacity();
/// producer.try_write(b"abc").unwrap();
/// let (room, len) = (capacity - 3, capacity);
/// let error = producer.try_reserve(len).unwrap_err();
/// assert_eq!(error, ReserveError::Full { wanted: len, room });
/// let error = producer.try_reserve(len + 1).unwrap_err();
/// assert_eq!(error, ReserveError::TooLong { wanted: len + 1, capacity });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// The ring is shorter than the bytes asked for.
    TooLong {
        /// Bytes asked for.
        wanted: usize,
        /// Capacity of the ring in bytes.
        capacity: usize,
    },
    /// There is enough room, but not in one piece: a ring in the [caller's
    /// memory](crate::Options::create_in) is not mapped twice, and ends in between. A
    /// write of `wanted` bytes would not wait.
    Wraps {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of room up to the ring's end.
        contiguous: usize,
    },
    /// There is less room than asked for.
    Full {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of room.
        room: usize,
    },
    /// There was less room than asked for until the time limit.
    TimedOut {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of room.
        room: usize,
    },
    /// The cancel flag was set while there was too little room. See
    /// [`Options::cancel_on`](crate::Options::cancel_on).
    Cancelled,
    /// The stream cannot continue.
    Broken(Broken),
}

/// Why [`Consumer::try_peek`](crate::Consumer::try_peek) or another call for bytes
/// returned no grant. The call changed nothing.
///
/// # Examples
///
/// ```
/// use shmpipe::PeekError;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.try_write(b"abc").unwrap();
/// let (wanted, available) = (4, 3);
/// assert_eq!(consumer.try_peek(4).unwrap_err(), PeekError::Empty { wanted, available });
/// drop(producer);
/// assert_eq!(consumer.try_peek(4).unwrap_err(), PeekError::Ended { wanted, available });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekError {
    /// The ring is shorter than the bytes asked for.
    TooLong {
        /// Bytes asked for.
        wanted: usize,
        /// Capacity of the ring in bytes.
        capacity: usize,
    },
    /// There are enough bytes, but not in one piece: a ring in the [caller's
    /// memory](crate::Options::create_in) is not mapped twice, and ends in between. A
    /// read of `wanted` bytes would not wait.
    Wraps {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes up to the ring's end.
        contiguous: usize,
    },
    /// There are fewer bytes than asked for.
    Empty {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that can be read.
        available: usize,
    },
    /// There were fewer bytes than asked for until the time limit.
    TimedOut {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that can be read.
        available: usize,
    },
    /// The cancel flag was set while there were too few bytes. See
    /// [`Options::cancel_on`](crate::Options::cancel_on).
    Cancelled,
    /// The stream has ended with fewer bytes than asked for.
    Ended {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that can be read.
        available: usize,
    },
    /// The stream cannot continue. Bytes may be left for a shorter peek or a read.
    Broken(Broken),
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ReserveError::TooLong { wanted, capacity } => write!(
                f,
                "room for {} was wanted, and the whole ring has {capacity}: \
                 write them in parts, or make a longer ring (Options::capacity)",
                Bytes(wanted)
            ),
            ReserveError::Wraps { wanted, contiguous } => write!(
                f,
                "room for {} in one piece was wanted, and the ring ends after {contiguous}: \
                 reserve up to there, or write them",
                Bytes(wanted)
            ),
            ReserveError::Full { wanted, room } => write!(
                f,
                "room for {} was wanted, and there is room for {room}: \
                 the consumer has released no more",
                Bytes(wanted)
            ),
            ReserveError::TimedOut { wanted, room } => write!(
                f,
                "timed out: room for {} was wanted, and there is room for {room}: \
                 the consumer has released no more",
                Bytes(wanted)
            ),
            ReserveError::Cancelled => f.write_str(CANCELLED),
            ReserveError::Broken(ref broken) => broken.fmt(f),
        }
    }
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PeekError::TooLong { wanted, capacity } => write!(
                f,
                "{} to look at were wanted, and the whole ring has {capacity}: \
                 read them in parts, or make a longer ring (Options::capacity)",
                Bytes(wanted)
            ),
            PeekError::Wraps { wanted, contiguous } => write!(
                f,
                "{} in one piece were wanted, and the ring ends after {contiguous}: \
                 look at those, or read them",
                Bytes(wanted)
            ),
            PeekError::Empty { wanted, available } => write!(
                f,
                "{} to read were wanted, and {available} are there: \
                 the producer has written no more",
                Bytes(wanted)
            ),
            PeekError::TimedOut { wanted, available } => write!(
                f,
                "timed out: {} to read were wanted, and {available} are there: \
                 the producer has written no more",
                Bytes(wanted)
            ),
            PeekError::Ended { wanted, available } => write!(
                f,
                "the stream has ended: {} to read were wanted, and {available} are left",
                Bytes(wanted)
            ),
            PeekError::Cancelled => f.write_str(CANCELLED),
            PeekError::Broken(ref broken) => broken.fmt(f),
        }
    }
}

macro_rules! grant_error {
    ($error:ident, $none:ident, $($kind:ident => $io:ident),*) => {
        impl std::error::Error for $error {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    $error::Broken(broken) => Some(broken),
                    _ => None,
                }
            }
        }

        impl From<Broken> for $error {
            fn from(broken: Broken) -> $error {
                $error::Broken(broken)
            }
        }

        impl $error {
            fn io_kind(&self) -> io::ErrorKind {
                match self {
                    $error::Broken(broken) => broken.kind(),
                    $error::Cancelled => io::ErrorKind::Other,
                    $error::$none { .. } => io::ErrorKind::WouldBlock,
                    $($error::$kind { .. } => io::ErrorKind::$io,)*
                }
            }

            fn own_errno(&self) -> Option<i32> {
                matches!(self, $error::Cancelled).then_some(libc::ECANCELED)
            }
        }

        impl From<$error> for io::Error {
            fn from(error: $error) -> io::Error {
                match error {
                    $error::Broken(broken) => broken.into(),
                    $error::Cancelled => WaitError::Cancelled.into(),
                    error => io::Error::new(error.kind(), error),
                }
            }
        }
    };
}

numbered!(
    ReserveError,
    "ReserveError::Full { wanted: 2, room: 1 }",
    "EAGAIN"
);
numbered!(
    PeekError,
    "PeekError::Ended { wanted: 2, available: 1 }",
    "ENODATA"
);
grant_error!(
    ReserveError,
    Full,
    TooLong => InvalidInput,
    Wraps => InvalidInput,
    TimedOut => TimedOut
);
grant_error!(
    PeekError,
    Empty,
    TooLong => InvalidInput,
    Wraps => InvalidInput,
    TimedOut => TimedOut,
    Ended => UnexpectedEof
);
