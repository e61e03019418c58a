//! The kernel's description of a segment, and of all segments together.

#![deny(unsafe_code)]

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of a segment: returned by `shmget`, listed by `ipcs`.
///
/// An id is valid in one IPC namespace only. The kernel puts a sequence number into it, so the id
/// of a removed segment stays unused for long, though not for ever.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::SegmentId;
///
/// let id: SegmentId = "32769".parse()?;
/// assert_eq!(id, SegmentId::from_raw(32769)?);
/// assert_eq!(id.to_string(), "32769");
/// assert!("-1".parse::<SegmentId>().is_err());
/// # Ok::<(), shmpipe::sysv::InvalidSegmentId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(i32);

impl SegmentId {
    /// Checks the range of a raw id, not whether it names a segment.
    ///
    /// # Errors
    ///
    /// [`InvalidSegmentId`] if `raw` is negative.
    pub fn from_raw(raw: i32) -> Result<Self, InvalidSegmentId> {
        if raw < 0 {
            return Err(InvalidSegmentId);
        }
        Ok(Self(raw))
    }

    /// The `shmid`.
    pub fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SegmentId {
    type Err = InvalidSegmentId;

    fn from_str(text: &str) -> Result<Self, InvalidSegmentId> {
        text.parse()
            .map_err(|_| InvalidSegmentId)
            .and_then(Self::from_raw)
    }
}

/// A number or a text that cannot be a [`SegmentId`].
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{InvalidSegmentId, SegmentId};
///
/// assert_eq!(SegmentId::from_raw(-1), Err(InvalidSegmentId));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSegmentId;

impl fmt::Display for InvalidSegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a segment id is a number from 0 to {}", i32::MAX)
    }
}

impl std::error::Error for InvalidSegmentId {}

impl InvalidSegmentId {
    fn io_kind(&self) -> io::ErrorKind {
        io::ErrorKind::InvalidInput
    }

    fn own_errno(&self) -> Option<i32> {
        None
    }
}

crate::sys::errno::numbered!(InvalidSegmentId);

impl From<InvalidSegmentId> for io::Error {
    fn from(error: InvalidSegmentId) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// The nine permission bits of a segment. The kernel ignores the execute bits.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::Mode;
///
/// assert_eq!(Mode::default(), Mode::OWNER_ONLY);
/// assert_eq!(Mode::new(0o640).map(|mode| mode.to_string()).as_deref(), Some("0640"));
/// assert_eq!(Mode::new(0o1600), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode(u16);

impl Mode {
    /// `0600`: the owner reads and writes, others do nothing.
    pub const OWNER_ONLY: Self = Self(0o600);

    /// A mode of these bits, or `None` if `bits` exceeds `0o777`.
    pub const fn new(bits: u32) -> Option<Self> {
        if bits > 0o777 {
            return None;
        }
        Some(Self(bits as u16))
    }

    /// The permission bits among `bits`.
    pub(super) const fn truncate(bits: u32) -> Self {
        Self((bits & 0o777) as u16)
    }

    /// All nine bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The permissions of those who are neither the owner nor in the group: the last octal digit.
    pub const fn others_bits(self) -> u16 {
        self.0 & 0o007
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::OWNER_ONLY
    }
}

/// Four octal digits: `0600`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// One segment as the kernel describes it; see [`stat`](super::stat).
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 8192, Mode::OWNER_ONLY)?;
/// let stat = sysv::stat(id)?;
/// assert_eq!((stat.id, stat.size, stat.mode), (id, 8192, Mode::OWNER_ONLY));
/// assert_eq!((stat.attached, stat.marked_for_removal), (0, false));
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The id.
    pub id: SegmentId,
    /// The `key_t`; 0 for a private segment and for one marked for removal.
    pub key_raw: i32,
    /// Bytes asked for when the segment was made. Its memory is rounded up to whole pages.
    pub size: usize,
    /// The permission bits.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// The user who made the segment.
    pub creator_uid: u32,
    /// The group of the user who made the segment.
    pub creator_gid: u32,
    /// The number of attachments. The kernel counts mappings, not processes: a fork adds all of the
    /// parent's.
    pub attached: u64,
    /// When the segment was last attached, in seconds since 1970; 0 if never.
    pub attach_time: i64,
    /// When the segment was last detached, in seconds since 1970; 0 if never.
    pub detach_time: i64,
    /// When the segment was made or last [`set`](super::set), in seconds since 1970.
    pub change_time: i64,
    /// The process that made the segment; 0 if not visible from this pid namespace.
    pub creator_pid: i32,
    /// The process that last attached or detached the segment; 0 if none, or not visible.
    pub last_pid: i32,
    /// `SHM_DEST`: the segment is removed with the last attachment.
    pub marked_for_removal: bool,
    /// `SHM_LOCKED`: the segment is not swapped out.
    pub locked: bool,
}

impl Stat {
    /// The time since the segment was made, or last given another owner or mode.
    pub(crate) fn age(&self) -> Duration {
        let changed = UNIX_EPOCH + Duration::from_secs(self.change_time.try_into().unwrap_or(0));
        SystemTime::now()
            .duration_since(changed)
            .unwrap_or_default()
    }

    /// Whether this process made the segment.
    pub(crate) fn made_here(&self) -> bool {
        u32::try_from(self.creator_pid) == Ok(std::process::id())
    }

    /// Whether `other` may describe the same segment: equal ids, makers, sizes, modes and change
    /// times.
    pub(crate) fn may_be(&self, other: &Stat) -> bool {
        let facts = |stat: &Stat| {
            (
                (stat.creator_uid, stat.creator_gid, stat.creator_pid),
                (stat.size, stat.mode, stat.change_time),
            )
        };
        self.id == other.id && facts(self) == facts(other)
    }
}

/// The limits of this IPC namespace, and how much of them is in use; see [`limits`](super::limits).
///
/// # Examples
///
/// ```
/// use shmpipe::sysv;
///
/// let limits = sysv::limits()?;
/// assert!(limits.segments_in_use <= limits.shmmni);
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most segments.
    pub shmmni: u64,
    /// The most bytes of one segment.
    pub shmmax: u64,
    /// The most pages of all segments together.
    pub shmall: u64,
    /// Segments in use.
    pub segments_in_use: u64,
    /// Pages in use.
    pub pages_in_use: u64,
}
