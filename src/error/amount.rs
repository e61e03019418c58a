//! Errors that say how much there is, or how far a call came.

use std::fmt;
use std::io;

use super::{Broken, Bytes};

/// Why [`Producer::reserve`](crate::Producer::reserve) gave no grant. Nothing
/// has changed.
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
/// let error = producer.reserve(len).unwrap_err();
/// assert_eq!(error, ReserveError::Full { wanted: len, room });
/// let error = producer.reserve(len + 1).unwrap_err();
/// assert_eq!(error, ReserveError::TooLong { wanted: len + 1, capacity });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// The ring is not as long as what was asked for, and never will be.
    TooLong {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of the ring.
        capacity: usize,
    },
    /// There is as much room as was asked for, but not in one piece: a ring in
    /// [memory of the caller's](crate::Options::init_in) ends in between. A
    /// write of as many bytes does not wait.
    Wraps {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of room up to there.
        contiguous: usize,
    },
    /// There is not as much room as was asked for.
    Full {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that there is room for.
        room: usize,
    },
    /// There was not as much room as was asked for in time.
    TimedOut {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that there is room for.
        room: usize,
    },
    /// The stream cannot go on.
    Broken(Broken),
}

/// Why [`Consumer::peek`](crate::Consumer::peek) gave no grant. Nothing has
/// changed.
///
/// # Examples
///
/// ```
/// use shmpipe::PeekError;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.try_write(b"abc").unwrap();
/// let (wanted, available) = (4, 3);
/// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Empty { wanted, available });
/// drop(producer);
/// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Ended { wanted, available });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekError {
    /// The ring is not as long as what was asked for, and never will be.
    TooLong {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes of the ring.
        capacity: usize,
    },
    /// There are as many bytes as were asked for, but not in one piece: a ring
    /// in [memory of the caller's](crate::Options::init_in) ends in between. A
    /// read of as many bytes does not wait.
    Wraps {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes up to there.
        contiguous: usize,
    },
    /// There are not as many bytes as were asked for.
    Empty {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// There were not as many bytes as were asked for in time.
    TimedOut {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// The stream has ended with fewer bytes than were asked for.
    Ended {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// The stream cannot go on. Bytes may be left, for a shorter peek or a
    /// read.
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

        impl From<$error> for io::Error {
            fn from(error: $error) -> io::Error {
                match error {
                    $error::Broken(broken) => broken.into(),
                    $error::$none { .. } => io::Error::new(io::ErrorKind::WouldBlock, error),
                    $($error::$kind { .. } => io::Error::new(io::ErrorKind::$io, error),)*
                }
            }
        }
    };
}

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

/// Why a call that moves bytes until a deadline stopped before it was done.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use shmpipe::Stop;
///
/// let (producer, mut consumer) = shmpipe::pair()?;
/// drop(producer);
/// let partial = consumer.read_exact_deadline(&mut [0], Instant::now()).unwrap_err();
/// assert_eq!(partial.stop, Stop::Ended);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// The deadline passed.
    TimedOut,
    /// The stream ended.
    Ended,
    /// The stream cannot go on.
    Broken(Broken),
}

/// A call that moves bytes until a deadline stopped before it was done. What
/// it has moved is moved.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use shmpipe::{Partial, Stop};
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.try_write(b"abc").unwrap();
/// let mut bytes = [0; 4];
/// let Partial { moved, wanted, stop } =
///     consumer.read_exact_deadline(&mut bytes, Instant::now()).unwrap_err();
/// assert_eq!((moved, wanted, stop), (3, 4, Stop::TimedOut));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Bytes that were moved.
    pub moved: usize,
    /// Bytes that were to be moved.
    pub wanted: usize,
    /// Why no more.
    pub stop: Stop,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::TimedOut => f.write_str("timed out"),
            Stop::Ended => f.write_str("the stream has ended"),
            Stop::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for Stop {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Stop::Broken(broken) => Some(broken),
            Stop::TimedOut | Stop::Ended => None,
        }
    }
}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> io::Error {
        match stop {
            Stop::TimedOut => io::Error::new(io::ErrorKind::TimedOut, stop),
            Stop::Ended => io::Error::new(io::ErrorKind::UnexpectedEof, stop),
            Stop::Broken(broken) => broken.into(),
        }
    }
}

/// Why a consumer does not go on with the next stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextStreamError {
    /// The stream has not come to its end yet, or not with the bytes that are
    /// there: so many were not read.
    NotEnded {
        /// Bytes of this stream that are there to be read.
        available: usize,
    },
    /// The end was acknowledged, and nothing of the next stream came in time.
    TimedOut,
    /// The ring cannot be used.
    Broken(Broken),
}

impl fmt::Display for NextStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextStreamError::NotEnded { available } => write!(
                f,
                "the stream has not ended here: {available} bytes of it are not read"
            ),
            NextStreamError::TimedOut => f.write_str("timed out before the next stream began"),
            NextStreamError::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for NextStreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NextStreamError::Broken(broken) => Some(broken),
            NextStreamError::NotEnded { .. } | NextStreamError::TimedOut => None,
        }
    }
}

impl From<Broken> for NextStreamError {
    fn from(broken: Broken) -> NextStreamError {
        NextStreamError::Broken(broken)
    }
}

impl From<NextStreamError> for io::Error {
    fn from(error: NextStreamError) -> io::Error {
        match error {
            NextStreamError::NotEnded { .. } => io::Error::new(io::ErrorKind::InvalidInput, error),
            NextStreamError::TimedOut => io::Error::new(io::ErrorKind::TimedOut, error),
            NextStreamError::Broken(broken) => broken.into(),
        }
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, after {} of {}",
            self.stop,
            self.moved,
            Bytes(self.wanted)
        )
    }
}

impl std::error::Error for Partial {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.stop {
            Stop::Broken(broken) => Some(broken),
            Stop::TimedOut | Stop::Ended => None,
        }
    }
}

impl From<Partial> for io::Error {
    fn from(partial: Partial) -> io::Error {
        let kind = match &partial.stop {
            Stop::TimedOut => io::ErrorKind::TimedOut,
            Stop::Ended => io::ErrorKind::UnexpectedEof,
            Stop::Broken(broken) => broken.kind(),
        };
        io::Error::new(kind, partial)
    }
}
