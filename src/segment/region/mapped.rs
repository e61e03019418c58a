//! A ring in mapped memory: a System V segment, or the caller's memory.
//!
//! ```text
//! base            base + ring_offset        + capacity          + 2 * capacity
//! | header        | ring                    | ring again        |
//! ```
//!
//! A segment is attached twice in a row, so every span of up to `capacity` bytes is one run of
//! addresses. The caller's memory has the ring once: a span that crosses the end of the ring
//! continues at the ring's start, in two parts. Each access starts in the first view.
#![allow(unsafe_code)] // the only place that turns an offset into a pointer

mod kernel;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Region, Returning, header_at};
use crate::error::Incompatible;
use crate::role::Role;
use crate::segment::copy::{self, Caches};
use crate::segment::identity::{Geometry, Identity};
use crate::segment::layout::Header;
use crate::segment::position;
use crate::segment::state::Life;
use crate::sys::process;
use crate::sys::sysv::DoubleView;
use crate::tuning::{
    LONGEST_PUBLICATION, LONGEST_RELEASE, MOST_PREFETCHED, PUBLICATION, SHORTEST_BACKWARDS,
    SHORTEST_RETURNED, SMALL_RING,
};

/// Mapped memory whose header has been checked. Clones share an attachment, which ends with the
/// last clone.
#[derive(Clone, Debug)]
pub(crate) struct MappedRegion {
    base: NonNull<u8>,
    geometry: Geometry,
    /// The first byte of the ring.
    ring: NonNull<u8>,
    /// Turns a position into an index.
    mask: usize,
    /// Bytes from `base` to the end of the contiguous mapping.
    end: usize,
    caches: Caches,
    /// Bytes of the shortest copy out that runs backwards.
    backwards_from: usize,
    /// Bytes of the longest publication, and of the longest release.
    longest: (usize, usize),
    memory: Memory,
}

/// The owner of the memory.
#[derive(Clone, Debug)]
enum Memory {
    Segment {
        view: Arc<DoubleView>,
        /// The IPC namespace to which the id belongs; 0 when unknown.
        ipc_namespace: u32,
    },
    /// The caller's memory, which the caller keeps mapped.
    Borrowed,
}

// SAFETY: `base` and `ring` point into the mapping that `memory` or the caller keeps. A mapping
// belongs to the process, not to a thread. All access is through atomics and through `copy`. The
// ring orders payload accesses between threads as it does between processes.
unsafe impl Send for MappedRegion {}
// SAFETY: as for Send. `&MappedRegion` gives out only `&Header`, which is made of atomics, and the
// copies, which count as relaxed atomic accesses.
unsafe impl Sync for MappedRegion {}

impl MappedRegion {
    /// Writes the identity of a new ring into a segment that nobody trusts yet. The life-cycle word
    /// stays `Unborn`.
    pub(crate) fn format(view: DoubleView, geometry: Geometry, path: &[u8]) -> MappedRegion {
        assert_eq!(view.segment_len(), geometry.ring_end());
        let region = MappedRegion::over(view, geometry);
        region.header().identity.store(&geometry.to_image());
        region.header().store_path(path);
        region
    }

    /// Accepts an attached segment if its header is valid. The caller has seen that the segment is
    /// ready.
    pub(crate) fn open(view: DoubleView) -> Result<MappedRegion, Incompatible> {
        let len = view.segment_len();
        // SAFETY: `view` keeps `len` bytes mapped at its page-aligned address
        // and outlives the borrow.
        let header = unsafe { header_at(view.as_ptr(), len) }?;
        let geometry = Geometry::of_segment(&header.identity.load(), len)?;
        Ok(MappedRegion::over(view, geometry))
    }

    fn over(view: DoubleView, geometry: Geometry) -> MappedRegion {
        let base = NonNull::new(view.as_ptr()).expect("an attached segment has an address");
        let end = view.len();
        let memory = Memory::Segment {
            view: Arc::new(view),
            ipc_namespace: process::namespace("ipc"),
        };
        // SAFETY: `memory` keeps `end` bytes mapped at `base`. `format` and `open` have compared
        // the geometry with the segment, whose double view is longer.
        unsafe { MappedRegion::with(base, geometry, end, memory) }
    }

    /// # Safety
    ///
    /// `end` bytes from `base` on stay mapped for as long as `memory` lives. The
    /// ring ends within them, and its capacity is a power of two.
    unsafe fn with(
        base: NonNull<u8>,
        geometry: Geometry,
        end: usize,
        memory: Memory,
    ) -> MappedRegion {
        let caches = Caches::here();
        let is_eager = caches.are_eager && geometry.capacity > SMALL_RING;
        MappedRegion {
            base,
            geometry,
            // SAFETY: the caller vouches that the ring lies in the mapping.
            ring: unsafe { base.add(geometry.ring_offset) },
            mask: geometry.capacity - 1,
            end,
            caches,
            backwards_from: if is_eager {
                SHORTEST_BACKWARDS
            } else {
                usize::MAX
            },
            longest: if is_eager {
                let release = LONGEST_RELEASE.min(geometry.capacity / 4);
                (LONGEST_PUBLICATION, release)
            } else {
                (PUBLICATION, PUBLICATION)
            },
            memory,
        }
    }

