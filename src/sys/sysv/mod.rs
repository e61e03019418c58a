//! System V shared memory: the only `shmget`, `shmat`, `shmdt` and `shmctl` of this crate.
//!
//! The public items serve programs that use rings. [`Key`], [`Project`] and [`SegmentId`] lead to a
//! ring, [`Mode`] has its permissions, and [`SysvError`] is an error of the kernel. For
//! administrators there are [`list`], [`stat`], [`limits`], [`remove`] and [`open`].
//!
//! Functions that make or attach segments are hidden from the documentation: hidden items are
//! internal and may change in any version. They are public for this crate's own tests, which play
//! strangers that make, change and attach segments.
//!
//! Each function makes one system call, or says that it makes several. Further calls explain a
//! failure. No function here reads or writes a byte of a segment. Rules:
//!
//! 1. `create` never finds an existing segment, and [`open`] never makes one. So a caller always
//!    knows which of the two it has.
//! 2. An `Attachment` takes its length from the kernel while it is attached. Before the attach, the
//!    segment could be removed and its id given to another segment; afterwards it cannot.
//! 3. Attaching and removing are separate. Dropping an attachment never removes the segment, and
//!    [`remove`] never detaches anyone.

// This file has the buffers of `shmctl`, and sysconf. `attach` and `double` have the attachments,
// mmap and munmap.
#![allow(unsafe_code)]

mod attach;
mod call;
mod double;
mod error;
mod key;
mod listed;
mod segment;

pub(crate) use attach::attach_to_inspect;
#[doc(hidden)]
pub use attach::{Attachment, attach, attach_at, attach_read_only};
pub(crate) use double::attach_double_own;
#[doc(hidden)]
pub use double::{DoubleView, attach_double};
pub use error::{KernelLimit, SysvError, SysvErrorKind};
#[doc(hidden)]
pub use key::FileIdentity;
pub use key::{Key, KeyError, Project};
pub(crate) use listed::{listed, resident};
pub use segment::{InvalidSegmentId, Limits, Mode, SegmentId, Stat};

use std::fmt;
use std::mem;
use std::ptr;

use libc::{c_int, shmid_ds};

use call::{
    SHM_INFO, SHM_STAT, SHM_STAT_ANY, ShmLimits, ShmUsage, describe, empty_ds, shmctl, shmget,
    widen,
};

/// `int shmget(key_t key, size_t size, int shmflg);` with `IPC_CREAT|IPC_EXCL`
///
/// Makes a new segment of `size` zero bytes and returns its id. `None` stands for `IPC_PRIVATE`:
/// the segment then has no key, and is found by its id only. The segment gets exactly `mode`; the
/// umask does not apply.
///
/// The segment stays until someone [`remove`]s it, even after every process that knew it is gone.
///
/// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
///
/// # Errors
///
/// - [`AlreadyExists`](SysvErrorKind::AlreadyExists): the key is taken.
/// - [`InvalidSize`](SysvErrorKind::InvalidSize): `size` is 0.
/// - [`TooLarge`](SysvErrorKind::TooLarge): `size` is more than SHMMAX.
/// - [`LimitReached`](SysvErrorKind::LimitReached): the segments would exceed SHMMNI, or their
///   pages SHMALL.
/// - [`OutOfMemory`](SysvErrorKind::OutOfMemory): the kernel refuses to commit that much memory.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 10_000, Mode::OWNER_ONLY)?;
/// assert_eq!(sysv::stat(id)?.size, 10_000);
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(hidden)]
#[doc(alias = "shmget")]
pub fn create(key: Option<Key>, size: usize, mode: Mode) -> Result<SegmentId, SysvError> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | c_int::from(mode.bits());
    shmget(key, size, flags).map_err(|failure| {
        let key = ShownKey(key);
        failure.in_call(
            format_args!("shmget(key={key}, size={size}, IPC_CREAT|IPC_EXCL|{mode})"),
            |errno| match errno {
                libc::EEXIST => Some(SysvErrorKind::AlreadyExists),
                libc::EINVAL => Some(error::size_refused(size)),
                libc::ENOSPC => error::no_space(size),
                _ => None,
            },
        )
    })
}

