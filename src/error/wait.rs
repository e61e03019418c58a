//! Errors of the calls that wait.

use std::fmt;
use std::io;

use super::{Broken, Bytes, CANCELLED, numbered};

/// Why a waiting call stopped early.
///
/// The [`io::Error`] of a cancelled [`std::io::Read`] or [`std::io::Write`] call
/// contains [`Cancelled`](WaitError::Cancelled): see [`find`](WaitError::find).
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use shmpipe::WaitError;
///
/// let (producer, mut consumer) = shmpipe::pair()?;
/// drop(producer);
/// let partial = consumer.read_exact_deadline(&mut [0], Instant::now()).unwrap_err();
/// assert_eq!(partial.cause, WaitError::Ended);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed.
    TimedOut,
    /// The stream ended.
    Ended,
    /// The cancel flag was set. See
    /// [`Options::cancel_on`](crate::Options::cancel_on).
    Cancelled,
    /// The stream cannot continue.
    Broken(Broken),
}

impl WaitError {
    /// Returns the `WaitError` inside `error`, or inside an error that `error`
    /// wraps at any depth. This tells whether a blocking call was cancelled. The
    /// error of a stream that cannot continue may contain only a [`Broken`]: see
    /// [`Broken::find`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::sync::Arc;
    /// use std::sync::atomic::AtomicBool;
    /// use shmpipe::WaitError;
    ///
    /// let flag = Arc::new(AtomicBool::new(true));
    /// let ring = shmpipe::Options::new().cancel_on(flag).create_anonymous()?;
    /// let (_producer, mut consumer) = ring.split()?;
    /// let error = consumer.read(&mut [0]).unwrap_err();
    /// assert_eq!(WaitError::find(&error), Some(&WaitError::Cancelled));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&WaitError> {
        super::find(error)
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            WaitError::TimedOut => io::ErrorKind::TimedOut,
            WaitError::Ended => io::ErrorKind::UnexpectedEof,
            WaitError::Cancelled => io::ErrorKind::Other,
            WaitError::Broken(broken) => broken.kind(),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        matches!(self, WaitError::Cancelled).then_some(libc::ECANCELED)
    }
}

numbered!(WaitError, "WaitError::TimedOut", "ETIMEDOUT");

/// A call with a deadline moved fewer bytes than asked for. The moved bytes stay
/// moved.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use shmpipe::{PartialError, WaitError};
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.try_write(b"abc").unwrap();
/// let mut bytes = [0; 4];
/// let PartialError { moved, wanted, cause } =
///     consumer.read_exact_deadline(&mut bytes, Instant::now()).unwrap_err();
/// assert_eq!((moved, wanted, cause), (3, 4, WaitError::TimedOut));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialError {
    /// Bytes that were moved.
    pub moved: usize,
    /// Bytes that should have been moved.
    pub wanted: usize,
    /// Why the call stopped.
    pub cause: WaitError,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitError::TimedOut => f.write_str("timed out"),
            WaitError::Ended => f.write_str("the stream has ended"),
            WaitError::Cancelled => f.write_str(CANCELLED),
            WaitError::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for WaitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WaitError::Broken(broken) => Some(broken),
            WaitError::TimedOut | WaitError::Ended | WaitError::Cancelled => None,
        }
    }
}

impl From<WaitError> for io::Error {
    fn from(cause: WaitError) -> io::Error {
        match cause {
            WaitError::Broken(broken) => broken.into(),
            cause => io::Error::new(cause.kind(), cause),
        }
    }
}

/// Why a consumer did not continue with the next stream.
///
/// # Examples
///
/// ```
/// use shmpipe::NextStreamError;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.try_write(b"abc").unwrap();
/// assert_eq!(consumer.next_stream(), Err(NextStreamError::NotEnded { available: 3 }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextStreamError {
    /// The stream has not ended, or bytes before its end are unread.
    NotEnded {
        /// Unread bytes of this stream in the ring.
        available: usize,
    },
    /// The end was acknowledged, and nothing of the next stream came within the
    /// time limit.
    TimedOut,
    /// The end was acknowledged. The cancel flag was set before anything of the
    /// next stream came.
    Cancelled,
    /// The ring cannot be used.
    Broken(Broken),
}

impl NextStreamError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            NextStreamError::NotEnded { .. } => io::ErrorKind::InvalidInput,
            NextStreamError::TimedOut => io::ErrorKind::TimedOut,
            NextStreamError::Cancelled => io::ErrorKind::Other,
            NextStreamError::Broken(broken) => broken.kind(),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        matches!(self, NextStreamError::Cancelled).then_some(libc::ECANCELED)
    }
}

numbered!(NextStreamError, "NextStreamError::TimedOut", "ETIMEDOUT");

impl fmt::Display for NextStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextStreamError::NotEnded { available } => write!(
                f,
                "the stream has not ended here: {available} bytes of it are not read"
            ),
            NextStreamError::TimedOut => f.write_str("timed out before the next stream began"),
            NextStreamError::Cancelled => f.write_str(CANCELLED),
            NextStreamError::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for NextStreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NextStreamError::Broken(broken) => Some(broken),
            NextStreamError::NotEnded { .. }
            | NextStreamError::TimedOut
            | NextStreamError::Cancelled => None,
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
            NextStreamError::Broken(broken) => broken.into(),
            NextStreamError::Cancelled => WaitError::Cancelled.into(),
            error => io::Error::new(error.kind(), error),
        }
    }
}

impl fmt::Display for PartialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, after {} of {}",
            self.cause,
            self.moved,
            Bytes(self.wanted)
        )
    }
}

impl std::error::Error for PartialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl PartialError {
    fn io_kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    fn own_errno(&self) -> Option<i32> {
        self.cause.own_errno()
    }
}

numbered!(
    PartialError,
    "PartialError { moved: 3, wanted: 4, cause: shmpipe::WaitError::Ended }",
    "ENODATA"
);

impl From<PartialError> for io::Error {
    fn from(partial: PartialError) -> io::Error {
        io::Error::new(partial.kind(), partial)
    }
}
