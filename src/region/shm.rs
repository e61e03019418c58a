//! A ring in an attached System V segment.
//!
//! ```text
//! base            base + ring_offset        + capacity          + 2 * capacity
//! | header        | ring                    | ring again        |
//! ```
//!
//! The second view makes every span of up to `capacity` bytes one run of
//! addresses. The start of each access is in the first view.
#![allow(unsafe_code)] // the only place that turns an offset into a pointer

use std::ptr::NonNull;
use std::sync::Arc;

use super::Region;
use crate::copy;
use crate::error::Incompatible;
use crate::layout::{Geometry, Header, LINE};
use crate::peer;
use crate::position;
use crate::sync::Ordering;
use crate::sysv::{Attachment, DoubleView, SegmentId};

/// An attached segment whose header has been checked. Clones share the
/// attachment, which ends with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct ShmRegion {
    base: NonNull<u8>,
    geometry: Geometry,
    view: Arc<DoubleView>,
    /// The IPC namespace that the id is of; 0 when unknown.
    ipc_namespace: u32,
}

// SAFETY: `base` points into the mapping that `view` keeps; a mapping belongs
// to the process, not to a thread. All access is through atomics and through
// `copy`, and what orders payload accesses is the ring's business, as it has
// to be between processes.
unsafe impl Send for ShmRegion {}
// SAFETY: as above; `&ShmRegion` gives out nothing but `&Header`, which is
// made of atomics, and the copies, which stand for relaxed atomic accesses.
unsafe impl Sync for ShmRegion {}

impl ShmRegion {
    /// Writes the identity of a new ring into a segment that nobody else
    /// believes yet. The life-cycle word stays `Unborn`.
    pub(crate) fn format(view: DoubleView, geometry: Geometry) -> ShmRegion {
        assert_eq!(view.segment_len(), geometry.segment_len());
        let region = ShmRegion::over(view, geometry);
        region.header().identity.store(&geometry.to_image());
        region
    }

    /// Believes an attached segment if its header checks out. The caller has
    /// seen that it is ready.
    pub(crate) fn open(view: DoubleView) -> Result<ShmRegion, Incompatible> {
        let len = view.segment_len();
        // SAFETY: `view` keeps `len` bytes mapped at its page-aligned address
        // and outlives the borrow.
        let header = unsafe { header_at(view.as_ptr(), len) }?;
        let geometry = Geometry::parse(&header.identity.load(), len)?;
        Ok(ShmRegion::over(view, geometry))
    }

    fn over(view: DoubleView, geometry: Geometry) -> ShmRegion {
        let base = NonNull::new(view.as_ptr()).expect("an attached segment has an address");
        ShmRegion {
            base,
            geometry,
            view: Arc::new(view),
            ipc_namespace: peer::namespace("ipc"),
        }
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.view.id()
    }

    /// Whether the id still means this segment to the kernel: ids are numbers
    /// of one IPC namespace, and a process can move to another.
    pub(crate) fn is_known_by_its_id(&self) -> bool {
        self.ipc_namespace == peer::namespace("ipc")
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The address of the byte at `position`, of which `len` follow.
    #[inline]
    pub(crate) fn at(&self, position: u64, len: usize) -> NonNull<u8> {
        let capacity = self.geometry.capacity;
        assert!(len as u64 <= capacity, "a span is no longer than the ring");
        let offset = self.geometry.ring_offset + position::index(position, capacity) as usize;
        // SAFETY: the index is less than the capacity and `len` at most the
        // capacity, so the span ends at or before
        // `ring_offset + 2 * capacity`, which is the length of the mapping
        // that `view` keeps (`format` and `open` have compared the geometry
        // with it).
        unsafe { self.base.add(offset) }
    }
}

impl Region for ShmRegion {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY:
        // - `base` is the start of a mapping of at least a page, kept by
        //   `view` for as long as `self` lives, and page-aligned.
        // - `Header` is smaller than that, has no invalid bit patterns, and
        //   consists of atomics only, so the peer may write it at any time.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    #[inline]
    fn capacity(&self) -> u64 {
        self.geometry.capacity
    }

    #[inline]
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        let place = self.at(position, bytes.len());
        // SAFETY: `at` gives a place with room for `bytes.len()` bytes in the
        // writable mapping; `bytes` is private memory, which a mapping of a
        // segment never overlaps.
        unsafe { copy::copy_in(place.as_ptr(), bytes.as_ptr(), bytes.len()) }
    }

    #[inline]
    fn copy_out(&self, position: u64, bytes: &mut [u8]) {
        let place = self.at(position, bytes.len());
        // SAFETY: as in `copy_in`, the other way round.
        unsafe { copy::copy_out(bytes.as_mut_ptr(), place.as_ptr(), bytes.len()) }
    }
}

/// The header of an attachment to look through only. A segment too small to
/// hold one is not a ring.
pub(crate) fn header_of(attachment: &Attachment) -> Result<&Header, Incompatible> {
    // SAFETY: the attachment keeps its length mapped at its page-aligned
    // address for as long as it is borrowed, which is how long the header is.
    unsafe { header_at(attachment.as_ptr(), attachment.len()) }
}

/// The header at `base`.
///
/// # Safety
///
/// `len` bytes from the page-aligned `base` are mapped for `'a`.
unsafe fn header_at<'a>(base: *const u8, len: usize) -> Result<&'a Header, Incompatible> {
    if len < size_of::<Header>() {
        return Err(Incompatible::TooSmall { segment: len });
    }
    // SAFETY: the caller vouches for the bytes, which are enough for a
    // `Header`; it is made of atomics, so any bytes are a valid one and
    // anybody may write them. Relaxed loads are the only access where the
    // mapping is read-only.
    Ok(unsafe { &*base.cast::<Header>() })
}

/// Loads the life-cycle word so that the identity read after it is the one
/// its creator published. Fit for a read-only mapping: a Relaxed load and an
/// Acquire fence, since an Acquire load of a page that cannot be written is
/// not promised to work everywhere (std::sync::atomic, "Atomic accesses to
/// read-only memory").
pub(crate) fn load_state(header: &Header) -> crate::state::State {
    let word = header.state.word.load(Ordering::Relaxed); // P3, with the fence
    crate::sync::fence(Ordering::Acquire); // P3
    crate::state::State(word)
}

/// Whether the first `len` bytes of an attachment behind its identity line are
/// zero; all of them, if it has fewer.
pub(crate) fn is_zero_behind_identity(attachment: &Attachment, len: usize) -> bool {
    const WORD: usize = size_of::<u64>();
    let end = LINE.saturating_add(len).min(attachment.len() / WORD * WORD);
    (LINE..end).step_by(WORD).all(|offset| {
        let word = attachment.as_ptr().wrapping_add(offset).cast::<u64>();
        // SAFETY: the word ends inside the attachment, which is page-aligned
        // and borrowed meanwhile; LINE and every step are multiples of a
        // word. Others may write it, so the read is volatile.
        unsafe { word.read_volatile() == 0 }
    })
}
