//! Errors of System V calls: the kind, the exact call, the errno.

#![deny(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;

use super::limits;
use crate::sys::errno::errno_of;
use crate::sys::place::Place;

/// A kernel limit that a System V shared memory call can run into.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::KernelLimit;
///
/// let limit = KernelLimit::Shmmni;
/// assert_eq!(limit.name(), "SHMMNI");
/// assert_eq!(limit.sysctl(), "kernel.shmmni");
/// assert_eq!(limit.path(), "/proc/sys/kernel/shmmni");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelLimit {
    /// `SHMMNI`: segments in one IPC namespace.
    Shmmni,
    /// `SHMMAX`: bytes of one segment.
    Shmmax,
    /// `SHMALL`: pages of all segments in one IPC namespace.
    Shmall,
    /// `file-max`: open files on the whole machine. Each segment counts as one.
    FileMax,
}

impl KernelLimit {
    /// The name in the manual pages, such as `SHMMNI`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shmmni => "SHMMNI",
            Self::Shmmax => "SHMMAX",
            Self::Shmall => "SHMALL",
            Self::FileMax => "file-max",
        }
    }

    /// The name for `sysctl`, such as `kernel.shmmni`.
    pub fn sysctl(self) -> &'static str {
        match self {
            Self::Shmmni => "kernel.shmmni",
            Self::Shmmax => "kernel.shmmax",
            Self::Shmall => "kernel.shmall",
            Self::FileMax => "fs.file-max",
        }
    }

    /// The file that shows and sets the limit, such as `/proc/sys/kernel/shmmni`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Shmmni => "/proc/sys/kernel/shmmni",
            Self::Shmmax => "/proc/sys/kernel/shmmax",
            Self::Shmall => "/proc/sys/kernel/shmall",
            Self::FileMax => "/proc/sys/fs/file-max",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Shmmni => "segments",
            Self::Shmmax => "bytes",
            Self::Shmall => "pages",
            Self::FileMax => "files",
        }
    }
}

/// What kind of failure a [`SysvError`] is.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode, SysvErrorKind};
///
/// let id = sysv::create(None, 8192, Mode::OWNER_ONLY)?;
/// sysv::remove(id)?;
/// let error = sysv::stat(id).unwrap_err();
/// assert_eq!(error.kind(), SysvErrorKind::Removed);
/// assert!(error.call().starts_with("shmctl"));
/// assert!(error.raw_os_error().is_some());
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysvErrorKind {
    /// No segment of this IPC namespace has this key.
    NotFound,
    /// A segment with this key exists, and the call asked for a new one.
    AlreadyExists,
    /// The segment's owner and mode forbid the operation to this process.
    PermissionDenied,
    /// The id names no segment of this IPC namespace: the segment was removed, or never existed.
    Removed,
    /// The kernel does not allow so large a segment.
    TooLarge {
        /// Bytes asked for.
        requested: usize,
        /// The exceeded limit.
        limit: KernelLimit,
        /// The limit's value just after the call failed.
        value: u64,
    },
    /// A limit on the number of segments, of their pages, or of open files is reached.
    LimitReached {
        /// The limit.
        limit: KernelLimit,
        /// The limit's value just after the call failed.
        value: u64,
    },
    /// Not enough memory, swap or address space, or more locked memory than `ulimit -l` allows.
    OutOfMemory,
    /// No segment can have this size: zero, or more than a file offset can express.
    InvalidSize {
        /// Bytes asked for.
        requested: usize,
    },
    /// The address is not a multiple of the page size, or something is mapped there.
    BadAddress {
        /// The address asked for.
        address: usize,
    },
    /// A double view needs a header and a ring of whole pages, and a ring that is not empty.
    NotWholePages {
        /// Bytes in the segment.
        segment_len: usize,
        /// Bytes before the ring.
        header_len: usize,
        /// Bytes in a page.
        page_size: usize,
    },
    /// The segment consists of huge pages (`SHM_HUGETLB`), which cannot be attached in this way.
    HugePages,
    /// The kernel was built without System V shared memory.
    Unsupported,
    /// Any other error; see [`SysvError::raw_os_error`].
    Other,
}

