//! Attachments: a segment in the address space of this process, once or twice over.
//!
//! Both types are an address and a length. They give out a raw pointer and no reference, since
//! another process may write at any time; whoever follows the pointer answers for that.
//!
//! What ends an attachment: the drop, `exec`, and every way for a process to end. What does not:
//! `fork`, which gives the child attachments of its own, at the same addresses; their drop in the
//! child detaches the child's.

use std::ptr::{self, NonNull};

use libc::{c_int, c_void};

use super::error::Failure;
use super::{SegmentId, SysvError, SysvErrorKind};
use super::{exists, page_size, removed, shmat, shmdt, stat};

/// The size of a huge page on x86-64, and on aarch64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// One attachment of a segment. Its drop is `shmdt`.
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
    len: usize,
    id: SegmentId,
}

impl Attachment {
    /// The address of the first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes in the segment, by the kernel's account. What is mapped beyond them, up to a whole
    /// page, is not counted.
    #[allow(clippy::len_without_is_empty)] // There is no empty segment.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The segment.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// Wraps what [`shmat`] returned and asks for its length. On failure it is detached again.
    fn measure(base: NonNull<u8>, id: SegmentId) -> Result<Self, SysvError> {
        let mut attachment = Self { base, len: 0, id };
        attachment.len = stat(id)?.size;
        Ok(attachment)
    }
}

// SAFETY: an address, a length and a number; attachments belong to the process, not to a thread.
// Nothing here follows the address.
unsafe impl Send for Attachment {}
// SAFETY: as for Send; and shared methods only read the three fields, which never change.
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
/// Attaches the segment for reading and writing, where the kernel likes.
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
/// anything is mapped, so this cannot hurt. Null is no address: it is the same as [`attach`].
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
/// Attaches the segment for reading, where the kernel likes. A write through the pointer ends the
/// process with SIGSEGV.
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

/// [`attach_read_only`], of a segment of ordinary pages only.
pub(crate) fn look(id: SegmentId) -> Result<Attachment, SysvError> {
    attach_ordinary(id, libc::SHM_RDONLY, "SHM_RDONLY")
}

/// How often an address is tried that another thread was faster to take.
const TRIES: usize = 16;

/// Attaches a segment of ordinary pages, and no other.
///
/// A segment of huge pages (`SHM_HUGETLB`) takes more address space than the
/// size that the kernel reports for it, so it would replace what lies behind a
/// place measured for it; and touching it can raise `SIGBUS`. The kernel does
/// not say which segments are such, but it refuses to attach one at an address
/// that is not a multiple of the huge page's size.
fn attach_ordinary(id: SegmentId, flags: c_int, shown: &str) -> Result<Attachment, SysvError> {
    let len = super::stat(id)?.size; // how much room to look for
    for _ in 0..TRIES {
        // A place that was free a moment ago, and is no multiple of any huge
        // page's size.
        let room = len.saturating_add(page_size());
        let hole = reserve(room, HUGE_PAGE.max(page_size()))?;
        // SAFETY: the reservation made above, which nobody else knows.
        unsafe { unmap(hole.as_ptr(), room) };
        let address = hole.as_ptr().wrapping_add(page_size());
        match attach_with(id, address, flags, shown) {
            Err(error) if matches!(error.kind(), SysvErrorKind::BadAddress { .. }) => {}
            attached => return attached,
        }
    }
    let call = format_args!("shmat(shmid={id}, an odd page, {shown})");
    Err(SysvError::refused(call, SysvErrorKind::HugePages))
}

/// `flags` does not hold `SHM_REMAP`; `shown` is how it reads.
fn attach_with(
    id: SegmentId,
    address: *mut u8,
    flags: c_int,
    shown: &str,
) -> Result<Attachment, SysvError> {
    // SAFETY: without SHM_REMAP there is nothing to vouch for.
    match unsafe { shmat(id, address, flags) } {
        Ok(base) => Attachment::measure(base, id),
        Err(failure) => Err(attach_failed(failure, id, address, shown)),
    }
}

fn attach_failed(failure: Failure, id: SegmentId, address: *mut u8, flags: &str) -> SysvError {
    let shown = if address.is_null() {
        "NULL".to_owned()
    } else {
        format!("{address:p}")
    };
    failure.in_call(
        format_args!("shmat(shmid={id}, shmaddr={shown}, {flags})"),
        |errno| match errno {
            // The id, or the address.
            libc::EINVAL if !address.is_null() && exists(id) => Some(SysvErrorKind::BadAddress {
                address: address.addr(),
            }),
            _ => removed(errno),
        },
    )
}