/// `int shmget(key_t key, size_t size, int shmflg);` with size 0 and no flags
///
/// Finds the segment with this key. The result proves nothing yet. The kernel checks permission
/// only at the attach, and anyone could have put a segment under the key. Check its owner, mode and
/// size with [`stat`] before you trust its bytes.
///
/// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
///
/// # Errors
///
/// [`NotFound`](SysvErrorKind::NotFound): no segment of this IPC namespace has the key.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Key, Mode};
///
/// let key = Key::from_raw(0x5e00_0000 | std::process::id().cast_signed())?;
/// let id = sysv::create(Some(key), 4096, Mode::OWNER_ONLY)?;
/// assert_eq!(sysv::open(key)?, id);
/// sysv::remove(id)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "shmget")]
pub fn open(key: Key) -> Result<SegmentId, SysvError> {
    shmget(Some(key), 0, 0).map_err(|failure| {
        failure.in_call(
            format_args!("shmget(key={key}, size=0, 0)"),
            |errno| match errno {
                libc::ENOENT => Some(SysvErrorKind::NotFound),
                _ => None,
            },
        )
    })
}

/// `int shmctl(int shmid, int cmd, struct shmid_ds *buf);` with `IPC_STAT`
///
/// What the kernel knows about a segment. A snapshot: `attached` can change at any time.
///
/// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
///
/// # Errors
///
/// - [`Removed`](SysvErrorKind::Removed): no segment has this id.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): its mode does not let this process
///   read.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let stat = sysv::stat(id)?;
/// assert_eq!((stat.mode, stat.attached, stat.attach_time), (Mode::OWNER_ONLY, 0, 0));
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmctl")]
#[doc(alias = "IPC_STAT")]
pub fn stat(id: SegmentId) -> Result<Stat, SysvError> {
    let mut ds = empty_ds();
    // SAFETY: IPC_STAT fills in one shmid_ds, which `ds` is.
    match unsafe { shmctl(id.raw(), libc::IPC_STAT, &raw mut ds) } {
        Ok(_) => Ok(describe(id, &ds)),
        Err(failure) => {
            let call = format_args!("shmctl(shmid={id}, IPC_STAT)");
            Err(failure.in_call(call, removed))
        }
    }
}

/// `int shmctl(int shmid, int cmd, struct shmid_ds *buf);` with `IPC_SET`
///
/// Gives the segment another owner, group and mode. Attached processes stay attached.
///
/// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
///
/// # Errors
///
/// - [`Removed`](SysvErrorKind::Removed): no segment has this id.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): this process is neither the owner, nor
///   the creator, nor privileged.
/// - [`Other`](SysvErrorKind::Other) with EINVAL: `uid` or `gid` is -1, or not of this user
///   namespace.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let before = sysv::stat(id)?;
/// let shared = Mode::new(0o660).expect("nine bits");
/// sysv::set(id, before.uid, before.gid, shared)?;
/// assert_eq!(sysv::stat(id)?.mode, shared);
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(hidden)]
#[doc(alias = "shmctl")]
#[doc(alias = "IPC_SET")]
pub fn set(id: SegmentId, uid: u32, gid: u32, mode: Mode) -> Result<(), SysvError> {
    let mut ds = empty_ds();
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    // The field has 16 or 32 bits, depending on the architecture.
    #[allow(clippy::useless_conversion)]
    {
        ds.shm_perm.mode = mode.bits().into();
    }
    // SAFETY: IPC_SET reads one shmid_ds, which `ds` is.
    match unsafe { shmctl(id.raw(), libc::IPC_SET, &raw mut ds) } {
        Ok(_) => Ok(()),
        Err(failure) => {
            let call = format_args!("shmctl(shmid={id}, IPC_SET, uid={uid}, gid={gid}, {mode})");
            Err(failure.in_call(call, |errno| match errno {
                // Either the id, or an impossible owner.
                libc::EINVAL if exists(id) => None,
                _ => removed(errno),
            }))
        }
    }
}