/// A System V shared memory call that failed.
///
/// The message is one line. It names the ring if there is one, the call with its arguments, and the
/// meaning of the error. If a kernel limit is reached, the message gives its value and how to raise
/// it.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode, SysvErrorKind};
///
/// let error = sysv::create(None, 0, Mode::OWNER_ONLY).unwrap_err();
/// assert_eq!(error.kind(), SysvErrorKind::InvalidSize { requested: 0 });
/// assert_eq!(
///     error.to_string(),
///     "shmget(key=IPC_PRIVATE, size=0, IPC_CREAT|IPC_EXCL|0600): a segment cannot have 0 bytes",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysvError {
    kind: SysvErrorKind,
    call: String,
    errno: Option<i32>,
    /// The ring that the call was made for: the beginning of the message, or empty.
    place: String,
}

impl SysvError {
    /// Adds the ring that the call was made for, unless there is one already.
    pub(crate) fn locate(&mut self, place: &Place) {
        if self.place.is_empty() {
            self.place = place.to_string();
        }
    }

    /// A sample error of `shmat`.
    #[cfg(test)]
    pub(crate) fn sample(kind: SysvErrorKind, errno: Option<i32>) -> Self {
        let mut error = Self::refused(format_args!("shmat(shmid=7, shmaddr=NULL, 0)"), kind);
        error.errno = errno;
        error
    }

    /// An error that this crate found, not the kernel.
    pub(super) fn refused(call: fmt::Arguments<'_>, kind: SysvErrorKind) -> Self {
        Self {
            kind,
            call: call.to_string(),
            errno: None,
            place: String::new(),
        }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> SysvErrorKind {
        self.kind
    }

    /// The call that failed, with its arguments: `shmat(shmid=7, shmaddr=NULL, 0)`.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// The errno, or `None` if this crate refused the call or its result.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno
    }

    /// The errno of this error: the one of the kernel, or else the one of the error's
    /// [`io::ErrorKind`].
    pub fn errno(&self) -> i32 {
        let by_kind = || errno_of(io::ErrorKind::from(self));
        self.errno.unwrap_or_else(by_kind)
    }
}

impl fmt::Display for SysvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: ", self.place, self.call)?;
        match self.kind {
            SysvErrorKind::NotFound => f.write_str("no segment has this key in this ipc namespace"),
            SysvErrorKind::AlreadyExists => f.write_str("a segment with this key exists already"),
            SysvErrorKind::PermissionDenied => {
                f.write_str("permission denied by the segment's owner and mode")
            }
            SysvErrorKind::Removed => {
                f.write_str("no segment has this id in this ipc namespace (any more)")
            }
            SysvErrorKind::TooLarge {
                requested,
                limit,
                value,
            } => write!(
                f,
                "{requested} {} asked for, and {} is {value}; raise it with `sysctl {}=...` or in {}",
                limit.unit(),
                limit.name(),
                limit.sysctl(),
                limit.path()
            ),
            SysvErrorKind::LimitReached { limit, value } => write!(
                f,
                "the limit {} of {value} {} is reached; raise it with `sysctl {}=...` or in {}",
                limit.name(),
                limit.unit(),
                limit.sysctl(),
                limit.path()
            ),
            SysvErrorKind::OutOfMemory if self.errno == Some(libc::EAGAIN) => f.write_str(
                "this process locks its memory (mlockall), and may not lock so much \
                 (RLIMIT_MEMLOCK, see `ulimit -l`)",
            ),
            SysvErrorKind::OutOfMemory => f.write_str(
                "not enough memory or address space (see vm.overcommit_memory, \
                 vm.max_map_count and `ulimit -v`)",
            ),
            SysvErrorKind::InvalidSize { requested } => {
                write!(f, "a segment cannot have {requested} bytes")
            }
            SysvErrorKind::BadAddress { address } => write!(
                f,
                "address {address:#x} is not a multiple of the page size, or is taken"
            ),
            SysvErrorKind::NotWholePages {
                segment_len,
                header_len,
                page_size,
            } => write!(
                f,
                "a segment of {segment_len} bytes with a header of {header_len} \
                 is not whole pages of {page_size} for both header and ring"
            ),
            SysvErrorKind::HugePages => f.write_str("the segment consists of huge pages"),
            SysvErrorKind::Unsupported => {
                f.write_str("this kernel has no system v shared memory (CONFIG_SYSVIPC)")
            }
            SysvErrorKind::Other => match self.errno {
                Some(errno) => {
                    let text = io::Error::from_raw_os_error(errno).to_string();
                    f.write_str(&text.to_lowercase())
                }
                None => f.write_str("unknown error"),
            },
        }
    }
}

