//! The window: a side's position in the ring, and the bytes after it that the side may touch
//! without loading a word of the peer.
//!
//! Short reads and writes check one number, the bytes left in the window. The peer's position and
//! the end of the memory matter only when the window is opened again.
//!
//! Invariant of this module: `position..end` is one run of addresses of the region, as the region
//! said when the window was opened. A step within the run leaves a shorter run
//! ([`Region::contiguous`]).

#![allow(unsafe_code)] // copies that rely on the invariant

use super::Region;
use crate::role::Role;
use crate::segment::copy::SHORT;

/// A region, a position in its ring, and the end of what may be touched from there on.
#[derive(Debug)]
pub(crate) struct Window<R> {
    region: R,
    position: u64,
    end: u64,
}

impl<R: Region> Window<R> {
    /// A closed window at `position`.
    pub(crate) fn new(region: R, position: u64) -> Window<R> {
        Window {
            region,
            position,
            end: position,
        }
    }

    #[inline]
    pub(crate) fn region(&self) -> &R {
        &self.region
    }

    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Opens the window: the caller owns the next `own` bytes. The window ends where they are no
    /// longer one run of addresses.
    #[inline]
    pub(crate) fn open(&mut self, own: u64) {
        let run = self.region.contiguous(self.position) as u64;
        self.end = self.position.wrapping_add(own.min(run));
    }

    /// Advances by `len` bytes, and opens the window there.
    #[inline]
    pub(crate) fn go_on(&mut self, len: u64, own: u64) {
        self.position = self.position.wrapping_add(len);
        self.end = self.position;
        if own > 0 {
            self.open(own);
        }
    }

    /// Copies `bytes` into the ring and advances, if they fit the window. Otherwise returns `false`
    /// and does nothing. If `more_follows`, the lines that follow are prefetched.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8], more_follows: bool) -> bool {
        let Some(left) = self.left_after(bytes.len()) else {
            return false;
        };
        let beyond = if more_follows { left } else { 0 };
        let start = self.move_on(bytes.len());
        // SAFETY: the window had that many bytes left, and by the invariant they are one run.
        unsafe { self.region.copy_in_run(start, bytes, beyond) };
        true
    }

    /// Copies from the ring into `bytes` and advances, if the window has enough. Otherwise returns
    /// `false` and does nothing.
    #[inline(always)]
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> bool {
        let Some(left) = self.left_after(bytes.len()) else {
            return false;
        };
        let start = self.move_on(bytes.len());
        // SAFETY: the window had that many bytes left, and by the invariant they are one run.
        unsafe { self.region.copy_out_run(start, bytes, left) };
        true
    }

    /// Whether the window has at least `len` bytes.
    #[inline(always)]
    pub(crate) fn holds(&self, len: usize) -> bool {
        self.left_after(len).is_some()
    }

    /// Advances by `len` bytes if the window has that many. Otherwise returns `false` and does
    /// nothing. For bytes that `role` has accessed in place. Prefetches for the next access, after a
    /// long one only where `prefetches_many`.
    #[inline(always)]
    pub(crate) fn skip(&mut self, role: Role, len: usize, prefetches_many: bool) -> bool {
        let Some(left) = self.left_after(len) else {
            return false;
        };
        self.move_on(len);
        if len <= SHORT || prefetches_many {
            self.region.prefetch_next(role, self.position, len, left);
        }
        true
    }

    /// Advances by `len` bytes of the window, and returns the position before. Called before a
    /// copy, so that no value has to be kept across the copy.
    #[inline(always)]
    fn move_on(&mut self, len: usize) -> u64 {
        let start = self.position;
        self.position = start.wrapping_add(len as u64);
        start
    }

    /// Bytes left in the window after `len` more, if there are that many.
    #[inline(always)]
    fn left_after(&self, len: usize) -> Option<u64> {
        self.end.wrapping_sub(self.position).checked_sub(len as u64)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::layout::Header;
    use crate::segment::position;
    use crate::segment::region::heap::HeapRegion;

    /// A ring whose runs end at its end.
    #[derive(Clone)]
    struct Once(HeapRegion);

    // SAFETY: the rest up to the end of the ring, which each byte shortens by one.
    unsafe impl Region for Once {
        fn header(&self) -> &Header {
            self.0.header()
        }

        fn capacity(&self) -> usize {
            self.0.capacity()
        }

        fn contiguous(&self, position: u64) -> usize {
            self.capacity() - position::index(position, self.capacity())
        }

        fn copy_in(&self, position: u64, bytes: &[u8], beyond: u64) {
            assert!(bytes.len() <= self.contiguous(position));
            self.0.copy_in(position, bytes, beyond);
        }

        fn copy_out(&self, position: u64, bytes: &mut [u8], beyond: u64) {
            assert!(bytes.len() <= self.contiguous(position));
            self.0.copy_out(position, bytes, beyond);
        }
    }

    #[test]
    fn no_byte_outside_is_touched() {
        let start = u64::MAX - 2;
        let mut window = Window::new(HeapRegion::new(8, start), start);
        assert!(window.put(&[], true));
        assert!(!window.put(&[1], true));
        window.open(5);
        assert!(!window.put(&[9; 6], true));
        assert!(window.put(&[1, 2, 3], true));
        assert_eq!(window.position(), 0);
        assert!(!window.put(&[9; 3], true));
        assert!(window.put(&[4, 5], false));
        assert!(!window.put(&[9], true));

        let mut window = Window::new(window.region().clone(), start);
        window.open(100); // at most the ring's capacity
        let mut bytes = [0; 9];
        assert!(!window.take(&mut bytes));
        assert!(window.take(&mut bytes[..8]));
        assert_eq!(bytes[..5], [1, 2, 3, 4, 5]);
        assert!(!window.take(&mut bytes[..1]));
        window.go_on(2, 1);
        assert_eq!(window.position(), start.wrapping_add(10));
        assert!(window.take(&mut bytes[..1]));
        window.go_on(1, 0);
        assert!(!window.take(&mut bytes[..1]));
    }

    #[test]
    fn a_skip_stays_in_the_window() {
        let mut window = Window::new(Once(HeapRegion::new(8, 5)), 5);
        assert!(!window.holds(1));
        assert!(!window.skip(Role::Consumer, 1, true));
        window.open(8);
        assert!(window.holds(3) && !window.holds(4)); // the run ends
        assert!(window.skip(Role::Producer, 2, true));
        assert!(window.holds(1) && !window.skip(Role::Producer, 2, true));
        assert_eq!(window.position(), 7);
        assert!(window.skip(Role::Consumer, 1, true) && !window.holds(1));
        assert_eq!(window.position(), 8);
    }

    #[test]
    fn a_window_ends_with_its_run() {
        let mut window = Window::new(Once(HeapRegion::new(8, 5)), 5);
        window.open(8);
        assert!(!window.put(&[9; 4], true));
        assert!(window.put(&[1, 2], true));
        assert!(!window.put(&[9; 2], true));
        assert!(window.put(&[3], true));
        assert!(!window.put(&[9], true)); // closed at the end of the ring
        window.open(5);
        assert!(window.put(&[4, 5, 6, 7, 8], true));

        let mut window = Window::new(window.region().clone(), 5);
        window.open(8);
        let mut bytes = [0; 8];
        assert!(!window.take(&mut bytes[..4]));
        assert!(window.take(&mut bytes[..3]));
        window.go_on(0, 5);
        assert!(window.take(&mut bytes[3..]));
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