/// `int shmctl(int shmid, int cmd, struct shmid_ds *buf);` with `IPC_RMID`
///
/// Removes the segment. Its key is free at once, and its memory is freed with the last attachment,
/// however that one ends. Until then Linux still attaches the segment by id.
///
/// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
///
/// # Errors
///
/// - [`Removed`](SysvErrorKind::Removed): no segment has this id.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): this process is neither the owner, nor
///   the creator, nor privileged.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode, SysvErrorKind};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let attachment = sysv::attach(id)?;
/// sysv::remove(id)?;
/// assert!(sysv::stat(id)?.marked_for_removal);
/// drop(attachment);
/// assert_eq!(sysv::stat(id).unwrap_err().kind(), SysvErrorKind::Removed);
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmctl")]
#[doc(alias = "IPC_RMID")]
pub fn remove(id: SegmentId) -> Result<(), SysvError> {
    // SAFETY: IPC_RMID does not look at the buffer.
    match unsafe { shmctl(id.raw(), libc::IPC_RMID, ptr::null_mut::<shmid_ds>()) } {
        Ok(_) => Ok(()),
        Err(failure) => {
            let call = format_args!("shmctl(shmid={id}, IPC_RMID)");
            Err(failure.in_call(call, removed))
        }
    }
}

/// Removes a segment, and succeeds if it has been removed already.
pub(crate) fn remove_if_there(id: SegmentId) -> Result<(), SysvError> {
    match remove(id) {
        Err(error) if error.kind() == SysvErrorKind::Removed => Ok(()),
        removed => removed,
    }
}

/// `int shmctl(int shmid, int cmd, struct shmid_ds *buf);` with `SHM_INFO` and `SHM_STAT_ANY`
///
/// All segments of this IPC namespace, in the kernel's order, as `ipcs -m` lists them. Makes one
/// call per segment, so segments may come or go in the meantime. Before Linux 4.17 the list lacks
/// segments that this process may not read.
///
/// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
///
/// # Errors
///
/// - [`Unsupported`](SysvErrorKind::Unsupported): the kernel has no System V shared memory.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): a security module forbids the call.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// assert!(sysv::list()?.iter().any(|stat| stat.id == id));
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmctl")]
#[doc(alias = "SHM_STAT")]
#[doc(alias = "SHM_STAT_ANY")]
#[doc(alias = "ipcs")]
pub fn list() -> Result<Vec<Stat>, SysvError> {
    let (highest, _) = usage()?;
    let slots = (0..=highest).filter_map(|index| stat_slot(index).transpose());
    slots.collect()
}

/// `int shmctl(int shmid, int cmd, struct shmid_ds *buf);` with `IPC_INFO` and `SHM_INFO`
///
/// The limits of this IPC namespace, and how much of them is in use. Makes two calls.
///
/// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html) and
/// [proc_sys_kernel(5)](https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html).
///
/// # Errors
///
/// - [`Unsupported`](SysvErrorKind::Unsupported): the kernel has no System V shared memory.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): a security module forbids the call.
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
#[doc(alias = "shmctl")]
#[doc(alias = "IPC_INFO")]
#[doc(alias = "SHM_INFO")]
#[doc(alias = "shmmni")]
#[doc(alias = "shmmax")]
#[doc(alias = "shmall")]
pub fn limits() -> Result<Limits, SysvError> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut limits: ShmLimits = unsafe { mem::zeroed() };
    // SAFETY: IPC_INFO fills in one struct shminfo, as which `limits` is laid out.
    unsafe { shmctl(0, libc::IPC_INFO, &raw mut limits) }
        .map_err(|failure| failure.in_call(format_args!("shmctl(0, IPC_INFO)"), |_| None))?;
    let (_, usage) = usage()?;
    Ok(Limits {
        shmmni: widen(limits.shmmni),
        shmmax: widen(limits.shmmax),
        shmall: widen(limits.shmall),
        segments_in_use: u64::try_from(usage.used_ids).unwrap_or(0),
        pages_in_use: widen(usage.shm_tot),
    })
}

