//! Attachments: a segment mapped once into this process's address space. `double` maps it twice.
//!
//! An attachment is an address and a length. It gives out a raw pointer rather than a reference,
//! since another process may write at any time. Code that follows the pointer is responsible for
//! that.
//!
//! An attachment ends with its drop, with `exec`, and with the process, however the process ends. A
//! child made by `fork` gets attachments of its own at the same addresses. A drop in the child
//! detaches only the child's attachment.

use std::ptr::{self, NonNull};

use libc::{c_int, c_void};

use super::call::{shmat, shmdt};
use super::error::Failure;
use super::{SegmentId, Stat, SysvError, SysvErrorKind};
use super::{exists, page_size, removed, stat};
use crate::sys::random::random;

/// The size of a huge page on x86-64, and on aarch64 with pages of 4 KiB.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// One attachment of a segment. Dropping it calls `shmdt`.
///
/// See [`attach`], [`attach_at`] and [`attach_read_only`].
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 8192, Mode::OWNER_ONLY)?;
/// let attached = sysv::attach(id)?;
/// assert_eq!((attached.id(), attached.len()), (id, 8192));
/// // SAFETY: inside the attachment, of which nobody else knows.
/// unsafe { attached.as_ptr().write_volatile(7) };
/// drop(attached); // detaches it
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it detaches the segment"]
pub struct Attachment {
    base: NonNull<u8>,
    /// The kernel's description of the segment, from just after the attach.
    stat: Stat,
}

impl Attachment {
    /// The address of the first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes of the segment, as the kernel reports them. Does not count the rest of the last page.
    #[allow(clippy::len_without_is_empty)] // There is no empty segment.
    pub fn len(&self) -> usize {
        self.stat.size
    }

    /// The id of the segment.
    pub fn id(&self) -> SegmentId {
        self.stat.id
    }

    /// The kernel's description of the segment from just after the attach, this attachment
    /// included. An earlier description may be of another segment, since an id that nobody has
    /// attached can be reused.
    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Wraps an address that [`shmat`] returned, and asks the kernel about the segment. Detaches
    /// again on failure.
    fn measure(base: NonNull<u8>, id: SegmentId) -> Result<Self, SysvError> {
        match stat(id) {
            Ok(stat) => Ok(Self { base, stat }),
            Err(error) => {
                // SAFETY: shmat returned `base` to the caller, which does not use it.
                unsafe { shmdt(base) };
                Err(error)
            }
        }
    }
}

// SAFETY: the fields are an address and a description. Attachments belong to the process, not to a
// thread. No method follows the address.
unsafe impl Send for Attachment {}
// SAFETY: as for Send. Shared methods only read the fields, which never change.
unsafe impl Sync for Attachment {}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY:
        // - `base` was returned by shmat: `measure` is the only constructor, and its callers pass
        //   that. It is detached here only.
        // - whoever follows `as_ptr` keeps the attachment alive meanwhile.
        unsafe { shmdt(self.base) };
    }
}

/// `void *shmat(int shmid, const void *shmaddr, int shmflg);` with null and no flags
///
/// Attaches the segment for reading and writing, at an address of the kernel's choice.
///
/// See [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html).
///
/// # Errors
///
/// - [`Removed`](SysvErrorKind::Removed): no segment has this id.
/// - [`PermissionDenied`](SysvErrorKind::PermissionDenied): its mode does not let this process read
///   and write.
/// - [`OutOfMemory`](SysvErrorKind::OutOfMemory): there is no address space left for it.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let attachment = sysv::attach(id)?;
/// sysv::remove(id)?; // From here on the segment lives as long as the attachment.
/// assert_eq!(attachment.len(), 4096);
/// assert_eq!(sysv::stat(id)?.attached, 1);
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmat")]
pub fn attach(id: SegmentId) -> Result<Attachment, SysvError> {
    attach_with(id, ptr::null_mut(), 0, "0")
}

