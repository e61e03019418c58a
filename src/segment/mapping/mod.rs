//! Mapped memory that holds a ring: a System V segment, or the caller's memory.
//!
//! A mapping knows the header, the geometry, and where the memory comes from. Opening, liveness and
//! leaving need no more. The bytes of the ring belong to a region over the mapping
//! ([`MappedRegion`](super::region::mapped::MappedRegion)), which only a handle has.
#![allow(unsafe_code)] // turns addresses into headers

pub(crate) mod inspect;
mod kernel;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Incompatible;
use crate::segment::identity::{Geometry, Identity};
use crate::segment::layout::Header;
use crate::segment::state::Life;
use crate::sys::process;
use crate::sys::sysv::DoubleView;

/// Mapped memory whose header has been checked. Clones share an attachment, which ends with the
/// last clone.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    origin: Arc<Origin>,
}

/// Where the memory comes from, and its geometry, which never changes.
#[derive(Debug)]
struct Origin {
    geometry: Geometry,
    /// Bytes from `base` to the end of the contiguous mapping.
    len: usize,
    memory: Memory,
}

/// The owner of the memory.
#[derive(Debug)]
enum Memory {
    Segment {
        view: DoubleView,
        /// The IPC namespace to which the id belongs; 0 when unknown.
        ipc_namespace: u32,
    },
    /// The caller's memory, which the caller keeps mapped.
    Borrowed,
}

