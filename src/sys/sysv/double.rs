//! A segment attached twice in a row, at an address range of its own.

use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use libc::MADV_POPULATE_WRITE;

use super::attach::{
    HUGE_PAGE, TRIES, attach_failed, attach_ordinary, attach_with, reserve, unmap,
};
use super::call::{shmat, shmdt};
use super::error::Failure;
use super::page_size;
use super::{SegmentId, Stat, SysvError, SysvErrorKind};

#[cfg(test)]
mod tests;

/// A segment attached twice, so that the end of its ring is followed by its start:
///
/// ```text
///     as_ptr()  + header     + header + capacity     + header + 2 * capacity
///     | header  | ring       | the same ring again   |
///     |<- first attachment ->|
///               |<- header ->|<- second attachment ->|     (its header lies under the first)
/// ```
///
/// Any span of up to `capacity` bytes that begins in the ring is contiguous. The kernel counts the
/// view as [`VIEWS`](Self::VIEWS) attachments. Dropping the view makes two `shmdt` calls.
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
    /// The kernel's description of the segment, from when it was being attached.
    stat: Stat,
}

impl DoubleView {
    /// What one double view adds to [`Stat::attached`](super::Stat::attached).
    pub const VIEWS: u64 = 2;

    /// The address of the segment's first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes mapped from that address on: the header, and the ring twice.
    #[allow(clippy::len_without_is_empty)] // There is no empty segment.
    pub fn len(&self) -> usize {
        self.segment_len + self.capacity
    }

    /// Bytes of the segment: the header, and the ring once.
    pub fn segment_len(&self) -> usize {
        self.segment_len
    }

    /// The id of the segment.
    pub fn id(&self) -> SegmentId {
        self.stat.id
    }

    /// The kernel's description of the segment, from when it was being attached.
    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Populates all pages of both views, in memory and in this process's page tables. Changes no
    /// byte.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`](SysvErrorKind::OutOfMemory), or another error of the kernel.
    pub(crate) fn populate(&self) -> Result<(), SysvError> {
        let len = self.len();
        loop {
            // SAFETY: the call fills in page tables of our own mapping, and changes no byte.
            let done = unsafe { libc::madvise(self.as_ptr().cast(), len, MADV_POPULATE_WRITE) };
            if done == 0 {
                return Ok(());
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                // The advice needs Linux 5.14.
                Some(libc::EINVAL) => break,
                _ => {
                    let call = format_args!("madvise(length={len}, MADV_POPULATE_WRITE)");
                    return Err(Failure::last().in_call(call, |_| None));
                }
            }
        }
        for offset in (0..len).step_by(page_size()) {
            let place = self.as_ptr().wrapping_add(offset);
            // SAFETY: inside the views, which stay mapped meanwhile. Others may write the byte, so
            // the load is atomic.
            let byte = unsafe { AtomicU8::from_ptr(place) };
            // A load is enough to make the kernel allocate a segment's page.
            std::hint::black_box(byte.load(Ordering::Relaxed)); // the value does not matter
        }
        Ok(())
    }
}

// SAFETY: the fields are an address, two lengths and a description. Attachments belong to the
// process, not to a thread. No method follows the address.
unsafe impl Send for DoubleView {}
// SAFETY: as for Send. Shared methods only read the fields, which never change.
unsafe impl Sync for DoubleView {}

impl Drop for DoubleView {
    fn drop(&mut self) {
        // SAFETY: `len` bytes from `base` are mapped (attach_double), and capacity < len.
        let second = unsafe { self.base.add(self.capacity) };
        // SAFETY:
        // - shmat returned both addresses to attach_double, the only constructor. They are detached
        //   here only.
        // - whoever follows `as_ptr` keeps the view alive meanwhile.
        // - the kernel unmaps the parts that still belong to the attachment. Of the second, that is
        //   the part that the first does not cover.
        unsafe { shmdt(second) };
        // SAFETY: as above.
        unsafe { shmdt(self.base) };
    }
}