impl std::error::Error for SysvError {}

impl From<&SysvError> for io::ErrorKind {
    fn from(error: &SysvError) -> Self {
        match error.kind {
            SysvErrorKind::NotFound | SysvErrorKind::Removed => io::ErrorKind::NotFound,
            SysvErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            SysvErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            SysvErrorKind::LimitReached { .. } => io::ErrorKind::StorageFull,
            SysvErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory,
            SysvErrorKind::TooLarge { .. }
            | SysvErrorKind::InvalidSize { .. }
            | SysvErrorKind::BadAddress { .. }
            | SysvErrorKind::NotWholePages { .. } => io::ErrorKind::InvalidInput,
            SysvErrorKind::HugePages | SysvErrorKind::Unsupported => io::ErrorKind::Unsupported,
            SysvErrorKind::Other => error.errno.map_or(io::ErrorKind::Other, |errno| {
                io::Error::from_raw_os_error(errno).kind()
            }),
        }
    }
}

impl From<SysvError> for io::Error {
    /// Wraps the error whole: `io::Error::get_ref` gives the [`SysvError`] back.
    fn from(error: SysvError) -> Self {
        io::Error::new(io::ErrorKind::from(&error), error)
    }
}

/// The errno of a failed call whose meaning is not decoded yet.
#[derive(Debug)]
pub(super) struct Failure {
    errno: i32,
}

impl Failure {
    /// Takes the calling thread's errno. To be called before anything else can change it.
    pub(super) fn last() -> Self {
        Self {
            errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
        }
    }

    /// Adds the call and the meaning. `decode` knows the errnos whose meaning depends on the call,
    /// and returns `None` for the others.
    pub(super) fn in_call(
        self,
        call: fmt::Arguments<'_>,
        decode: impl FnOnce(i32) -> Option<SysvErrorKind>,
    ) -> SysvError {
        SysvError {
            kind: decode(self.errno).unwrap_or_else(|| common(self.errno)),
            call: call.to_string(),
            errno: Some(self.errno),
            place: String::new(),
        }
    }
}

/// The kind of an errno that means the same in every call.
fn common(errno: i32) -> SysvErrorKind {
    match errno {
        // EPERM: not the owner. EACCES: the mode forbids it. A security module may use either.
        libc::EACCES | libc::EPERM => SysvErrorKind::PermissionDenied,
        // EAGAIN: a mapping locked by mlockall(2) would exceed RLIMIT_MEMLOCK.
        libc::ENOMEM | libc::EAGAIN => SysvErrorKind::OutOfMemory,
        libc::ENOSYS => SysvErrorKind::Unsupported,
        // The kernel keeps each segment, and each attachment, as an open file.
        libc::ENFILE => SysvErrorKind::LimitReached {
            limit: KernelLimit::FileMax,
            value: fs::read_to_string(KernelLimit::FileMax.path())
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
        },
        _ => SysvErrorKind::Other,
    }
}

/// The kind of an EINVAL of `shmget` with `IPC_CREAT|IPC_EXCL`.
///
/// EINVAL cannot mean "the existing segment is smaller": with `IPC_EXCL`, EEXIST comes first.
pub(super) fn size_refused(requested: usize) -> SysvErrorKind {
    match limits() {
        Ok(limits) if requested as u64 > limits.shmmax => SysvErrorKind::TooLarge {
            requested,
            limit: KernelLimit::Shmmax,
            value: limits.shmmax,
        },
        _ => SysvErrorKind::InvalidSize { requested },
    }
}

/// The kind of an ENOSPC of `shmget`: SHMALL or SHMMNI is reached.
///
/// The kernel checks SHMALL first. If neither seems reached by now, some segment was removed in
/// between. SHMMNI is then the likelier one, since SHMALL is unlimited unless someone has set it.
pub(super) fn no_space(requested: usize) -> Option<SysvErrorKind> {
    let limits = limits().ok()?;
    let pages = requested.div_ceil(super::page_size()) as u64;
    let (limit, value) = if limits.pages_in_use.saturating_add(pages) > limits.shmall {
        (KernelLimit::Shmall, limits.shmall)
    } else {
        (KernelLimit::Shmmni, limits.shmmni)
    };
    Some(SysvErrorKind::LimitReached { limit, value })
}