/// A segment attached twice, so that its ring follows upon itself:
///
/// ```text
///     as_ptr()  + header     + header + capacity     + header + 2 * capacity
///     | header  | ring       | the same ring again   |
///     |<- first attachment ->|
///               |<- header ->|<- second attachment ->|     (its header lies under the first)
/// ```
///
/// Any span of up to `capacity` bytes that begins in the ring is one piece, without a seam. The
/// kernel counts it as [`VIEWS`](Self::VIEWS) attachments. Its drop is two `shmdt`.
///
/// See [`attach_double`].
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, DoubleView, Mode};
///
/// let (header, capacity) = (sysv::page_size(), 4 * sysv::page_size());
/// let id = sysv::create(None, header + capacity, Mode::OWNER_ONLY)?;
/// let view = sysv::attach_double(id, header)?;
/// assert_eq!(view.id(), id);
/// assert_eq!(view.segment_len(), header + capacity);
/// assert_eq!(view.len(), header + 2 * capacity);
/// assert_eq!(sysv::stat(id)?.attached, DoubleView::VIEWS);
/// // SAFETY: inside the two views, of which nobody else knows.
/// unsafe { view.as_ptr().add(header).write_volatile(7) };
/// // SAFETY: as before; the first byte of the ring, once more.
/// assert_eq!(unsafe { view.as_ptr().add(header + capacity).read_volatile() }, 7);
/// drop(view);
/// sysv::remove(id)?;
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it detaches the segment"]
pub struct DoubleView {
    base: NonNull<u8>,
    segment_len: usize,
    capacity: usize,
    id: SegmentId,
}

impl DoubleView {
    /// What one double view adds to [`Stat::attached`](super::Stat::attached).
    pub const VIEWS: u64 = 2;

    /// The address of the first byte of the segment.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes mapped from there on: the header, and the ring twice.
    #[allow(clippy::len_without_is_empty)] // There is no empty segment.
    pub fn len(&self) -> usize {
        self.segment_len + self.capacity
    }

    /// Bytes in the segment: the header, and the ring once.
    pub fn segment_len(&self) -> usize {
        self.segment_len
    }

    /// The segment.
    pub fn id(&self) -> SegmentId {
        self.id
    }
}

// SAFETY: an address, two lengths and a number; attachments belong to the process, not to a thread.
// Nothing here follows the address.
unsafe impl Send for DoubleView {}
// SAFETY: as for Send; and shared methods only read the fields, which never change.
unsafe impl Sync for DoubleView {}

impl Drop for DoubleView {
    fn drop(&mut self) {
        // SAFETY: `len` bytes from `base` are mapped (attach_double), and capacity < len.
        let second = unsafe { self.base.add(self.capacity) };
        // SAFETY:
        // - shmat returned both addresses to attach_double, the only constructor. They are detached
        //   here only.
        // - whoever follows `as_ptr` keeps the view alive meanwhile.
        // - the kernel unmaps of each what is still that attachment's: of the second, what the
        //   first does not cover.
        unsafe { shmdt(second) };
        // SAFETY: as above.
        unsafe { shmdt(self.base) };
    }
}