/// `void *shmat(int shmid, const void *shmaddr, int shmflg);` with an address and no flags
///
/// Attaches the segment for reading and writing at `address`. The kernel refuses an address where
/// anything is mapped, so the call is safe. With null, the call equals [`attach`].
///
/// See [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html).
///
/// # Errors
///
/// Those of [`attach`], and [`BadAddress`](SysvErrorKind::BadAddress): the address is not a
/// multiple of the page size, or something is mapped in the range.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode, SysvErrorKind};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let first = sysv::attach(id)?;
/// sysv::remove(id)?;
/// let error = sysv::attach_at(id, first.as_ptr()).unwrap_err();
/// assert!(matches!(error.kind(), SysvErrorKind::BadAddress { .. }));
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmat")]
pub fn attach_at(id: SegmentId, address: *mut u8) -> Result<Attachment, SysvError> {
    attach_with(id, address, 0, "0")
}

/// `void *shmat(int shmid, const void *shmaddr, int shmflg);` with null and `SHM_RDONLY`
///
/// Attaches the segment for reading, at an address of the kernel's choice. A write through the
/// pointer ends the process with SIGSEGV.
///
/// See [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html).
///
/// # Errors
///
/// Those of [`attach`]; permission to read is enough.
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let id = sysv::create(None, 4096, Mode::OWNER_ONLY)?;
/// let attachment = sysv::attach_read_only(id)?;
/// sysv::remove(id)?;
/// assert_eq!(attachment.id(), id);
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmat")]
#[doc(alias = "SHM_RDONLY")]
pub fn attach_read_only(id: SegmentId) -> Result<Attachment, SysvError> {
    attach_with(id, ptr::null_mut(), libc::SHM_RDONLY, "SHM_RDONLY")
}

/// Attaches as [`attach_read_only`] does, but refuses a segment of huge pages.
pub(crate) fn attach_to_inspect(id: SegmentId) -> Result<Attachment, SysvError> {
    attach_ordinary(id, libc::SHM_RDONLY, "SHM_RDONLY")
}

/// How often to try again after another thread has taken the address.
pub(super) const TRIES: usize = 16;

/// Bytes of address space over which later attempts are spread.
const FAR_BELOW: usize = 16 << 30;

/// Attaches a segment of ordinary pages, and refuses one of huge pages.
///
/// A segment of huge pages (`SHM_HUGETLB`) takes more address space than its reported size, so
/// `SHM_REMAP` would replace mappings after the reserved range. Touching such a segment can raise
/// `SIGBUS`. The kernel does not report which segments have huge pages. But it refuses to attach
/// such a segment at an address that is not a multiple of the huge page's size.
pub(super) fn attach_ordinary(
    id: SegmentId,
    flags: c_int,
    shown: &str,
) -> Result<Attachment, SysvError> {
    let len = super::stat(id)?.size; // the room to look for
    for attempt in 0..TRIES {
        // A place that was free a moment ago, and is not a multiple of any huge page's size.
        let room = len.saturating_add(page_size());
        let hole = reserve(0, room, HUGE_PAGE.max(page_size()), attempt)?;
        let address = hole.as_ptr().wrapping_add(page_size());
        match attach_with(id, address, flags, shown) {
            Err(error) if matches!(error.kind(), SysvErrorKind::BadAddress { .. }) => {}
            attached => return attached,
        }
    }
    let call = format_args!("shmat(shmid={id}, an odd page, {shown})");
    Err(SysvError::refused(call, SysvErrorKind::HugePages))
}

/// Calls `shmat` and measures the result. `flags` must not contain `SHM_REMAP`; `shown` is their
/// text for messages.
pub(super) fn attach_with(
    id: SegmentId,
    address: *mut u8,
    flags: c_int,
    shown: &str,
) -> Result<Attachment, SysvError> {
    // SAFETY: without SHM_REMAP the call replaces nothing.
    match unsafe { shmat(id, address, flags) } {
        Ok(base) => Attachment::measure(base, id),
        Err(failure) => Err(attach_failed(failure, id, address, shown)),
    }
}

pub(super) fn attach_failed(
    failure: Failure,
    id: SegmentId,
    address: *mut u8,
    flags: &str,
) -> SysvError {
    let shown = if address.is_null() {
        "NULL".to_owned()
    } else {
        format!("{address:p}")
    };
    failure.in_call(
        format_args!("shmat(shmid={id}, shmaddr={shown}, {flags})"),
        |errno| match errno {
            // Either the id or the address is wrong.
            libc::EINVAL if !address.is_null() && exists(id) => Some(SysvErrorKind::BadAddress {
                address: address.addr(),
            }),
            _ => removed(errno),
        },
    )
}