    /// Writes the identity of a new ring into the caller's memory, whatever was there before. The
    /// life-cycle word stays `Unborn`.
    ///
    /// # Safety
    ///
    /// - The `geometry.ring_end()` bytes that begin at `base` are initialised, and
    ///   mapped for reading and writing. They stay mapped while the region or a
    ///   clone of it lives. Nobody accesses them but by atomics and by `copy`.
    /// - `base` is aligned for a `Header`, which ends before the ring begins.
    pub(crate) unsafe fn format_in(base: NonNull<u8>, geometry: Geometry) -> MappedRegion {
        // SAFETY: the caller has the same duties.
        let region = unsafe { MappedRegion::borrow(base, geometry) };
        region.header().disown();
        region.zero_after_identity();
        region.header().identity.store(&geometry.to_image());
        region
    }

    /// Zeroes the bytes between the identity's words and the ring.
    fn zero_after_identity(&self) {
        const WORD: usize = size_of::<u64>();
        for offset in (size_of::<Identity>()..self.geometry.ring_offset).step_by(WORD) {
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
    /// - As for [`format_in`](Self::format_in), of `len` bytes.
    pub(crate) unsafe fn open_in(
        base: NonNull<u8>,
        len: usize,
    ) -> Result<MappedRegion, Incompatible> {
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
        Ok(unsafe { MappedRegion::borrow(base, geometry) })
    }

    /// # Safety
    ///
    /// As for [`format_in`](Self::format_in).
    unsafe fn borrow(base: NonNull<u8>, geometry: Geometry) -> MappedRegion {
        // SAFETY: the caller keeps these bytes mapped.
        unsafe { MappedRegion::with(base, geometry, geometry.ring_end(), Memory::Borrowed) }
    }

    /// The most bytes of one publication.
    #[inline]
    pub(crate) fn longest_publication(&self) -> usize {
        self.longest.0
    }

    /// The most bytes of one release.
    #[inline]
    pub(crate) fn longest_release(&self) -> usize {
        self.longest.1
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Bytes from the start of the memory to the byte at `position`.
    #[inline(always)]
    fn offset(&self, position: u64) -> usize {
        self.geometry.ring_offset + position::index(position, self.geometry.capacity)
    }

    /// The address of the byte at `position`.
    #[inline(always)]
    pub(crate) fn place(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the index is less than the capacity, so the address is in the ring. The ring lies
        // in the mapping that `memory` or the caller keeps: `format`, `open`, `format_in` and
        // `open_in` have compared the geometry with that mapping.
        unsafe { self.ring.add(position::masked(position, self.mask)) }
    }

    /// The address of the `len` bytes from `position` on.
    ///
    /// # Panics
    ///
    /// If these bytes are not one run of addresses.
    #[inline]
    pub(crate) fn at(&self, position: u64, len: usize) -> NonNull<u8> {
        let run = self.end - self.offset(position);
        assert!(len <= run, "a span is one run of addresses");
        self.place(position)
    }

    /// The `len` bytes from `position` on as two runs of addresses. The second is empty unless the
    /// ring ends in between.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the capacity.
    pub(crate) fn runs(&self, position: u64, len: usize) -> [(NonNull<u8>, usize); 2] {
        let first = self.first_run(position, len);
        let second = position::after(position, first);
        [
            (self.at(position, first), first),
            (self.at(second, len - first), len - first),
        ]
    }

    /// How many of the `len` bytes from `position` on are one run of addresses. The rest begins at
    /// the start of the ring, and is one run too.
    fn first_run(&self, position: u64, len: usize) -> usize {
        let capacity = self.geometry.capacity;
        assert!(len <= capacity, "a span is no longer than the ring");
        len.min(self.contiguous(position))
    }
}

/// Prefetch distance, or 0 if it would reach lines that the peer owns.
#[inline(always)]
fn ahead(distance: u64, beyond: u64) -> usize {
    if beyond >= distance {
        distance as usize // less than a ring
    } else {
        0
    }
}

// SAFETY: `contiguous` returns what is left of one mapping after an offset, and at most the
// capacity. Neither the mapping nor the geometry changes, and each byte shortens the rest by one.
unsafe impl Region for MappedRegion {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY:
        // - `base` is aligned, and the start of a mapping that reaches the ring
        //   at least. `memory` or the caller keeps the mapping for as long as
        //   `self` lives.
        // - `Header` ends before the ring, has no invalid bit patterns, and
        //   consists of atomics only, so the peer may write it at any time.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.geometry.capacity
    }

    #[inline]
    fn contiguous(&self, position: u64) -> usize {
        (self.end - self.offset(position)).min(self.geometry.capacity)
    }

    #[inline(always)]
    unsafe fn copy_in_run(&self, position: u64, bytes: &[u8], beyond: u64) {
        let (place, distance) = (self.place(position).as_ptr(), self.caches.writer_ahead);
        let is_short = bytes.len() <= copy::SHORT;
        let ahead = if is_short { 0 } else { ahead(distance, beyond) };
        // SAFETY: the caller has asked `contiguous`, so the writable mapping has `bytes.len()`
        // bytes at `place`. `bytes` is private memory. It overlaps neither a mapping of a segment
        // nor the memory that the caller of `format_in` or `open_in` vouched for.
        unsafe { copy::copy_in(place, bytes.as_ptr(), bytes.len(), ahead) };
        if is_short && beyond >= distance {
            copy::prefetch_write(place.wrapping_add(distance as usize));
        }
    }

    #[inline(always)]
    unsafe fn copy_out_run(&self, position: u64, bytes: &mut [u8], beyond: u64) {
        let (place, distance) = (self.place(position).as_ptr(), self.caches.reader_ahead);
        let is_short = bytes.len() <= copy::SHORT;
        if !is_short && bytes.len() >= self.backwards_from {
            // SAFETY: as in `copy_in_run`, with source and destination exchanged.
            return unsafe { copy::copy_out_back(bytes.as_mut_ptr(), place, bytes.len()) };
        }
        let ahead = if is_short { 0 } else { ahead(distance, beyond) };
        // SAFETY: as for the backward copy.
        unsafe { copy::copy_out(bytes.as_mut_ptr(), place, bytes.len(), ahead) };
        if is_short && beyond >= distance {
            copy::prefetch_read(place.wrapping_add(distance as usize));
        }
    }

    #[inline]
    fn copy_in(&self, position: u64, bytes: &[u8], beyond: u64) {
        let (first, second) = bytes.split_at(self.first_run(position, bytes.len()));
        let after = position::after(position, first.len());
        let beyond = if second.is_empty() { beyond } else { 0 };
        // SAFETY: `first_run` says that `first` is one run.
        unsafe { self.copy_in_run(position, first, beyond) };
        if !second.is_empty() {
            // SAFETY: `second` is shorter than the ring and begins at its start, so it is one run.
            unsafe { self.copy_in_run(after, second, 0) };
        }
    }

    fn demote(&self, position: u64, len: usize) {
        if self.caches.are_eager {
            return; // such processors fetch the lines without a hint
        }
        for (place, len) in self.runs(position, len) {
            copy::demote(place.as_ptr(), len);
        }
    }

    fn prefetch_write(&self, position: u64, len: usize) {
        if self.caches.are_eager {
            for (place, len) in self.runs(position, len) {
                copy::prefetch_all(Role::Producer, place.as_ptr(), len);
            }
        }
    }

    #[inline(always)]
    fn prefetch_next(&self, role: Role, position: u64, len: usize, beyond: u64) {
        let distance = match role {
            Role::Producer => self.caches.writer_ahead,
            Role::Consumer => self.caches.reader_ahead,
        };
        if beyond < distance {
            return; // the peer owns those lines
        }
        let next = self.place(position.wrapping_add(distance)).as_ptr();
        if len > copy::SHORT {
            // No loss: the rest is less than a ring.
            let len = len.min(MOST_PREFETCHED).min((beyond - distance) as usize);
            return copy::prefetch_all(role, next, len);
        }
        match role {
            Role::Producer => copy::prefetch_write(next),
            Role::Consumer => copy::prefetch_read(next),
        }
    }

    const SHORTEST_RETURNED: u64 = SHORTEST_RETURNED;

    fn returning(&self) -> Returning {
        match self.geometry.capacity {
            _ if !self.caches.are_eager => Returning::Never,
            ..=SMALL_RING => Returning::Always,
            _ => Returning::WhenFar,
        }
    }

    #[inline(never)]
    fn return_lines(&self, position: u64, len: u64) {
        // No loss: the ring fits the address space, and `runs` checks the length.
        for (place, len) in self.runs(position, len as usize) {
            // SAFETY: `runs` returns addresses with that many bytes in the writable mapping. The
            // caller is the reader and has not released these bytes, so by P2 the writer leaves
            // them alone.
            unsafe { copy::make_exclusive(place.as_ptr(), len) }
        }
    }

    #[inline]
    fn copy_out(&self, position: u64, bytes: &mut [u8], beyond: u64) {
        let run = self.first_run(position, bytes.len());
        let (first, second) = bytes.split_at_mut(run);
        let after = position::after(position, run);
        let beyond = if second.is_empty() { beyond } else { 0 };
        // SAFETY: as in `copy_in`.
        unsafe { self.copy_out_run(position, first, beyond) };
        if !second.is_empty() {
            // SAFETY: as in `copy_in`.
            unsafe { self.copy_out_run(after, second, 0) };
        }
    }

    fn copy_out_alone(&self, position: u64, bytes: &mut [u8]) {
        if self.caches.are_eager && self.first_run(position, bytes.len()) == bytes.len() {
            let place = self.place(position).as_ptr();
            // SAFETY: as in `copy_in_run`, with source and destination exchanged. By `first_run`
            // the bytes are one run.
            unsafe { copy::copy_out_back(bytes.as_mut_ptr(), place, bytes.len()) }
        } else {
            self.copy_out(position, bytes, 0);
        }
    }
}