/// `void *shmat(int shmid, const void *shmaddr, int shmflg);` twice with `SHM_REMAP`
///
/// Attaches the segment for reading and writing. All but its first `header_len` bytes appear twice
/// in a row; see the drawing at [`DoubleView`].
///
/// From 2 MiB on, the segment begins at a multiple of 2 MiB. The kernel can then use huge pages
/// where it is configured to (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`).
///
/// See [shmat(2)](https://man7.org/linux/man-pages/man2/shmat.2.html).
///
/// # Errors
///
/// Those of [`attach`](fn@super::attach), and:
///
/// - [`NotWholePages`](SysvErrorKind::NotWholePages): the segment or the header is not whole pages,
///   or the header leaves no room for a ring.
/// - [`HugePages`](SysvErrorKind::HugePages): the segment consists of huge pages.
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
    // While the pin is attached, the id cannot pass to another segment. Later the views have the
    // same effect. Another segment's length could make SHM_REMAP replace mappings after the
    // reservation. The pin also finds a segment that is gone, that may not be written, or that has
    // huge pages.
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

    // A saturated sum is more than can be reserved.
    let len = segment_len.saturating_add(capacity);
    let base = reserve(len, 0, alignment(segment_len, page_size), 0)?;
    // SAFETY: `reserve` made segment_len + capacity bytes, and segment_len > 0.
    let second = unsafe { base.add(capacity) };
    // SAFETY: the segment_len bytes from `second` on are the end of the reservation, which nobody
    // else knows. `pin` proves that the segment has segment_len bytes.
    if let Err(error) = unsafe { remap(id, second) } {
        if has_changed_nothing(&error) {
            // SAFETY: the end of the reservation, which the call has left unchanged.
            unsafe { unmap(second.as_ptr(), segment_len) };
        }
        // SAFETY: the start of the reservation, which the call did not cover.
        unsafe { unmap(base.as_ptr(), capacity) };
        return Err(error);
    }
    // SAFETY: the second view is attached at base + capacity, and the rest is reserved.
    unsafe { attach_first(pin.stat(), base, segment_len, capacity) }
}

/// Attaches as [`attach_double`] does, but makes no checks first. The segment must be one that this
/// process made, of `segment_len` bytes in ordinary pages.
///
/// # Errors
///
/// Those of [`attach_double`]. Also [`Removed`](SysvErrorKind::Removed) if the id has passed to
/// another segment.
pub(crate) fn attach_double_own(
    id: SegmentId,
    header_len: usize,
    segment_len: usize,
) -> Result<DoubleView, SysvError> {
    let mut attempt = 0;
    loop {
        match try_double_own(id, header_len, segment_len, attempt) {
            // Another thread has taken the place.
            Err(error)
                if matches!(error.kind(), SysvErrorKind::BadAddress { .. })
                    && attempt + 1 < TRIES =>
            {
                attempt += 1;
            }
            attached => return attached,
        }
    }
}

fn try_double_own(
    id: SegmentId,
    header_len: usize,
    segment_len: usize,
    attempt: usize,
) -> Result<DoubleView, SysvError> {
    let capacity = segment_len - header_len;
    let align = alignment(segment_len, page_size());
    let base = reserve(capacity, segment_len, align, attempt)?;
    // SAFETY: `reserve` made capacity bytes.
    let second = unsafe { base.add(capacity) };
    // Attaches where nothing is mapped, so that nothing is replaced, whatever the id stands for by
    // now. While attached, the id cannot pass to another segment.
    let refused = match attach_with(id, second.as_ptr(), 0, "0") {
        Ok(pin) if pin.len() == segment_len && pin.stat().made_here() => {
            let stat = pin.stat().clone();
            mem::forget(pin); // owned by the double view from here on
            // SAFETY: the second view is attached at base + capacity, and the reservation lies
            // before it.
            return unsafe { attach_first(&stat, base, segment_len, capacity) };
        }
        Ok(_) => SysvError::refused(
            format_args!("shmat(shmid={id}, shmaddr={second:p}, 0)"),
            SysvErrorKind::Removed,
        ),
        Err(error) => error,
    };
    // SAFETY: the reservation made above, which nobody else knows.
    unsafe { unmap(base.as_ptr(), capacity) };
    Err(refused)
}