/// Reserves `len` bytes of address space at a multiple of `align`. The `free` bytes after the
/// reservation were unmapped a moment ago. All lengths are whole pages, and `align` is a power of
/// two.
///
/// The kernel places mappings one below the other. So the first attempt finds the place where any
/// thread's next mapping goes. Later attempts look at a random place far below.
pub(super) fn reserve(
    len: usize,
    free: usize,
    align: usize,
    attempt: usize,
) -> Result<NonNull<u8>, SysvError> {
    // The kernel aligns to a page by itself.
    let slack = align - page_size();
    // A saturated sum is more than mmap grants.
    let total = len.saturating_add(free).saturating_add(slack);
    let mut start = map_nothing(ptr::null_mut(), total);
    if attempt > 0 && start != libc::MAP_FAILED {
        let below = random() as usize % FAR_BELOW + total.next_multiple_of(page_size());
        let hint = start.map_addr(|address| address.saturating_sub(below));
        // SAFETY: the mapping made above, which nobody else knows.
        unsafe { unmap(start.cast(), total) };
        start = map_nothing(hint, total); // at another place if the hint is not free
    }
    if start == libc::MAP_FAILED {
        let call = format_args!(
            "mmap(addr=NULL, length={total}, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE)"
        );
        return Err(Failure::last().in_call(call, not_the_segments));
    }
    let start = start.cast::<u8>();
    let before = start.align_offset(align);
    // Nothing uses the reservation yet, so the surplus can be unmapped without a race.
    // SAFETY: `start` and `align` are multiples of the page size. So the distance to the next
    // multiple of `align` is at most `align - page_size`, which is `slack`.
    let base = unsafe { start.add(before) };
    // SAFETY: before + len <= total.
    let end = unsafe { base.add(len) };
    // SAFETY: the first `before` bytes of the mapping made above, which nobody else knows.
    let cut = unsafe { unmap(start, before) };
    // SAFETY: the bytes after `end` of the mapping made above, which nobody else knows.
    if !cut || !unsafe { unmap(end, total - before - len) } {
        // The surplus is still mapped, so an attach at this place would fail. That failure would be
        // taken for huge pages. So the failure of munmap is reported.
        let failure = Failure::last();
        let left = if cut { base } else { start };
        // SAFETY: the rest of the mapping made above. It is one piece, so unmapping needs no
        // memory.
        unsafe { unmap(left, total - if cut { before } else { 0 }) };
        let call = format_args!("munmap(length={total}, but for {len})");
        return Err(failure.in_call(call, not_the_segments));
    }
    // mmap does not return null unless asked to.
    Ok(NonNull::new(base).expect("mmap chose the address"))
}

/// The kind of an error that has nothing to do with a segment's owner or mode.
fn not_the_segments(errno: i32) -> Option<SysvErrorKind> {
    match errno {
        libc::EPERM | libc::EACCES => Some(SysvErrorKind::Other),
        _ => None,
    }
}

/// Makes a new mapping without access, at `hint` if possible.
fn map_nothing(hint: *mut c_void, len: usize) -> *mut c_void {
    // SAFETY: without MAP_FIXED no existing mapping changes.
    unsafe {
        libc::mmap(
            hint,
            len,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    }
}

/// Unmaps a range. Returns `false` if the kernel refuses, which leaves address space reserved and
/// nothing else.
///
/// # Safety
///
/// - The `len` bytes from `start` on are mapped by the caller, and nothing uses them.
pub(super) unsafe fn unmap(start: *mut u8, len: usize) -> bool {
    // SAFETY: the range is the caller's, and unused.
    len == 0 || unsafe { libc::munmap(start.cast::<c_void>(), len) } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: another thread's next mapping took the place that this thread had found free,
    /// sixteen times in a row. The segment was then refused as one of huge pages.
    #[test]
    fn a_later_attempt_looks_elsewhere() {
        let room = 3 * page_size();
        let place = |attempt| reserve(0, room, HUGE_PAGE, attempt).unwrap().addr().get();
        let later = [1, 1, 2, 3].map(place);
        for (at, place) in later.iter().enumerate() {
            assert!(place.is_multiple_of(HUGE_PAGE));
            assert!(!later[..at].contains(place), "{later:x?}");
        }
    }
}
