//! Why a ring could not be made or opened.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bytes, CANCELLED, Corruption, MemoryError, Place, Span};
use crate::escape::shown;
use crate::role::Role;
use crate::sys::errno::numbered;
use crate::sys::sysv::{KeyError, SegmentId, SysvError};

/// Why a segment, or memory of the caller's, is not a ring that this build can
/// use.
///
/// # Examples
///
/// ```
/// use shmpipe::error::Incompatible;
/// use shmpipe::{OpenError, Options, sysv};
///
/// let foreign = sysv::create(None, 100, sysv::Mode::OWNER_ONLY)?;
/// let attached = Options::new().attach(foreign);
/// let Err(OpenError::NotARing { reason, .. }) = attached else { panic!() };
/// assert!(matches!(reason, Incompatible::TooSmall { segment: 100 }));
/// sysv::remove(foreign)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatible {
    /// It does not start with the magic: another program's segment.
    NoMagic,
    /// It is too small to hold a header.
    TooSmall {
        /// Its size in bytes.
        segment: usize,
    },
    /// It was made by a build of another layout version.
    Version {
        /// Its version.
        found: u32,
        /// The version of this build.
        supported: u32,
    },
    /// It was made on a machine of the other byte order.
    ByteOrder,
    /// It was made by a build that keeps hot words another distance apart.
    LineSize {
        /// Its line size in bytes.
        found: u32,
        /// The line size of this build.
        supported: u32,
    },
    /// It needs features that this build does not know.
    Features {
        /// The bits of those features.
        unknown: u32,
    },
    /// Its life cycle is none that this build knows.
    Kind {
        /// The value found.
        found: u32,
    },
    /// Its header does not describe what fits the size that it has.
    Size {
        /// The capacity in its header, in bytes.
        capacity: u64,
        /// The offset of the ring in its header, in bytes.
        ring_offset: u64,
        /// The size of the segment by the kernel, or of the memory by the
        /// caller, in bytes.
        segment: usize,
    },
    /// Its life-cycle word is none that its life cycle leads to.
    State {
        /// The value found.
        found: u64,
    },
    /// Its creator has not finished it, and may be dead.
    HalfMade,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incompatible::NoMagic => f.write_str("not a ring: no magic at its start"),
            Incompatible::TooSmall { segment } => {
                write!(f, "not a ring: {} hold no header", Bytes(*segment))
            }
            Incompatible::Features { unknown } => write!(
                f,
                "it needs features that this build does not know: bits {unknown:#x}"
            ),
            Incompatible::Version { found, supported } => write!(
                f,
                "layout version {found}, and this build has {supported}: \
                 both sides need builds of one version"
            ),
            Incompatible::ByteOrder => f.write_str("made with the other byte order"),
            Incompatible::LineSize { found, supported } => write!(
                f,
                "line size {}, and this build has {supported}: both sides need like builds",
                Bytes(*found)
            ),
            Incompatible::Kind { found } => write!(f, "life cycle {found} has no use here"),
            Incompatible::Size {
                capacity,
                ring_offset,
                segment,
            } => write!(
                f,
                "its header says {} from offset {ring_offset}, and there are {segment} in all",
                Bytes(*capacity)
            ),
            Incompatible::State { found } => write!(
                f,
                "life-cycle word {found:#x} is none that its life cycle leads to"
            ),
            Incompatible::HalfMade => f.write_str(
                "its creator has not finished it: try again, or remove it once its creator is dead",
            ),
        }
    }
}

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

    fn file_error(f: &mut fmt::Formatter<'_>, path: &Path, source: &io::Error) -> fmt::Result {
        write!(f, "{}: {source}", shown(path))?;
        if source.kind() == io::ErrorKind::NotFound && !path.as_os_str().is_empty() {
            f.write_str(
                "; the file only names the ring, but it must be there: make it, empty will do",
            )?;
        }
        Ok(())
    }

    fn distrust(
        f: &mut fmt::Formatter<'_>,
        (uid, mode): (Option<u32>, Option<u32>),
        trusted: &[u32],
        most: u32,
    ) -> fmt::Result {
        match (uid, mode) {
            (None, _) => write!(f, "belongs to another user, who lets nobody look at it"),
            (Some(uid), _) if !trusted.contains(&uid) => {
                write!(f, "belongs to user {uid}, and trusted are segments of user")?;
                for (at, user) in trusted.iter().enumerate() {
                    write!(f, "{} {user}", if at == 0 { "" } else { "," })?;
                }
                write!(f, " only (Options::owner({uid}) trusts it)")
            }
            (_, Some(mode)) if mode & !most != 0 => write!(
                f,
                "has mode {mode:04o}, and no more than {most:04o} is trusted \
                 (Options::mode(0o{mode:o}) trusts it)"
            ),
            (Some(uid), Some(mode)) => {
                write!(
                    f,
                    "of user {uid} has mode {mode:04o}, which does not let this process look"
                )
            }
            (Some(uid), None) => write!(f, "of user {uid} does not let this process look"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.place() {
            at.fmt(f)?;
        }
        match self {
            OpenError::Path { path, source } => OpenError::file_error(f, path, source),
            OpenError::Locking { path, source } => write!(
                f,
                "{}: its file system cannot lock it (flock: {source}): \
                 use a file of another file system",
                shown(path)
            ),
            OpenError::Directory { path } => write!(
                f,
                "{}: is a directory, and a ring is named by a file",
                shown(path)
            ),
            OpenError::Key(error) => error.fmt(f),
            OpenError::Capacity { asked } => write!(
                f,
                "a capacity of {} is not possible: at least 1, and at most 2^61 \
                 (Options::capacity)",
                Bytes(*asked)
            ),
            OpenError::Mode { asked } => write!(
                f,
                "mode {asked:04o} is not possible: nine permission bits, with 0600 among them \
                 (Options::mode)"
            ),
            OpenError::CapacityMismatch { asked, found, .. } => write!(
                f,
                "the ring that is there has a capacity of {}, and {asked} were asked for: \
                 ask for as many, or for none (Options::capacity, --capacity)",
                Bytes(*found)
            ),
            OpenError::LifeCycleMismatch { persistent, .. } => {
                let (found, asked) = match persistent {
                    true => ("persists", "one that does not"),
                    false => ("does not persist", "one that does"),
                };
                write!(
                    f,
                    "the ring that is there {found}, and {asked} was asked for: \
                     both sides must ask for the same (Options::persistent, --persist)"
                )
            }
            OpenError::NoRing { path } => write!(f, "no ring at {}", shown(path)),
            OpenError::RoleTaken { role, pid, .. } => {
                write!(f, "there is a {role} already: ")?;
                match pid {
                    0 => f.write_str("a process that cannot be named from here")?,
                    pid => write!(f, "process {pid}")?,
                }
                write!(
                    f,
                    "; take the {}'s end, or wait until it has left",
                    role.peer()
                )
            }
            OpenError::TooManyEnds { unread, .. } => write!(
                f,
                "the ends of {unread} streams wait for a consumer: there is no place for another \
                 stream until one of them is read"
            ),
            OpenError::NotARing { at, id, reason } => {
                write!(f, "segment {id} is not usable: {reason}")?;
                match reason {
                    Incompatible::NoMagic | Incompatible::TooSmall { .. } => {
                        f.write_str(at.elsewhere())
                    }
                    _ => Ok(()),
                }
            }
            OpenError::KeyCollision {
                id,
                owner,
                earlier: Some(age),
                ..
            } => write!(
                f,
                "segment {id} is the ring of an earlier file with the same inode number \
                 (device {}, inode {}), made {} ago: if nobody needs what is in it, remove it \
                 (shmpipe::remove, shmpipe rm --id {id}), or use another project id \
                 (Options::project, --project)",
                owner.0,
                owner.1,
                Age(*age)
            ),
            OpenError::KeyCollision {
                id, owner, asked, ..
            } => write!(
                f,
                "segment {id} has the same key but belongs to another file \
                 (device {}, inode {}; asked for device {}, inode {}): use another project id \
                 (Options::project, --project)",
                owner.0, owner.1, asked.0, asked.1
            ),
            OpenError::Untrusted {
                at,
                id,
                uid,
                mode,
                trusted,
                most,
            } => {
                write!(f, "segment {id} ")?;
                OpenError::distrust(f, (*uid, *mode), trusted, *most)?;
                f.write_str(at.elsewhere())
            }
            OpenError::Removed { id, .. } => {
                write!(f, "there is no segment {id}: it was removed, or never was")
            }
            OpenError::FileGone { at } => {
                f.write_str("the file was deleted or replaced while ")?;
                match at.role() {
                    Some(role) => write!(f, "the {} was waited for", role.peer())?,
                    None => f.write_str("the other end was waited for")?,
                }
                f.write_str(
                    ", so nobody could find the ring any more: keep the file, and open again",
                )
            }
            OpenError::OtherNamespace { path } => write!(
                f,
                "{}: a process that waits there cannot be seen from here: \
                 it is in another IPC namespace (another container?), \
                 and both ends must be opened in one",
                shown(path)
            ),
            OpenError::TimedOut { after, what, .. } => {
                write!(f, "timed out {}: {what}", Span(*after))
            }
            OpenError::CannotPersist => f.write_str(
                "kernel.shm_rmid_forced is 1 (/proc/sys/kernel/shm_rmid_forced), so that nothing \
                 can persist: set it to 0, or open without Options::persistent (--persist)",
            ),
            OpenError::Spawn { program, source } => {
                write!(f, "cannot start {}: {source}", shown(program))
            }
            OpenError::NoSegment => f.write_str(
                "the ring is in memory of the caller's, which no child can attach by id: \
                 hand over a ring that has a segment (Options::create_anonymous)",
            ),
            OpenError::Memory(error) => error.fmt(f),
            OpenError::NotHandedOver => f.write_str(
                "no parent has handed a ring to this process: SHMPIPE_RING is not set \
                 (Ring::spawn_consumer and Ring::spawn_producer set it)",
            ),
            OpenError::BadHandover { value } => write!(
                f,
                "SHMPIPE_RING says `{}`, not the id, nonce and role of a ring",
                shown(value)
            ),
            OpenError::WrongRole { given, asked } => write!(
                f,
                "the parent has handed the {given}'s end to this process, not the {asked}'s"
            ),
            OpenError::Cancelled => f.write_str(CANCELLED),
            OpenError::Corrupted(corruption) => corruption.fmt(f),
            OpenError::System(error) => error.fmt(f),
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

/// A time as its largest whole unit.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ ..60 => write!(f, "{seconds} s"),
            seconds @ ..3600 => write!(f, "{} min", seconds / 60),
            seconds @ ..86400 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86400),
        }
    }
}