// SAFETY: `base` points into the mapping that `origin` or the caller keeps. A mapping belongs to
// the process, not to a thread. `Mapping` gives out only addresses and `&Header`, which is made of
// atomics.
unsafe impl Send for Mapping {}
// SAFETY: as for Send.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Writes the identity of a new ring into a segment that no opener accepts yet. The life-cycle
    /// word stays `Unborn`.
    pub(crate) fn format(view: DoubleView, geometry: Geometry, path: &[u8]) -> Mapping {
        assert_eq!(view.segment_len(), geometry.ring_end());
        let mapping = Mapping::over(view, geometry);
        mapping.header().identity.store(&geometry.to_image());
        mapping.header().store_path(path);
        mapping
    }

    /// Accepts an attached segment if its header is valid. The caller has seen that the segment is
    /// ready.
    pub(crate) fn open(view: DoubleView) -> Result<Mapping, Incompatible> {
        let len = view.segment_len();
        // SAFETY: `view` keeps `len` bytes mapped at its page-aligned address
        // and outlives the borrow.
        let header = unsafe { header_at(view.as_ptr(), len) }?;
        let geometry = Geometry::of_segment(&header.identity.load(), len)?;
        Ok(Mapping::over(view, geometry))
    }

    fn over(view: DoubleView, geometry: Geometry) -> Mapping {
        let base = NonNull::new(view.as_ptr()).expect("an attached segment has an address");
        let len = view.len();
        let memory = Memory::Segment {
            view,
            ipc_namespace: process::namespace("ipc"),
        };
        // SAFETY: `memory` keeps `len` bytes mapped at `base`, which is page-aligned. `format` and
        // `open` have seen that the ring ends with the segment, whose double view is longer. The
        // rest holds of every `Geometry`: the header ends before the ring, whose capacity is a
        // power of two.
        unsafe { Mapping::with(base, geometry, len, memory) }
    }

    /// # Safety
    ///
    /// `len` bytes from `base` on stay mapped for as long as `memory` lives. `base` is aligned for
    /// a `Header`. The header ends before the ring, and the ring within the mapping. The ring's
    /// capacity is a power of two.
    unsafe fn with(base: NonNull<u8>, geometry: Geometry, len: usize, memory: Memory) -> Mapping {
        let origin = Origin {
            geometry,
            len,
            memory,
        };
        Mapping {
            base,
            origin: Arc::new(origin),
        }
    }

    /// Writes the identity of a new ring into the caller's memory, whatever was there before. The
    /// life-cycle word stays `Unborn`.
    ///
    /// # Safety
    ///
    /// - The `geometry.ring_end()` bytes that begin at `base` are initialised, and
    ///   mapped for reading and writing. They stay mapped while the mapping or a
    ///   clone of it lives. Nobody accesses them but by atomics and by `copy`.
    /// - `base` is aligned for a `Header`.
    pub(crate) unsafe fn format_in(base: NonNull<u8>, geometry: Geometry) -> Mapping {
        // SAFETY: the caller has the same duties.
        let mapping = unsafe { Mapping::borrow(base, geometry) };
        mapping.header().invalidate();
        mapping.zero_after_identity();
        mapping.header().identity.store(&geometry.to_image());
        mapping
    }

    /// Zeroes the bytes between the identity's words and the ring.
    fn zero_after_identity(&self) {
        const WORD: usize = size_of::<u64>();
        for offset in (size_of::<Identity>()..self.geometry().ring_offset).step_by(WORD) {
            let word = self.base.as_ptr().wrapping_add(offset).cast();
            // SAFETY: the word ends within the `ring_offset` bytes mapped at `base`, which is
            // aligned for a line. Everybody accesses the word by atomics.
            let word = unsafe { AtomicU64::from_ptr(word) };
            word.store(0, Ordering::Relaxed); // P3
        }
    }

    /// Accepts the caller's memory if its header is valid.
    ///
    /// # Safety
    ///
    /// As for [`format_in`](Self::format_in), of `len` bytes.
    pub(crate) unsafe fn open_in(base: NonNull<u8>, len: usize) -> Result<Mapping, Incompatible> {
        // SAFETY: the caller keeps `len` bytes mapped at an address that is
        // aligned, for longer than this borrow.
        let header = unsafe { header_at(base.as_ptr(), len) }?;
        let state = header.state(); // P3
        let image = header.identity.load();
        if state.life() == Some(Life::Unborn) && image.may_become_ours() {
            return Err(Incompatible::HalfMade);
        }
        let geometry = Geometry::of_memory(&image, len)?;
        if state.life() != Some(Life::Open) {
            return Err(Incompatible::State { found: state.0 });
        }
        // SAFETY: `of_memory` has seen that the ring ends within `len`; the
        // caller has the other duties.
        Ok(unsafe { Mapping::borrow(base, geometry) })
    }

    /// # Safety
    ///
    /// As for [`format_in`](Self::format_in).
    unsafe fn borrow(base: NonNull<u8>, geometry: Geometry) -> Mapping {
        // SAFETY: the caller keeps the bytes up to the end of the ring mapped, and `base` is
        // aligned. The rest holds of every `Geometry`, as in `over`.
        unsafe { Mapping::with(base, geometry, geometry.ring_end(), Memory::Borrowed) }
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY:
        // - `base` is aligned, and the start of a mapping that reaches the ring at least (`with`).
        //   `origin` or the caller keeps the mapping for as long as `self` lives.
        // - `Header` ends before the ring, has no invalid bit patterns, and consists of atomics
        //   only, so the peer may write it at any time.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.origin.geometry
    }

    /// The first byte of the ring, and how many bytes are mapped from there on. They hold one view
    /// of the ring, or two adjacent views.
    pub(crate) fn ring(&self) -> (NonNull<u8>, usize) {
        let offset = self.geometry().ring_offset;
        // SAFETY: the ring lies in the mapping (`with`).
        (unsafe { self.base.add(offset) }, self.origin.len - offset)
    }
}

/// The header at `base`. Memory too small for a header is not a ring.
///
/// # Safety
///
/// `len` bytes from `base` on are mapped for `'a`, and `base` is aligned for a `Header`.
unsafe fn header_at<'a>(base: *const u8, len: usize) -> Result<&'a Header, Incompatible> {
    if len < size_of::<Header>() {
        return Err(Incompatible::TooSmall { segment: len });
    }
    // SAFETY: the caller vouches for the bytes, which are enough for a `Header`. A header consists
    // of atomics, so any bytes are valid and anybody may write them. A read-only mapping is
    // accessed by Relaxed loads alone.
    Ok(unsafe { &*base.cast::<Header>() })
}
