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
#![allow(unsafe_code)] // turns positions into addresses

use std::ptr::NonNull;

use super::{Pays, Region};
use crate::role::Role;
use crate::segment::copy::{self, Caches};
use crate::segment::layout::Header;
use crate::segment::mapping::Mapping;
use crate::segment::position;
use crate::tuning::{
    LONGEST_PUBLICATION, LONGEST_RELEASE, MOST_PREFETCHED, PUBLICATION, SHORTEST_BACKWARDS,
    SHORTEST_RETURNED, SMALL_RING,
};

/// The ring in a mapping, as one side copies its bytes.
#[derive(Debug)]
pub(crate) struct MappedRegion {
    mapping: Mapping,
    /// The first byte of the ring.
    ring: NonNull<u8>,
    /// Turns a position into an index.
    mask: usize,
    /// Bytes mapped from `ring` on.
    mapped: usize,
    caches: Caches,
    /// Copies out of at least this many bytes run backwards.
    backwards_from: usize,
    /// Bytes of the longest publication, and of the longest release.
    longest: (usize, usize),
}

// SAFETY: `ring` points into the mapping that `mapping` or the caller keeps. A mapping belongs to
// the process, not to a thread. All access is through atomics and through `copy`. The ring orders
// payload accesses between threads as it does between processes.
unsafe impl Send for MappedRegion {}
// SAFETY: as for Send. `&MappedRegion` gives out only `&Header`, which is made of atomics, and the
// copies, which count as relaxed atomic accesses.
unsafe impl Sync for MappedRegion {}

impl MappedRegion {
    pub(crate) fn new(mapping: Mapping) -> MappedRegion {
        let capacity = mapping.geometry().capacity;
        let (ring, mapped) = mapping.ring();
        let caches = Caches::here();
        let copies_backwards = caches.prefetch_from_peer && capacity > SMALL_RING;
        MappedRegion {
            mapping,
            ring,
            mask: capacity - 1,
            mapped,
            caches,
            backwards_from: if copies_backwards {
                SHORTEST_BACKWARDS
            } else {
                usize::MAX
            },
            longest: if copies_backwards {
                let release = LONGEST_RELEASE.min(capacity / 4);
                (LONGEST_PUBLICATION, release)
            } else {
                (PUBLICATION, PUBLICATION)
            },
        }
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
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

    /// The address of the byte at `position`.
    #[inline(always)]
    pub(crate) fn place(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the index is less than the capacity, so the address is in the ring. The ring lies
        // in the mapping that `mapping` or the caller keeps (`Mapping::ring`).
        unsafe { self.ring.add(position::masked(position, self.mask)) }
    }

    /// The address of the `len` bytes from `position` on.
    ///
    /// # Panics
    ///
    /// If these bytes are not one run of addresses.
    #[inline]
    pub(crate) fn at(&self, position: u64, len: usize) -> NonNull<u8> {
        let run = self.mapped - position::masked(position, self.mask);
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
        assert!(len <= self.capacity(), "a span is no longer than the ring");
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
        self.mapping.header()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.mask + 1
    }

    #[inline]
    fn contiguous(&self, position: u64) -> usize {
        let run = self.mapped - position::masked(position, self.mask);
        run.min(self.capacity())
    }

    #[inline(always)]
    unsafe fn copy_in_run(&self, position: u64, bytes: &[u8], beyond: u64) {
        let (place, distance) = (self.place(position).as_ptr(), self.caches.writer_ahead);
        let is_short = bytes.len() <= copy::SHORT;
        let ahead = if is_short { 0 } else { ahead(distance, beyond) };
        // SAFETY: the caller has asked `contiguous`, so the writable mapping has `bytes.len()`
        // bytes at `place`. `bytes` does not overlap them. A slice of private memory lies outside
        // every ring. A slice of a ring exists only after its maker has vouched for the peer
        // (`ReadGrant::as_slice`, `WriteGrant::as_mut_slice`): its bytes are readable or reserved
        // ones, and those at `place` are free room of which no slice exists.
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
        if self.caches.prefetch_from_peer {
            return; // these processors prefetch modified lines of another core
        }
        for (place, len) in self.runs(position, len) {
            copy::demote(place.as_ptr(), len);
        }
    }

    fn prefetch_write(&self, position: u64, len: usize) {
        if self.caches.prefetch_from_peer {
            for (place, len) in self.runs(position, len) {
                copy::prefetch_all(Role::Producer, place.as_ptr(), len);
            }
        }
    }

    fn prefetching(&self) -> Pays {
        if self.caches.prefetch_from_peer {
            Pays::WhenFar
        } else {
            Pays::Always
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

    fn returning(&self) -> Pays {
        match self.capacity() {
            _ if !self.caches.prefetch_from_peer => Pays::Never,
            ..=SMALL_RING => Pays::Always,
            _ => Pays::WhenFar,
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

    fn copy_out_single(&self, position: u64, bytes: &mut [u8]) {
        if self.caches.prefetch_from_peer && self.first_run(position, bytes.len()) == bytes.len() {
            let place = self.place(position).as_ptr();
            // SAFETY: as in `copy_in_run`, with source and destination exchanged. By `first_run`
            // the bytes are one run.
            unsafe { copy::copy_out_back(bytes.as_mut_ptr(), place, bytes.len()) }
        } else {
            self.copy_out(position, bytes, 0);
        }
    }
}
