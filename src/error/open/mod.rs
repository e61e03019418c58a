//! Why a ring could not be made or opened.

mod text;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Corruption, Incompatible, MemoryError, Place, numbered};
use crate::role::Role;
use crate::sys::sysv::{KeyError, SegmentId, SysvError};

/// Why a ring could not be made or opened. Nothing was written to, or removed
/// from, a segment that is not ours.
///
/// # Examples
///
/// ```
/// use shmpipe::{OpenError, Producer};
///
/// let opened = Producer::open("/nowhere/at/all");
/// assert!(matches!(opened, Err(OpenError::Path { .. })));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The file that names the ring cannot be used.
    #[non_exhaustive]
    Path {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The file that names the ring is a directory.
    #[non_exhaustive]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file that names the ring cannot be locked: its file system has no
    /// locks, has none left, or asks for a right that this process has not.
    #[non_exhaustive]
    Locking {
        /// The file.
        path: PathBuf,
        /// What flock(2), or opening the file for it, gave.
        source: io::Error,
    },
    /// No key can be made of what was given.
    Key(KeyError),
    /// A capacity of zero, or more than an address space holds.
    #[non_exhaustive]
    Capacity {
        /// The bytes asked for.
        asked: usize,
    },
    /// A mode that is not made of the nine permission bits, or that does not
    /// let its own user read and write.
    #[non_exhaustive]
    Mode {
        /// The mode asked for.
        asked: u32,
    },
    /// A ring of another capacity is there, and it was asked for too.
    #[non_exhaustive]
    CapacityMismatch {
        /// Which ring, and in which role.
        at: Place,
        /// The bytes asked for, rounded up as they would have been.
        asked: u64,
        /// The bytes of the ring that is there.
        found: u64,
    },
    /// A ring of another life cycle is there.
    #[non_exhaustive]
    LifeCycleMismatch {
        /// Which ring, and in which role.
        at: Place,
        /// Whether the ring that is there persists.
        persistent: bool,
    },
    /// No ring is there to look at or to remove. Opening one makes it.
    #[non_exhaustive]
    NoRing {
        /// The file that would name it.
        path: PathBuf,
    },
    /// Somebody alive holds the role.
    #[non_exhaustive]
    RoleTaken {
        /// Which ring, and in which role.
        at: Place,
        /// The role.
        role: Role,
        /// Who holds it, in its own pid namespace; 0 when not known.
        pid: u32,
    },
    /// The ring persists, and so many streams in it have ends that no consumer
    /// has acknowledged that there is no place for another one's. None was
    /// acknowledged in time.
    #[non_exhaustive]
    TooManyEnds {
        /// Which ring, and in which role.
        at: Place,
        /// Ends that are not acknowledged.
        unread: u64,
    },
    /// The key leads to a segment that is no ring of ours.
    #[non_exhaustive]
    NotARing {
        /// Which ring, and in which role.
        at: Place,
        /// The segment.
        id: SegmentId,
        /// What is wrong with it.
        reason: Incompatible,
    },
    /// The key leads to the ring of another file: `ftok` keeps 8 bits of the
    /// device and 16 of the inode. Another project id leads elsewhere. Or the
    /// file is gone, and its inode number was given to the file that was asked
    /// for: the time at which a file was made tells the two.
    #[non_exhaustive]
    KeyCollision {
        /// Which ring, and in which role.
        at: Place,
        /// The segment.
        id: SegmentId,
        /// Device and inode number of the file that it belongs to.
        owner: (u64, u64),
        /// Device and inode number of the file that was asked for.
        asked: (u64, u64),
        /// How old the ring is, if it is that of an earlier file with the same
        /// numbers.
        earlier: Option<Duration>,
    },
    /// The segment belongs to another user, or is open to more users than was
    /// asked for. It was not looked into.
    #[non_exhaustive]
    Untrusted {
        /// Which ring, and in which role.
        at: Place,
        /// The segment.
        id: SegmentId,
        /// The user that owns it, or made it; `None` where the kernel does not
        /// say.
        uid: Option<u32>,
        /// Its permission bits; `None` where the kernel does not say.
        mode: Option<u32>,
        /// The users whose segments were to be trusted.
        trusted: Vec<u32>,
        /// The most permission bits that were to be trusted.
        most: u32,
    },
    /// No segment has this id: it was removed, or never was.
    #[non_exhaustive]
    Removed {
        /// Which ring, and in which role.
        at: Place,
        /// The segment.
        id: SegmentId,
    },
    /// The file that names the ring was deleted or replaced while the peer was
    /// waited for: nobody could have found the ring any more.
    #[non_exhaustive]
    FileGone {
        /// Which ring, and in which role.
        at: Place,
    },
    /// Another process holds the path open for a ring that cannot be seen
    /// from here: it is in another IPC namespace, such as another container.
    #[non_exhaustive]
    OtherNamespace {
        /// The path.
        path: PathBuf,
    },
    /// The peer did not come, or a lock was not had, in time.
    #[non_exhaustive]
    TimedOut {
        /// Which ring, and in which role.
        at: Place,
        /// How long it took.
        after: Duration,
        /// What was waited for.
        what: &'static str,
    },
    /// `kernel.shm_rmid_forced` is 1: the kernel removes what nobody has
    /// attached, so nothing can persist.
    CannotPersist,
    /// The child that was to have the other end cannot be started.
    #[non_exhaustive]
    Spawn {
        /// Its program.
        program: OsString,
        /// Why not.
        source: io::Error,
    },
    /// The ring lies in memory of the caller's, not in a segment, so it cannot
    /// be handed to a child.
    NoSegment,
    /// The memory that the caller vouched for cannot hold the ring, or holds
    /// none.
    Memory(MemoryError),
    /// No parent has handed a ring to this process: the environment variable
    /// `SHMPIPE_RING` is not set.
    NotHandedOver,
    /// The environment variable `SHMPIPE_RING` says what no parent says.
    #[non_exhaustive]
    BadHandover {
        /// What it says.
        value: OsString,
    },
    /// The parent has handed the other role to this process.
    #[non_exhaustive]
    WrongRole {
        /// The role that this process was given.
        given: Role,
        /// The role that it asked for.
        asked: Role,
    },
    /// The caller's cancel flag was set; see
    /// [`Options::cancel_on`](crate::Options::cancel_on).
    Cancelled,
    /// The ring contradicts the protocol.
    Corrupted(Corruption),
    /// A system call of System V shared memory failed.
    System(SysvError),
}

