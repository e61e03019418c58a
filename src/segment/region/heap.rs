//! A ring in ordinary memory, for tests and for the model checker.
//!
//! Each byte is a relaxed atomic, so a test may write any byte at any time without a data race.

use std::sync::Arc;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(loom)]
use loom::cell::UnsafeCell;

use super::Region;
use crate::segment::layout::Header;
use crate::segment::position;

/// A header and a ring on the heap. Clones of the handle share them.
#[derive(Clone, Debug)]
pub(crate) struct HeapRegion(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    header: Header,
    ring: Box<[Cell]>,
}

impl HeapRegion {
    /// A ring of `capacity` bytes, a power of two. Both positions start at `position`.
    pub(crate) fn new(capacity: usize, position: u64) -> HeapRegion {
        assert!(capacity.is_power_of_two());
        let header = Header::default();
        for role in [crate::role::Role::Producer, crate::role::Role::Consumer] {
            header
                .side(role)
                .position
                .store(position, crate::sync::Ordering::Relaxed); // not shared yet
        }
        // A stream begins at the position of the mark before it. For the first stream that mark is
        // in the last place for marks.
        let before = header.marks.last().expect("there are places");
        before
            .position
            .store(position, crate::sync::Ordering::Relaxed); // not shared yet
        HeapRegion(Arc::new(Inner {
            header,
            ring: (0..capacity).map(|_| Cell::default()).collect(),
        }))
    }

    fn cell(&self, position: u64) -> &Cell {
        &self.0.ring[position::index(position, self.capacity())]
    }
}

#[allow(unsafe_code)] // as the trait asks
// SAFETY: `contiguous` returns the capacity, the same at every call. A ring that continues at its
// start is one run from each position on.
unsafe impl Region for HeapRegion {
    fn header(&self) -> &Header {
        &self.0.header
    }

    fn capacity(&self) -> usize {
        self.0.ring.len()
    }

    fn contiguous(&self, _: u64) -> usize {
        self.0.ring.len()
    }

    fn copy_in(&self, position: u64, bytes: &[u8], _: u64) {
        assert!(bytes.len() <= self.capacity());
        for (offset, &byte) in bytes.iter().enumerate() {
            self.cell(position::after(position, offset)).set(byte);
        }
    }

    fn copy_out(&self, position: u64, bytes: &mut [u8], _: u64) {
        assert!(bytes.len() <= self.capacity());
        for (offset, byte) in bytes.iter_mut().enumerate() {
            *byte = self.cell(position::after(position, offset)).get();
        }
    }
}

#[cfg(not(loom))]
#[derive(Debug, Default)]
struct Cell(AtomicU8);

#[cfg(not(loom))]
impl Cell {
    fn set(&self, byte: u8) {
        self.0.store(byte, Ordering::Relaxed); // ordered by P1, P2
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed) // ordered by P1, P2
    }
}

/// Under loom a byte is a plain cell, so that the checker reports every access that the positions
/// do not order.
#[cfg(loom)]
#[derive(Debug, Default)]
struct Cell(UnsafeCell<u8>);

#[cfg(loom)]
#[allow(unsafe_code)] // loom's cell is read and written through raw pointers
impl Cell {
    fn set(&self, byte: u8) {
        self.0.with_mut(|place| {
            // SAFETY: loom hands out a valid pointer and reports any access
            // that races with this one.
            unsafe { *place = byte }
        });
    }

    fn get(&self) -> u8 {
        self.0.with(|place| {
            // SAFETY: as above.
            unsafe { *place }
        })
    }
}

#[cfg(loom)]
#[allow(unsafe_code)] // the cells above are shared between loom's threads
// SAFETY: every access goes through loom's cell, which checks it.
unsafe impl Sync for Cell {}
