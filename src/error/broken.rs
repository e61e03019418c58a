//! Why a stream cannot continue.

use std::fmt;
use std::io;

use super::numbered;
use crate::role::Role;

/// How a ring's memory contradicts the protocol.
///
/// # Examples
///
/// ```
/// use shmpipe::error::Rule;
/// use shmpipe::Broken;
///
/// /// Whether the peer took back what it had published.
/// fn took_back(broken: &Broken) -> bool {
///     matches!(broken, Broken::Corrupted(what) if what.rule() == Rule::TailMovedBack)
/// }
/// assert!(!took_back(&Broken::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The tail is further from the consumer's head than the capacity.
    TailOutOfRange,
    /// The tail moved back behind a value seen earlier.
    TailMovedBack,
    /// The head is further from the producer's tail than the capacity.
    HeadOutOfRange,
    /// The head moved back behind a value seen earlier.
    HeadMovedBack,
    /// A side's closed word has a value that no side writes.
    ClosedWord,
    /// The life-cycle word has a value that no transition leads to.
    StateWord,
    /// The owner word of this handle's own role was overwritten, or the role's part
    /// of the life-cycle word was. The found and the expected value are whole words.
    OwnRole,
    /// The count of ends contradicts the count of acknowledged ends: there are more
    /// unacknowledged ends than places, or fewer ends than acknowledged.
    MarkCount,
    /// The end of a stream lies outside the bytes in the ring.
    MarkOutOfRange,
    /// The record of a stream's end says how the stream ended, by a value that no
    /// producer writes.
    MarkEnding,
}

impl Rule {
    fn sentence(self) -> &'static str {
        match self {
            Rule::TailOutOfRange => "tail is out of range of head",
            Rule::TailMovedBack => "tail moved back behind",
            Rule::HeadOutOfRange => "head is out of range of tail",
            Rule::HeadMovedBack => "head moved back behind",
            Rule::ClosedWord => "closed word is unknown, not like",
            Rule::StateWord => "life-cycle word is unknown, not like",
            Rule::OwnRole => "own role was overwritten, was",
            Rule::MarkCount => "count of ends does not fit those acknowledged",
            Rule::MarkOutOfRange => "end of a stream is out of range of tail",
            Rule::MarkEnding => "ending of a stream is unknown, more than",
        }
    }
}

/// Evidence that a process broke the protocol: the peer, or another process that
/// can write to the segment. The handle that found it cannot be used any more.
///
/// # Examples
///
/// ```
/// use shmpipe::error::Rule;
/// use shmpipe::{Broken, Options, sysv};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-lie-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// # let mut options = Options::new();
/// # let mut consumer = options.persistent(true).open_consumer(&path)?;
/// // Another process writes an impossible tail.
/// let segment = sysv::attach(Options::new().snapshot(&path)?.id)?;
/// // SAFETY: the tail is at this offset in each segment; see `guide::format`.
/// unsafe { segment.as_ptr().add(256).cast::<u64>().write_volatile(1 << 40) };
///
/// let Err(Broken::Corrupted(what)) = consumer.available() else { panic!() };
/// assert_eq!(what.rule(), Rule::TailOutOfRange);
/// assert_eq!((what.found(), what.against()), (1 << 40, 0));
/// # drop((consumer, segment));
/// # Options::new().force_remove(&path)?;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Corruption {
    rule: Rule,
    found: u64,
    against: u64,
}

impl Corruption {
    pub(crate) fn new(rule: Rule, found: u64, against: u64) -> Corruption {
        Corruption {
            rule,
            found,
            against,
        }
    }

    /// The rule that was broken.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The value found in the segment.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// The value that the found value was compared with. For an unknown word, a value
    /// that would be valid.
    #[must_use]
    pub fn against(&self) -> u64 {
        self.against
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the segment is corrupt: {} ({} against {})",
            self.rule.sentence(),
            self.found,
            self.against
        )
    }
}

impl std::error::Error for Corruption {}

