//! The region of a ring: the words of its header, and copies of payload bytes.
//!
//! The ring is generic over this trait. So the same algorithm runs over a System V segment, over
//! the caller's memory, over the heap in tests, and under the model checker. Rules:
//!
//! 1. Nobody gets a `&[u8]` or `&mut [u8]` into a region. The peer may write at any time, and a
//!    reference promises that nobody does. The words of the header are atomics, which make no such
//!    promise.
//! 2. A copy names a position, and the region finds the address. A span of up to the capacity is one
//!    copy. The region divides a span that is not one run of addresses.
//! 3. The region checks bounds itself, whatever its caller has checked, against the length of
//!    memory that was verified when the region was made. On the fast path the check is made when
//!    the window is opened (`segment/region/window.rs`).

use crate::role::Role;
use crate::segment::layout::Header;

#[cfg(any(test, loom))]
pub(crate) mod heap;
pub(crate) mod mapped;
pub(crate) mod window;

/// Where a measure that moves cache lines sooner pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pays {
    Never,
    /// Where the peer's cache is far.
    WhenFar,
    Always,
}

/// Memory that holds a header and a ring.
///
/// # Safety
///
/// [`contiguous`](Region::contiguous) has the two properties that it states: unsafe code relies on
/// them.
#[allow(unsafe_code)] // an implementation vouches for its answers
pub(crate) unsafe trait Region {
    /// The header.
    fn header(&self) -> &Header;

    /// Bytes of the ring; a power of two, and the same at every call.
    fn capacity(&self) -> usize;

    /// Copies `bytes` into the ring, from `position` on. The writer may write `beyond` more bytes
    /// after them, whose lines may be prefetched.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    fn copy_in(&self, position: u64, bytes: &[u8], beyond: u64);

    /// How many of the ring's bytes from `position` on are one run of addresses. Unsafe code relies
    /// on two properties. The answer for a position never changes. If the answer for `position` is
    /// `m`, then the answer for `position + n` is at least `m - n`.
    fn contiguous(&self, position: u64) -> usize;

    /// Copies as [`copy_in`](Self::copy_in) does, for bytes that are one run of addresses.
    ///
    /// # Safety
    ///
    /// `bytes` is no longer than [`contiguous`](Self::contiguous) says.
    #[inline]
    #[allow(unsafe_code)] // the check was made when the window was opened
    unsafe fn copy_in_run(&self, position: u64, bytes: &[u8], beyond: u64) {
        self.copy_in(position, bytes, beyond);
    }

    /// Copies as [`copy_out`](Self::copy_out) does, for bytes that are one run of addresses.
    ///
    /// # Safety
    ///
    /// `bytes` is no longer than [`contiguous`](Self::contiguous) says.
    #[inline]
    #[allow(unsafe_code)] // the check was made when the window was opened
    unsafe fn copy_out_run(&self, position: u64, bytes: &mut [u8], beyond: u64) {
        self.copy_out(position, bytes, beyond);
    }

    /// Demotes the cache lines (CLDEMOTE) of the `len` bytes from `position` on, so that a waiting
    /// reader finds them sooner. The bytes are about to be published. A hint: changes no byte, and does
    /// nothing on processors that prefetch from a peer's cache.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn demote(&self, position: u64, len: usize) {
        let _ = (position, len);
    }

    /// Prefetches the `len` bytes from `position` on for writing, while the writer waits for a
    /// reply. The writer owns them. A hint: changes no byte.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn prefetch_write(&self, position: u64, len: usize) {
        let _ = (position, len);
    }

    /// Where it pays that a writer in place [prefetches](Self::prefetch_next) after a long access.
    fn prefetching(&self) -> Pays {
        Pays::Never
    }

    /// Prefetches lines that `role` will access in place soon. `role` has just accessed `len` bytes
    /// up to `position`, and owns the next `beyond` bytes. A hint: changes no byte.
    #[inline(always)]
    fn prefetch_next(&self, role: Role, position: u64, len: usize, beyond: u64) {
        let _ = (role, position, len, beyond);
    }

    /// Bytes of the shortest read whose lines are returned.
    const SHORTEST_RETURNED: u64 = u64::MAX;

    /// Where it pays that the reader [returns lines](Self::return_lines).
    fn returning(&self) -> Pays {
        Pays::Never
    }

    /// Makes the cache lines of the `len` bytes from `position` on exclusive, so that the writer
    /// gets them in one step. The reader has read the bytes and not released them yet. A hint:
    /// changes no byte.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn return_lines(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// Copies from the ring into `bytes`, from `position` on. The reader may read `beyond` more
    /// bytes after them, whose lines may be prefetched.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    fn copy_out(&self, position: u64, bytes: &mut [u8], beyond: u64);

    /// Copies as [`copy_out`](Self::copy_out) does, for a single message whose writer waits for a
    /// reply.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    #[inline]
    fn copy_out_single(&self, position: u64, bytes: &mut [u8]) {
        self.copy_out(position, bytes, 0);
    }
}