impl OpenError {
    fn io_kind(&self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self {
            OpenError::Path { source, .. }
            | OpenError::Locking { source, .. }
            | OpenError::Spawn { source, .. } => source.kind(),
            OpenError::Directory { .. } => Kind::IsADirectory,
            OpenError::Key(error) => error.kind(),
            OpenError::Capacity { .. }
            | OpenError::Mode { .. }
            | OpenError::NoSegment
            | OpenError::NotHandedOver
            | OpenError::BadHandover { .. }
            | OpenError::WrongRole { .. } => Kind::InvalidInput,
            OpenError::CapacityMismatch { .. } | OpenError::LifeCycleMismatch { .. } => {
                Kind::AlreadyExists
            }
            OpenError::RoleTaken { .. } | OpenError::TooManyEnds { .. } => Kind::ResourceBusy,
            OpenError::NotARing { .. } | OpenError::Corrupted(_) => Kind::InvalidData,
            OpenError::KeyCollision { .. } => Kind::AddrInUse,
            OpenError::Untrusted { .. } => Kind::PermissionDenied,
            OpenError::Removed { .. } | OpenError::NoRing { .. } | OpenError::FileGone { .. } => {
                Kind::NotFound
            }
            OpenError::OtherNamespace { .. } => Kind::HostUnreachable,
            OpenError::TimedOut { .. } => Kind::TimedOut,
            OpenError::CannotPersist => Kind::Unsupported,
            OpenError::Cancelled => Kind::Other,
            OpenError::Memory(error) => error.kind(),
            OpenError::System(error) => io::ErrorKind::from(error),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        match self {
            OpenError::Path { source, .. }
            | OpenError::Locking { source, .. }
            | OpenError::Spawn { source, .. } => source.raw_os_error(),
            OpenError::Key(error) => Some(error.errno()),
            OpenError::System(error) => Some(error.errno()),
            OpenError::Cancelled => Some(libc::ECANCELED),
            _ => None,
        }
    }
}

numbered!(OpenError, "OpenError::CannotPersist", "EOPNOTSUPP");

impl OpenError {
    /// Which ring it is about, where it knows.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            OpenError::CapacityMismatch { at, .. }
            | OpenError::TooManyEnds { at, .. }
            | OpenError::LifeCycleMismatch { at, .. }
            | OpenError::RoleTaken { at, .. }
            | OpenError::NotARing { at, .. }
            | OpenError::KeyCollision { at, .. }
            | OpenError::Untrusted { at, .. }
            | OpenError::Removed { at, .. }
            | OpenError::FileGone { at }
            | OpenError::TimedOut { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Has it say that it is about the ring at `place`, where it does not know
    /// more.
    pub(crate) fn located(mut self, place: &Place) -> OpenError {
        match &mut self {
            OpenError::CapacityMismatch { at, .. }
            | OpenError::TooManyEnds { at, .. }
            | OpenError::LifeCycleMismatch { at, .. }
            | OpenError::RoleTaken { at, .. }
            | OpenError::NotARing { at, .. }
            | OpenError::KeyCollision { at, .. }
            | OpenError::Untrusted { at, .. }
            | OpenError::Removed { at, .. }
            | OpenError::FileGone { at }
            | OpenError::TimedOut { at, .. } => at.complete(place),
            OpenError::System(error) => error.locate(place),
            _ => {}
        }
        self
    }

    /// There is no such segment.
    pub(crate) fn removed(id: SegmentId) -> OpenError {
        OpenError::Removed {
            at: Place::default(),
            id,
        }
    }

    /// The segment is no ring of ours.
    pub(crate) fn not_a_ring(id: SegmentId, reason: Incompatible) -> OpenError {
        OpenError::NotARing {
            at: Place::default(),
            id,
            reason,
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Path { source, .. }
            | OpenError::Locking { source, .. }
            | OpenError::Spawn { source, .. } => Some(source),
            OpenError::Key(error) => Some(error),
            OpenError::Corrupted(corruption) => Some(corruption),
            OpenError::Memory(error) => Some(error),
            OpenError::System(error) => Some(error),
            _ => None,
        }
    }
}

macro_rules! open_error_from {
    ($($source:ty => $variant:ident),*) => {$(
        impl From<$source> for OpenError {
            fn from(source: $source) -> OpenError {
                OpenError::$variant(source)
            }
        }
    )*};
}

open_error_from!(
    KeyError => Key,
    Corruption => Corrupted,
    MemoryError => Memory,
    SysvError => System
);

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
