//! Why a ring could not be made or opened.

mod text;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Corruption, Incompatible, MemoryError, Place, numbered};
use crate::role::Role;
use crate::sys::sysv::{KeyError, SegmentId, SysvError};

/// Why a ring could not be made or opened. A segment that is not a ring of this
/// user was neither written to nor removed.
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
        /// The error of opening the file.
        source: io::Error,
    },
    /// The file that names the ring is a directory.
    #[non_exhaustive]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file that names the ring cannot be locked. Its file system has no locks
    /// or none left, or demands a permission that this process lacks.
    #[non_exhaustive]
    Locking {
        /// The file.
        path: PathBuf,
        /// The error of flock(2), or of opening the file for the lock.
        source: io::Error,
    },
    /// No key can be made from the file and the project id.
    Key(KeyError),
    /// The capacity is zero, or more than an address space holds.
    #[non_exhaustive]
    Capacity {
        /// The capacity asked for, in bytes.
        asked: usize,
    },
    /// The mode has other bits than the nine permission bits, or does not let the
    /// owner read and write.
    #[non_exhaustive]
    Mode {
        /// The mode asked for.
        asked: u32,
    },
    /// A ring of another capacity exists, and this call cannot replace it. For
    /// example, its creator asked for that capacity, or both sides use the ring.
    #[non_exhaustive]
    CapacityMismatch {
        /// The ring and the role.
        at: Place,
        /// The capacity asked for in bytes, after rounding up.
        asked: usize,
        /// Capacity of the existing ring in bytes.
        found: usize,
    },
    /// A ring of another life cycle exists.
    #[non_exhaustive]
    LifeCycleMismatch {
        /// The ring and the role.
        at: Place,
        /// Whether the existing ring is persistent.
        persistent: bool,
    },
    /// There is no ring to inspect or to remove. Opening creates one.
    #[non_exhaustive]
    NoRing {
        /// The file that would name the ring.
        path: PathBuf,
    },
    /// A live process holds the role.
    #[non_exhaustive]
    RoleTaken {
        /// The ring and the role.
        at: Place,
        /// The role asked for.
        role: Role,
        /// The holder's process id, in its own pid namespace. 0 if unknown.
        pid: u32,
    },
    /// A persistent ring has no place for the end of another stream: too many ends
    /// are unacknowledged. No consumer acknowledged one within the time limit.
    #[non_exhaustive]
    TooManyEnds {
        /// The ring and the role.
        at: Place,
        /// Unacknowledged ends.
        unread: u64,
    },
    /// The key leads to a segment that is not a usable ring.
    #[non_exhaustive]
    NotARing {
        /// The ring and the role.
        at: Place,
        /// The segment's id.
        id: SegmentId,
        /// Why the segment is not usable.
        reason: Incompatible,
    },
    /// The key leads to the ring of another file. `ftok` keeps 8 bits of the device
    /// number and 16 of the inode number, so two files can have one key. Use
    /// another project id. The file may also have been deleted, and its inode
    /// number given to the file asked for. The creation times of the files tell
    /// these cases apart.
    #[non_exhaustive]
    KeyCollision {
        /// The ring and the role.
        at: Place,
        /// The segment's id.
        id: SegmentId,
        /// Device and inode number of the file that the ring belongs to.
        owner: (u64, u64),
        /// Device and inode number of the file that was asked for.
        asked: (u64, u64),
        /// Age of the ring, if an earlier file with the same numbers named it.
        earlier: Option<Duration>,
    },
    /// The segment belongs to another user, or is open to more users than the
    /// options allow. The segment was not read.
    #[non_exhaustive]
    Untrusted {
        /// The ring and the role.
        at: Place,
        /// The segment's id.
        id: SegmentId,
        /// The user that owns or created the segment. `None` if the kernel does not
        /// say.
        uid: Option<u32>,
        /// The segment's permission bits. `None` if the kernel does not say.
        mode: Option<u32>,
        /// The users that the options trust.
        trusted: Vec<u32>,
        /// The most permission bits that the options allow.
        most: u32,
    },
    /// No segment has this id: it was removed, or never existed.
    #[non_exhaustive]
    Removed {
        /// The ring and the role.
        at: Place,
        /// The segment's id.
        id: SegmentId,
    },
    /// The file that names the ring was deleted or replaced during the wait for the
    /// peer. The peer could not have found the ring any more.
    #[non_exhaustive]
    FileGone {
        /// The ring and the role.
        at: Place,
    },
    /// A process in another IPC namespace, such as another container, waits on this
    /// path. Its ring cannot be seen from here.
    #[non_exhaustive]
    OtherNamespace {
        /// The path.
        path: PathBuf,
    },
    /// The peer did not come, or a lock was not free, within the time limit.
    #[non_exhaustive]
    TimedOut {
        /// The ring and the role.
        at: Place,
        /// How long the call waited.
        after: Duration,
        /// What the call waited for.
        what: &'static str,
    },
    /// `kernel.shm_rmid_forced` is 1: the kernel removes segments that nobody has
    /// attached, so no ring can persist.
    CannotPersist,
    /// The child process could not be started.
    #[non_exhaustive]
    Spawn {
        /// The child's program.
        program: OsString,
        /// The error of starting the program.
        source: io::Error,
    },
    /// The ring lies in the caller's memory and has no segment, so a child cannot
    /// attach it by id.
    NoSegment,
    /// The caller's memory cannot hold the ring, or holds none.
    Memory(MemoryError),
    /// A name that no end for a child can have, or that the same role has twice. See
    /// [`Handover`](crate::Handover).
    #[non_exhaustive]
    EndName {
        /// The name.
        name: String,
    },
    /// The environment variable `SHMPIPE_RING` is not set: the parent process gave
    /// no ring to this process, or this process has taken all ends before. A call that
    /// asks for an end by name returns this error then, too. A call that asks for the
    /// end without a name also returns it if only ends with names are left.
    NotHandedOver,
    /// The parent process gave no end of this name to this process, or this process has
    /// taken the end before. The parent gave other ends that are still to be taken.
    #[non_exhaustive]
    NoSuchEnd {
        /// The name asked for.
        name: String,
    },
    /// The environment variable `SHMPIPE_RING` has a value that no parent sets.
    #[non_exhaustive]
    BadHandover {
        /// The value.
        value: OsString,
    },
    /// The parent process gave the other role to this process.
    #[non_exhaustive]
    WrongRole {
        /// The role that the parent process gave.
        given: Role,
        /// The role asked for.
        asked: Role,
    },
    /// The cancel flag was set. See
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
            | OpenError::EndName { .. }
            | OpenError::NotHandedOver
            | OpenError::NoSuchEnd { .. }
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

/// A reference to the place in an error that has one. Mutable if `$error` is.
macro_rules! on_place {
    ($error:expr) => {
        match $error {
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
    };
}

impl OpenError {
    /// The place of the ring, for errors that have one.
    pub(crate) fn place(&self) -> Option<&Place> {
        on_place!(self)
    }

    /// Adds what `place` knows of the ring to the error's own place.
    pub(crate) fn located(mut self, place: &Place) -> OpenError {
        if let OpenError::System(error) = &mut self {
            error.locate(place);
        } else if let Some(at) = on_place!(&mut self) {
            at.complete(place);
        }
        self
    }

    /// The error for a segment that does not exist.
    pub(crate) fn removed(id: SegmentId) -> OpenError {
        OpenError::Removed {
            at: Place::default(),
            id,
        }
    }

    /// The error for a segment that is not a usable ring.
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