/// `void *shmat(int shmid, const void *shmaddr, int shmflg);` twice with `SHM_REMAP`
///
/// Attaches the segment for reading and writing such that all but its first `header_len` bytes
/// appear twice in a row; [`DoubleView`] draws it.
///
/// From 2 MiB on the segment begins at a multiple of 2 MiB, so that the kernel can use huge pages
/// where it is set to (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`).
///
/// See [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html).
///
/// # Errors
///
/// Those of [`attach`]; [`NotWholePages`](SysvErrorKind::NotWholePages): the segment or the header
/// is not whole pages, or the header leaves no room for a ring; and
/// [`HugePages`](SysvErrorKind::HugePages).
///
/// # Examples
///
/// ```
/// use shmpipe::sysv::{self, Mode};
///
/// let page = sysv::page_size();
/// let id = sysv::create(None, 3 * page, Mode::OWNER_ONLY)?;
/// let view = sysv::attach_double(id, page)?;
/// sysv::remove(id)?;
/// assert_eq!((view.segment_len(), view.len()), (3 * page, 5 * page));
/// # Ok::<(), sysv::SysvError>(())
/// ```
#[doc(alias = "shmat")]
#[doc(alias = "SHM_REMAP")]
pub fn attach_double(id: SegmentId, header_len: usize) -> Result<DoubleView, SysvError> {
    // Pins the id until the first of the views does. While attached, the id cannot pass to another
    // segment, whose length would make SHM_REMAP replace mappings behind the reservation; a
    // segment that is gone, or not ours to write, is found before anything is reserved; and one
    // of huge pages, which would take more than its length, is refused.
    let pin = attach_ordinary(id, 0, "0")?;
    let segment_len = pin.len();
    let page_size = page_size();
    let not_whole_pages = || {
        SysvError::refused(
            format_args!("attach_double(shmid={id}, header_len={header_len})"),
            SysvErrorKind::NotWholePages {
                segment_len,
                header_len,
                page_size,
            },
        )
    };
    let whole_pages = segment_len.is_multiple_of(page_size) && header_len.is_multiple_of(page_size);
    let capacity = match segment_len.checked_sub(header_len) {
        Some(capacity @ 1..) if whole_pages => capacity,
        _ => return Err(not_whole_pages()),
    };

    // Saturated, it is more than can be reserved.
    let len = segment_len.saturating_add(capacity);
    let base = reserve(len, alignment(segment_len, page_size))?;
    // SAFETY: `reserve` made segment_len + capacity bytes, and segment_len > 0.
    let second = unsafe { base.add(capacity) };

    // Where one of these two fails, the kernel may have unmapped the range of that call already,
    // and another thread may have something there by now. So that range is left as it is: at worst
    // it stays reserved, or a second view's header stays attached until the process ends. With the
    // segment pinned, what makes them fail is memory or mappings running out, or a mode that
    // changes at this moment.
    //
    // SAFETY: the segment_len bytes from `second` on are the end of the reservation, which nobody
    // else knows; `pin` proves that the segment has segment_len bytes.
    unsafe { remap(id, second) }?;
    drop(pin);
    // SAFETY: the segment_len bytes from `base` on are the start of the reservation and the second
    // view's header, which nobody else knows; the second view now pins the id, hence the length.
    if let Err(error) = unsafe { remap(id, base) } {
        // SAFETY: `reserve` made segment_len + capacity bytes.
        let second_ring = unsafe { base.add(segment_len) };
        // SAFETY: the second view's ring, which the failed call did not cover, and which nobody
        // else knows. Not shmdt: it goes by the address of the header, where anything may be by
        // now.
        unsafe { unmap(second_ring.as_ptr(), capacity) };
        return Err(error);
    }
    Ok(DoubleView {
        base,
        segment_len,
        capacity,
        id,
    })
}

/// Attaches at `address` in place of what is mapped there.
///
/// # Safety
///
/// As for [`shmat`] with `SHM_REMAP`.
unsafe fn remap(id: SegmentId, address: NonNull<u8>) -> Result<(), SysvError> {
    let address = address.as_ptr();
    // SAFETY: the caller vouches for the range.
    match unsafe { shmat(id, address, libc::SHM_REMAP) } {
        // The kernel attaches at the address it is given, or fails.
        Ok(_) => Ok(()),
        Err(failure) => Err(attach_failed(failure, id, address, "SHM_REMAP")),
    }
}

/// The kernel maps a huge page only where the address and the offset in the segment agree below its
/// size, so it is the segment that is aligned, not the ring. Measured on Linux 6.18, with
/// shmem_enabled at `advise`, a header of 4 KiB and a ring of 8 MiB: so, all of the first view is
/// huge pages, and all but the last of the second; with the ring aligned instead, none.
fn alignment(segment_len: usize, page_size: usize) -> usize {
    if segment_len >= HUGE_PAGE {
        HUGE_PAGE.max(page_size)
    } else {
        page_size
    }
}

/// Reserves `len` bytes of address space at a multiple of `align`. Both are whole pages, and
/// `align` is a power of two.
fn reserve(len: usize, align: usize) -> Result<NonNull<u8>, SysvError> {
    // The kernel aligns to a page by itself.
    let slack = align - page_size();
    // Saturated, it is more than mmap grants.
    let total = len.saturating_add(slack);
    // SAFETY: without MAP_FIXED no existing mapping changes.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            total,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        let call = format_args!(
            "mmap(addr=NULL, length={total}, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE)"
        );
        return Err(Failure::last().in_call(call, |_| None));
    }
    let start = start.cast::<u8>();
    let before = start.align_offset(align);
    // Nothing stands in the reservation yet, so what is too much of it can go without a race.
    // SAFETY: before <= slack, as the distance to a multiple of `align` is one of the page size.
    let base = unsafe { start.add(before) };
    // SAFETY: before + len <= total.
    let end = unsafe { base.add(len) };
    // SAFETY: the first `before` bytes of the mapping made above, which nobody else knows.
    unsafe { unmap(start, before) };
    // SAFETY: the last `slack - before` bytes of the mapping made above, which nobody else knows.
    unsafe { unmap(end, slack - before) };
    // mmap does not return null unless asked to.
    Ok(NonNull::new(base).expect("mmap chose the address"))
}

/// Failure is ignored: it leaves address space reserved and nothing else.
///
/// # Safety
///
/// - The `len` bytes from `start` on are mapped by the caller, and nothing uses them.
unsafe fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: the range is the caller's, and unused.
        unsafe { libc::munmap(start.cast::<c_void>(), len) };
    }
}
