//! The memory a ring lives in: the words of its header, and copies of payload
//! bytes.
//!
//! The ring is generic over this trait, so the same algorithm runs over a
//! System V segment or the caller's memory, over the heap in tests, and under
//! the model checker.
//!
//! 1. Nobody gets a `&[u8]` or `&mut [u8]` into a region: the peer may write
//!    at any time, and a reference promises that nobody does. The words of the
//!    header are atomics, which make no such promise.
//! 2. A copy names a position, and the region finds the place. A span of up to
//!    the capacity is one copy; wrapping round is the region's business, but for
//!    those that are one run.
//! 3. Bounds are checked here again, against the memory that was verified when
//!    the region was made, whatever the caller has checked; for the short way,
//!    when its window is opened (`segment/region/window.rs`).

use crate::error::Incompatible;
use crate::segment::layout::Header;

#[cfg(any(test, loom))]
pub(crate) mod heap;
pub(crate) mod inspect;
pub(crate) mod mapped;
pub(crate) mod window;

/// Memory that holds a header and a ring.
pub(crate) trait Region {
    /// The header.
    fn header(&self) -> &Header;

    /// Bytes of the ring: a power of two, the same at every call.
    fn capacity(&self) -> u64;

    /// Copies `bytes` into the ring, the first one to `position`. The writer may
    /// write to `beyond` more bytes after them: their lines are got ready.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    fn copy_in(&self, position: u64, bytes: &[u8], beyond: u64);

    /// Bytes from `position` on that are one run of addresses, of those that a
    /// ring holds. Unsafe code relies on it: the answer is the same at every call,
    /// and after `n` bytes of a run there are at least so many less.
    fn contiguous(&self, position: u64) -> usize;

    /// As [`copy_in`](Self::copy_in), of bytes that are one run of addresses.
    ///
    /// # Safety
    ///
    /// `bytes` is no longer than [`contiguous`](Self::contiguous) says.
    #[inline]
    #[allow(unsafe_code)] // the check has been made when the window was opened
    unsafe fn copy_in_run(&self, position: u64, bytes: &[u8], beyond: u64) {
        self.copy_in(position, bytes, beyond);
    }

    /// As [`copy_out`](Self::copy_out), of bytes that are one run of addresses.
    ///
    /// # Safety
    ///
    /// `bytes` is no longer than [`contiguous`](Self::contiguous) says.
    #[inline]
    #[allow(unsafe_code)] // as above
    unsafe fn copy_out_run(&self, position: u64, bytes: &mut [u8], beyond: u64) {
        self.copy_out(position, bytes, beyond);
    }

    /// Gets the `len` bytes from `position` on, which are about to be published,
    /// to where a reader that waits for them finds them sooner, if they do not get
    /// there by themselves: a hint. Changes none.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn demote(&self, position: u64, len: usize) {
        let _ = (position, len);
    }

    /// Gets the `len` bytes from `position` on, which the writer may write to, ready
    /// for that while it waits for a reply: a hint. Changes none.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn prefetch_write(&self, position: u64, len: usize) {
        let _ = (position, len);
    }

    /// Gets the `len` bytes from `position` on, which the reader has done with
    /// and not released yet, ready for the writer: a hint. Changes none.
    ///
    /// # Panics
    ///
    /// When `len` is more than the ring has.
    #[inline]
    fn return_lines(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// Copies out of the ring into `bytes`, the first one from `position`. The
    /// reader may read `beyond` more bytes after them: their lines are fetched.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    fn copy_out(&self, position: u64, bytes: &mut [u8], beyond: u64);

    /// As [`copy_out`](Self::copy_out), where there is nothing after them, and the
    /// writer waits for a reply before it writes more.
    ///
    /// # Panics
    ///
    /// When `bytes` is longer than the ring.
    #[inline]
    fn copy_out_alone(&self, position: u64, bytes: &mut [u8]) {
        self.copy_out(position, bytes, 0);
    }
}

/// The header at `base`. Memory too small to hold one is not a ring.
///
/// # Safety
///
/// `len` bytes from `base` on are mapped for `'a`, and `base` is aligned for a
/// `Header`.
#[allow(unsafe_code)] // for the two that look before they believe
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
