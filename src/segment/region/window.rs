//! A side's place in the ring, and the bytes from there on that it may touch without a further
//! look.
//!
//! What short reads and writes have to know of the ring is one number then: how many bytes are
//! left in the window. The positions behind it, and where the memory ends, are looked at only when
//! the window is opened anew.
//!
//! Guarded here: `position..end` is one run of addresses of the region, which says so when the
//! window is opened. Going on within it leaves a shorter run ([`Region::contiguous`]).

#![allow(unsafe_code)] // copies that rely on that

use super::Region;

/// A region, a position in its ring, and what may be touched from there on.
#[derive(Debug)]
pub(crate) struct Window<R> {
    region: R,
    position: u64,
    end: u64,
}

impl<R: Region> Window<R> {
    /// At `position`, and shut.
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

    /// Opens it: the next `own` bytes are the caller's. As many of them as are one run of addresses
    /// lie within.
    #[inline]
    pub(crate) fn open(&mut self, own: u64) {
        let run = self.region.contiguous(self.position) as u64;
        self.end = self.position.wrapping_add(own.min(run));
    }

    /// Goes on by `len` bytes, and opens it there.
    #[inline]
    pub(crate) fn go_on(&mut self, len: u64, own: u64) {
        self.position = self.position.wrapping_add(len);
        self.end = self.position;
        if own > 0 {
            self.open(own);
        }
    }

    /// Copies `bytes` into the ring and goes on behind them, if they lie within the window; `false`
    /// if not, and nothing has happened. Where `soon`, the lines of what is to follow are got
    /// ready.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8], soon: bool) -> bool {
        let Some(left) = self.left_after(bytes.len()) else {
            return false;
        };
        let beyond = if soon { left } else { 0 };
        let start = self.move_on(bytes.len());
        // SAFETY: so many bytes were left, and what is left is one run, as guarded here.
        unsafe { self.region.copy_in_run(start, bytes, beyond) };
        true
    }

    /// The same out of the ring.
    #[inline(always)]
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> bool {
        let Some(left) = self.left_after(bytes.len()) else {
            return false;
        };
        let start = self.move_on(bytes.len());
        // SAFETY: as in `put`.
        unsafe { self.region.copy_out_run(start, bytes, left) };
        true
    }

    /// Goes on by `len` bytes of the window, and says from where. Done before a copy, so that
    /// nothing has to be kept over it.
    #[inline(always)]
    fn move_on(&mut self, len: usize) -> u64 {
        let start = self.position;
        self.position = start.wrapping_add(len as u64);
        start
    }

    /// What is left of the window after `len` bytes, if it has so many.
    #[inline(always)]
    fn left_after(&self, len: usize) -> Option<u64> {
        self.end.wrapping_sub(self.position).checked_sub(len as u64)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::layout::Header;
    use crate::segment::region::heap::HeapRegion;

    /// A ring whose runs end where it does.
    #[derive(Clone)]
    struct Once(HeapRegion);

    impl Region for Once {
        fn header(&self) -> &Header {
            self.0.header()
        }

        fn capacity(&self) -> u64 {
            self.0.capacity()
        }

        fn contiguous(&self, position: u64) -> usize {
            (self.capacity() - position % self.capacity()) as usize
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
        window.open(100); // no more than the ring has
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
    fn a_window_ends_with_its_run() {
        let mut window = Window::new(Once(HeapRegion::new(8, 5)), 5);
        window.open(8);
        assert!(!window.put(&[9; 4], true));
        assert!(window.put(&[1, 2], true));
        assert!(!window.put(&[9; 2], true));
        assert!(window.put(&[3], true));
        assert!(!window.put(&[9], true)); // shut at the end of the ring
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