impl Corruption {
    fn io_kind(&self) -> io::ErrorKind {
        io::ErrorKind::InvalidData
    }

    fn own_errno(&self) -> Option<i32> {
        None
    }
}

numbered!(Corruption);

impl From<Corruption> for io::Error {
    fn from(corruption: Corruption) -> io::Error {
        Broken::Corrupted(corruption).into()
    }
}

/// Why a stream cannot continue. Final for the handle that returns it, with one
/// exception: in a persistent ring another process can take over a dead peer's
/// role.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use shmpipe::Broken;
///
/// let (mut producer, consumer) = shmpipe::pair()?;
/// drop(consumer);
/// let error = producer.write(b"x").unwrap_err();
/// // The `io::Error` contains the `Broken`.
/// assert_eq!(Broken::find(&error), Some(&Broken::ConsumerClosed));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// This handle was closed.
    Closed,
    /// This handle is a copy in a forked child. The process that forked holds the
    /// role.
    Inherited,
    /// The consumer closed or dropped its handle.
    ConsumerClosed,
    /// The producer broke the stream off: by [`abort`](crate::Producer::abort), or
    /// by a drop while panicking.
    ProducerAborted,
    /// The peer's process ended without closing its handle.
    Died {
        /// The role of the process that died.
        role: Role,
        /// Its process id, in its own pid namespace. 0 if unknown.
        pid: u32,
    },
    /// The last process that could have taken the role has ended.
    NeverCame {
        /// The role that nobody took.
        role: Role,
    },
    /// The peer broke the protocol.
    Corrupted(Corruption),
}

impl Broken {
    /// Returns the `Broken` inside `error`, or inside an error that `error` wraps
    /// at any depth.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, Read};
    /// use std::time::Instant;
    /// use shmpipe::Broken;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.abort();
    /// let error = consumer.read(&mut [0]).unwrap_err();
    /// assert_eq!(Broken::find(&error), Some(&Broken::ProducerAborted));
    /// let partial = consumer.read_exact_deadline(&mut [0], Instant::now()).unwrap_err();
    /// let wrapped = io::Error::other(partial);
    /// assert_eq!(Broken::find(&wrapped), Some(&Broken::ProducerAborted));
    /// assert_eq!(Broken::find(&io::ErrorKind::BrokenPipe.into()), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn find(error: &io::Error) -> Option<&Broken> {
        super::find(error)
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Broken::Closed | Broken::Inherited => io::ErrorKind::NotConnected,
            Broken::ConsumerClosed | Broken::Died { .. } | Broken::NeverCame { .. } => {
                io::ErrorKind::BrokenPipe
            }
            Broken::ProducerAborted => io::ErrorKind::ConnectionAborted,
            Broken::Corrupted(_) => io::ErrorKind::InvalidData,
        }
    }

    fn own_errno(&self) -> Option<i32> {
        None
    }
}

numbered!(Broken, "Broken::ConsumerClosed", "EPIPE");

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => f.write_str("the handle was closed before: open the ring again"),
            Broken::Inherited => f.write_str(
                "the handle was inherited by fork: the process that forked has the role",
            ),
            Broken::ConsumerClosed => f.write_str("the consumer has closed the ring"),
            Broken::ProducerAborted => f.write_str("the producer broke the stream off"),
            Broken::Died { role, pid: 0 } => {
                write!(f, "the {role} died without closing the ring")
            }
            Broken::Died { role, pid } => {
                write!(
                    f,
                    "the {role} died (process {pid}) without closing the ring"
                )
            }
            Broken::NeverCame { role } => {
                write!(
                    f,
                    "no {role} ever came, and the process that could have become it has gone"
                )
            }
            Broken::Corrupted(corruption) => corruption.fmt(f),
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Broken::Corrupted(corruption) => Some(corruption),
            _ => None,
        }
    }
}

impl From<Corruption> for Broken {
    fn from(corruption: Corruption) -> Broken {
        Broken::Corrupted(corruption)
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> io::Error {
        io::Error::new(broken.kind(), broken)
    }
}
