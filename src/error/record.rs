//! Errors of records and of typed messages.

use std::fmt;
use std::io;

use super::{Broken, Bytes, CANCELLED, PeekError, ReserveError, WaitError, numbered};

/// Why a call of [`records`](crate::records) failed. No byte was lost: what was in the ring
/// before the call still is.
///
/// # Examples
///
/// ```
/// use shmpipe::RecordError;
/// use shmpipe::records::{RecordReader, RecordWriter};
///
/// let (producer, consumer) = shmpipe::pair()?;
/// let mut writer = RecordWriter::new(producer);
/// let mut reader = RecordReader::new(consumer);
/// let mut record = Vec::new();
/// assert_eq!(reader.try_read(&mut record), Err(RecordError::WouldBlock));
/// writer.write(&[7; 1000])?;
/// reader.set_most(100);
/// let too_long = RecordError::TooLong { len: 1000, most: 100 };
/// assert_eq!(reader.read(&mut record), Err(too_long));
/// reader.set_most(1000); // the record is still there
/// assert!(reader.read(&mut record)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is longer than the maximum, or than the ring. A reader has this length
    /// from the stream, and the record stays there.
    TooLong {
        /// Length of the record in bytes.
        len: usize,
        /// The longest possible record in bytes.
        most: usize,
    },
    /// The stream ended, or broke off, within a record or a message. The bytes before
    /// that stay in the stream.
    Cut {
        /// Bytes of the whole record with its length, as far as they are known.
        wanted: usize,
        /// Bytes that are there.
        available: usize,
        /// Why the stream broke off. `None` if it ended in order.
        broken: Option<Broken>,
    },
    /// The other side writes messages of another type. They stay in the stream.
    OtherMessage {
        /// Bytes of a message here, and the hash of its name.
        expected: (u32, u64),
        /// Bytes of a message there, and the hash of its name. `None` if the stream does
        /// not begin as messages do.
        found: Option<(u32, u64)>,
    },
    /// The stream was read, or written, up to a place that is not between two messages.
    Misplaced {
        /// Position in the stream in bytes.
        position: u64,
        /// Bytes of a message.
        size: usize,
    },
    /// There is no room, or no whole record, at the moment. For calls that never wait.
    WouldBlock,
    /// There was no room, or no whole record, until the time limit.
    TimedOut,
    /// The cancel flag was set. See [`Options::cancel_on`](crate::Options::cancel_on).
    Cancelled,
    /// The stream cannot continue.
    Broken(Broken),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecordError::TooLong { len, most } => write!(
                f,
                "a record of {}, where the longest has {most}: \
                 allow more (set_most), or make a longer ring (Options::capacity)",
                Bytes(len)
            ),
            RecordError::Cut {
                wanted,
                available,
                ref broken,
            } => {
                write!(f, "a record is cut: {available} of {} came", Bytes(wanted))?;
                match broken {
                    Some(broken) => write!(f, ", then {broken}"),
                    None => f.write_str(", then the stream ended"),
                }
            }
            RecordError::OtherMessage { expected, found } => {
                let (size, name) = expected;
                write!(f, "messages of {size} bytes (name {name:016x}) are read, ")?;
                match found {
                    Some((size, name)) => {
                        write!(f, "and those in the stream have {size} (name {name:016x})")
                    }
                    None => f.write_str("and the stream has none"),
                }
            }
            RecordError::Misplaced { position, size } => write!(
                f,
                "position {position} of the stream is not between two messages of {size} bytes"
            ),
            RecordError::WouldBlock => f.write_str("no room, or no whole record, is there yet"),
            RecordError::TimedOut => {
                f.write_str("timed out: no room, or no whole record, has come")
            }
            RecordError::Cancelled => f.write_str(CANCELLED),
            RecordError::Broken(ref broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecordError::Broken(broken)
            | RecordError::Cut {
                broken: Some(broken),
                ..
            } => Some(broken),
            _ => None,
        }
    }
}

impl From<Broken> for RecordError {
    fn from(broken: Broken) -> RecordError {
        RecordError::Broken(broken)
    }
}

/// The error of reserving room for a record.
impl From<ReserveError> for RecordError {
    fn from(error: ReserveError) -> RecordError {
        match error {
            ReserveError::TooLong { wanted, capacity } => RecordError::TooLong {
                len: wanted,
                most: capacity,
            },
            ReserveError::Full { .. } | ReserveError::Wraps { .. } => RecordError::WouldBlock,
            ReserveError::TimedOut { .. } => RecordError::TimedOut,
            ReserveError::Cancelled => RecordError::Cancelled,
            ReserveError::Broken(broken) => RecordError::Broken(broken),
        }
    }
}

/// The error of waiting for a record.
impl From<PeekError> for RecordError {
    fn from(error: PeekError) -> RecordError {
        match error {
            PeekError::TooLong { wanted, capacity } => RecordError::TooLong {
                len: wanted,
                most: capacity,
            },
            PeekError::Empty { .. } | PeekError::Wraps { .. } => RecordError::WouldBlock,
            PeekError::TimedOut { .. } => RecordError::TimedOut,
            PeekError::Cancelled => RecordError::Cancelled,
            PeekError::Ended { wanted, available } => RecordError::Cut {
                wanted,
                available,
                broken: None,
            },
            PeekError::Broken(broken) => RecordError::Broken(broken),
        }
    }
}

impl RecordError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            RecordError::TooLong { .. }
            | RecordError::OtherMessage { .. }
            | RecordError::Misplaced { .. } => io::ErrorKind::InvalidData,
            RecordError::Cut { broken, .. } => match broken {
                Some(broken) => broken.kind(),
                None => io::ErrorKind::UnexpectedEof,
            },
            RecordError::WouldBlock => io::ErrorKind::WouldBlock,
            RecordError::TimedOut => io::ErrorKind::TimedOut,
            RecordError::Cancelled => io::ErrorKind::Other,
            RecordError::Broken(broken) => broken.kind(),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        match self {
            RecordError::TooLong { .. } => Some(libc::EMSGSIZE),
            RecordError::Cancelled => Some(libc::ECANCELED),
            _ => None,
        }
    }
}

numbered!(
    RecordError,
    "RecordError::TooLong { len: 9, most: 8 }",
    "EMSGSIZE"
);

impl From<RecordError> for io::Error {
    fn from(error: RecordError) -> io::Error {
        match error {
            RecordError::Broken(broken) => broken.into(),
            RecordError::Cancelled => WaitError::Cancelled.into(),
            error => io::Error::new(error.kind(), error),
        }
    }
}
