//! Memory for a ring, with a page on either side that nobody may touch, and a
//! hand that stores into it what the ring does not expect.
#![allow(unsafe_code)] // vouches for the memory

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use shmpipe::{OpenError, Options, Ring};

use super::tape::Tape;

const PAGE: usize = 4096;
/// What the pages on either side hold.
const CANARY: u8 = 0xa5;

/// Where the words of a header lie: see src/guide/protocol.md.
pub(crate) const TAIL: usize = 256;
pub(crate) const HEAD: usize = 512;
/// How often each role was claimed.
pub(crate) const CLAIMS: [usize; 2] = [408, 664];
/// How many ends were made, and how many acknowledged.
pub(crate) const COUNTS: [usize; 2] = [416, 672];
/// The ends: a position and how the stream ended, each.
pub(crate) const MARKS: usize = 1024;
/// How many places there are for ends.
pub(crate) const SLOTS: usize = 128;
/// The bytes of a header.
pub(crate) const HEADER: usize = 4096;
/// Where the ring begins.
pub(crate) const RING: usize = PAGE;

/// Some bytes for a ring.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The first of the two outer pages.
    base: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// `len` zero bytes.
    pub(crate) fn new(len: usize) -> Memory {
        // SAFETY: the layout has a size: that of two pages at least.
        let base = unsafe { alloc_zeroed(Memory::layout(len)) };
        let memory = Memory {
            base: NonNull::new(base).expect("there is memory"),
            len,
        };
        for place in memory.outside() {
            // SAFETY: `outside` gives pages of the allocation, which nobody
            // else has seen.
            unsafe { place.write_bytes(CANARY, PAGE) };
        }
        memory
    }

    /// Memory with an empty ring, and the position of its two ends. Tape: the
    /// capacity's logarithm, the position.
    pub(crate) fn with_ring(tape: &mut Tape<'_>, options: &Options) -> Option<(Memory, u64)> {
        let capacity = 1 << (tape.byte()? % 13);
        let start = tape.long()?;
        let memory = Memory::new(RING + capacity);
        drop(memory.init(options).expect("it has room for a ring"));
        memory.store(TAIL, 8, start);
        memory.store(HEAD, 8, start);
        // The end before the first: where the first stream begins.
        memory.store(MARKS + 16 * (SLOTS - 1), 8, start);
        Some((memory, start))
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len + 2 * PAGE, PAGE).expect("a small size")
    }

    /// The pages before and behind.
    fn outside(&self) -> [NonNull<u8>; 2] {
        // SAFETY: the second of them ends where the allocation does.
        [self.base, unsafe { self.base.add(PAGE + self.len) }]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: the allocation is longer than a page.
        unsafe { self.base.add(PAGE) }
    }

    /// Makes a ring here. The memory outlives it, which is the body's to see
    /// to: a body declares its memory before its rings.
    pub(crate) fn init(&self, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: as above; nothing but rings and the stores below use it.
        unsafe { options.create_in(self.start(), self.len) }
    }

    /// Attaches the ring that is here, if one is.
    pub(crate) fn attach(&self, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: as in `init`.
        unsafe { options.attach_in(self.start(), self.len) }
    }

    /// Stores the low `bytes` bytes of a word (1, 4, otherwise 8) at `offset`,
    /// brought into the memory and to a multiple of its size.
    pub(crate) fn store(&self, offset: usize, bytes: u8, word: u64) {
        let size = match bytes {
            1 | 4 => usize::from(bytes),
            _ => 8,
        };
        let offset = offset % (self.len / size * size) / size * size;
        // SAFETY: the word ends within the memory.
        let place = unsafe { self.start().add(offset) }.as_ptr();
        // Relaxed: one thread.
        match size {
            // SAFETY: in bounds; anybody may access it, but as atomics only.
            1 => unsafe { AtomicU8::from_ptr(place) }.store(word as u8, Ordering::Relaxed),
            4 => {
                // SAFETY: as above, and `offset` is a multiple of the size.
                let place = unsafe { AtomicU32::from_ptr(place.cast()) };
                place.store(word as u32, Ordering::Relaxed);
            }
            _ => {
                // SAFETY: as above.
                let place = unsafe { AtomicU64::from_ptr(place.cast()) };
                place.store(word, Ordering::Relaxed);
            }
        }
    }

    /// The eight bytes at `offset`, a multiple of eight.
    pub(crate) fn load(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        let place = self.start().as_ptr().wrapping_add(offset);
        // SAFETY: in bounds and aligned; anybody may access it, but as atomics
        // only.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.load(Ordering::Relaxed) // one thread
    }

    /// Stores `bytes` at the start, as many as there is room for.
    pub(crate) fn fill(&self, bytes: &[u8]) {
        for (offset, &byte) in bytes.iter().take(self.len).enumerate() {
            self.store(offset, 1, u64::from(byte));
        }
    }

    /// Panics if anybody has been outside.
    pub(crate) fn check(&self) {
        for place in self.outside() {
            // SAFETY: a page of the allocation, where nobody writes.
            let page = unsafe { std::slice::from_raw_parts(place.as_ptr(), PAGE) };
            assert!(page == [CANARY; PAGE], "a byte outside was written");
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and the rings are gone.
        unsafe { dealloc(self.base.as_ptr(), Memory::layout(self.len)) };
    }
}