/// Attaches the first of two views at `base`. The second is already attached, `capacity` bytes
/// later.
///
/// # Safety
///
/// - The segment has segment_len bytes.
/// - The capacity bytes from `base` on are reserved, and the second view is attached after them.
///   Nobody else knows of these addresses.
unsafe fn attach_first(
    stat: &Stat,
    base: NonNull<u8>,
    segment_len: usize,
    capacity: usize,
) -> Result<DoubleView, SysvError> {
    // SAFETY: the segment_len bytes from `base` on are the reservation and the second view's
    // header, which nobody else knows. The second view pins the id, and with it the length.
    if let Err(error) = unsafe { remap(stat.id, base) } {
        if has_changed_nothing(&error) {
            // SAFETY: the second view begins there.
            let second = unsafe { base.add(capacity) };
            // SAFETY: the second view, which the call has left unchanged. It is one mapping, so its
            // removal splits nothing.
            unsafe { unmap(second.as_ptr(), segment_len) };
            // SAFETY: the reservation before the second view, which is one mapping too.
            unsafe { unmap(base.as_ptr(), capacity) };
            return Err(error);
        }
        // The second view's header stays attached until the process ends.
        //
        // SAFETY: the second view's ring ends there.
        let second_ring = unsafe { base.add(segment_len) };
        // SAFETY: the second view's ring, which the failed call did not cover and nobody else
        // knows. munmap, not shmdt: shmdt goes by the address of the header, where another mapping
        // may be by now.
        unsafe { unmap(second_ring.as_ptr(), capacity) };
        return Err(error);
    }
    Ok(DoubleView {
        base,
        segment_len,
        capacity,
        stat: stat.clone(),
    })
}

/// Whether a failed `shmat` with `SHM_REMAP` has left the range unchanged. The segment is attached
/// elsewhere, in ordinary pages.
///
/// Once the kernel begins to clear the range, it may leave a hole. Another thread's mapping can be
/// in the hole by now, so the range must then be left alone. The table follows the steps of
/// `do_shmat` (ipc/shm.c), `do_mmap` and `mmap_region` (mm/mmap.c, mm/vma.c):
///
/// | errno | from | range |
/// |---|---|---|
/// | EINVAL | the address, the id | untouched |
/// | EACCES, EPERM | the segment's mode and owner, a security module | untouched |
/// | EIDRM | the segment's removal | untouched |
/// | ENFILE | `alloc_file_clone` | untouched |
/// | EINTR | the wait for the address space's lock | untouched |
/// | EAGAIN | `mlock_future_ok`, at the start of `do_mmap` | untouched |
/// | ENOMEM | before, while and after the range is cleared | not known |
///
/// EINVAL, EIDRM, EACCES and EPERM could in principle come after the clearing too, in three cases.
/// First, the id has passed to another segment, which the attachment excludes. Second, the segment
/// is sealed, which System V segments cannot be. Third (Linux 6.3 to 6.11), a new mapping may not
/// be executable and ours would be. The attachment made just before would then have failed as well.
fn has_changed_nothing(error: &SysvError) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::EACCES
                | libc::EPERM
                | libc::EIDRM
                | libc::ENFILE
                | libc::EINTR
                | libc::EAGAIN
        )
    )
}

/// Attaches at `address`, and replaces what is mapped there.
///
/// # Safety
///
/// As for [`shmat`] with `SHM_REMAP`.
unsafe fn remap(id: SegmentId, address: NonNull<u8>) -> Result<(), SysvError> {
    let address = address.as_ptr();
    // SAFETY: the caller vouches for the range.
    match unsafe { shmat(id, address, libc::SHM_REMAP) } {
        // The kernel attaches at the given address, or fails.
        Ok(_) => Ok(()),
        Err(failure) => Err(attach_failed(failure, id, address, "SHM_REMAP")),
    }
}

/// The alignment of a double view. The kernel maps a huge page only where address and segment
/// offset agree modulo the page's size. So the segment is aligned, rather than the ring.
///
/// Measured on Linux 6.18, with shmem_enabled at `advise`, a header of 4 KiB and a ring of 8 MiB.
/// The first view then consists of huge pages, and so does the second except for its end. With the
/// ring aligned instead, neither view has huge pages.
fn alignment(segment_len: usize, page_size: usize) -> usize {
    if segment_len >= HUGE_PAGE {
        HUGE_PAGE.max(page_size)
    } else {
        page_size
    }
}