/// `long sysconf(int name);` with `_SC_PAGESIZE`
///
/// Bytes in a page. See [sysconf(3)](https://man7.org/linux/man-pages/man3/sysconf.3.html).
///
/// # Examples
///
/// ```
/// assert!(shmpipe::sysv::page_size().is_power_of_two());
/// ```
#[doc(hidden)]
#[doc(alias = "sysconf")]
pub fn page_size() -> usize {
    // SAFETY: sysconf takes any number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("every Linux has a page size")
}

/// `len` rounded up to whole pages, in bytes. Returns `None` if the result exceeds `usize`.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{page_size, round_to_pages};
///
/// assert_eq!(round_to_pages(1), Some(page_size()));
/// assert_eq!(round_to_pages(usize::MAX), None);
/// ```
#[doc(hidden)]
pub fn round_to_pages(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(page_size())
}

/// The meaning of EINVAL and EIDRM for a call in which only the id can be wrong.
fn removed(errno: i32) -> Option<SysvErrorKind> {
    match errno {
        // EIDRM is returned during the removal; before and after it, EINVAL.
        libc::EINVAL | libc::EIDRM => Some(SysvErrorKind::Removed),
        _ => None,
    }
}

/// Whether an id still names a segment. If so, an EINVAL means another argument.
fn exists(id: SegmentId) -> bool {
    !stat(id).is_err_and(|error| error.kind() == SysvErrorKind::Removed)
}

/// The segment in slot `index` of the kernel's table, if there is one that this process may see.
fn stat_slot(index: c_int) -> Result<Option<Stat>, SysvError> {
    let mut last = None;
    // SHM_STAT_ANY needs Linux 4.17. EINVAL means an empty slot or an older kernel. Asking twice
    // costs little, and is right in both cases.
    for command in [SHM_STAT_ANY, SHM_STAT] {
        let mut ds = empty_ds();
        // SAFETY: both commands fill in one shmid_ds, which `ds` is.
        match unsafe { shmctl(index, command, &raw mut ds) } {
            Ok(id) => return Ok(SegmentId::from_raw(id).ok().map(|id| describe(id, &ds))),
            Err(failure) => {
                let call = format_args!("shmctl({index}, SHM_STAT)");
                last = Some(failure.in_call(call, removed));
            }
        }
    }
    match last {
        Some(error)
            if !matches!(
                error.kind(),
                SysvErrorKind::Removed | SysvErrorKind::PermissionDenied
            ) =>
        {
            Err(error)
        }
        _ => Ok(None),
    }
}

/// The highest slot in use, or 0, and the totals.
fn usage() -> Result<(c_int, ShmUsage), SysvError> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut usage: ShmUsage = unsafe { mem::zeroed() };
    // SAFETY: SHM_INFO fills in one struct shm_info, as which `usage` is laid out.
    match unsafe { shmctl(0, SHM_INFO, &raw mut usage) } {
        Ok(highest) => Ok((highest, usage)),
        Err(failure) => Err(failure.in_call(format_args!("shmctl(0, SHM_INFO)"), |_| None)),
    }
}

/// A key as it appears in the text of a call.
struct ShownKey(Option<Key>);

impl fmt::Display for ShownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => key.fmt(f),
            None => f.write_str("IPC_PRIVATE"),
        }
    }
}
