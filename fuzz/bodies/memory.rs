//! Memory for a ring, with a guard page on either side, and the stores of a stranger into
//! it.
#![allow(unsafe_code)] // vouches for the memory

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use shmpipe::{OpenError, Options, Ring};

use super::tape::Tape;

const PAGE: usize = 4096;
/// The contents of the guard pages.
const CANARY: u8 = 0xa5;

/// Offsets of header words: see src/guide/format.md.
pub(crate) const TAIL: usize = 256;
pub(crate) const HEAD: usize = 512;
/// The numbers of claims of both roles.
pub(crate) const CLAIMS: [usize; 2] = [408, 664];
/// The number of ends made, and the number of ends acknowledged.
pub(crate) const COUNTS: [usize; 2] = [416, 672];
/// The ends: each has a position, and how the stream ended.
pub(crate) const MARKS: usize = 1024;
/// The number of places for ends.
pub(crate) const SLOTS: usize = 128;
/// The size of a header in bytes.
pub(crate) const HEADER: usize = 4096;
/// The offset of the ring.
pub(crate) const RING: usize = PAGE;

/// Memory for a ring.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The first guard page.
    base: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// `len` zero bytes.
    pub(crate) fn new(len: usize) -> Memory {
        // SAFETY: the layout is at least two pages long, so not empty.
        let base = unsafe { alloc_zeroed(Memory::layout(len)) };
        let memory = Memory {
            base: NonNull::new(base).expect("there is memory"),
            len,
        };
        for place in memory.outside() {
            // SAFETY: `outside` gives pages of the allocation, which nothing refers to yet.
            unsafe { place.write_bytes(CANARY, PAGE) };
        }
        memory
    }

    /// Memory with an empty ring, and the position of both ends. Tape: the logarithm of the
    /// capacity, the position.
    pub(crate) fn with_ring(tape: &mut Tape<'_>, options: &Options) -> Option<(Memory, u64)> {
        let capacity = 1 << (tape.byte()? % 13);
        let start = tape.long()?;
        let memory = Memory::new(RING + capacity);
        drop(memory.init(options).expect("it has room for a ring"));
        memory.store(TAIL, 8, start);
        memory.store(HEAD, 8, start);
        // The end before the first stream marks where that stream begins.
        memory.store(MARKS + 16 * (SLOTS - 1), 8, start);
        Some((memory, start))
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len + 2 * PAGE, PAGE).expect("a small size")
    }

    /// The pages before and after the memory.
    fn outside(&self) -> [NonNull<u8>; 2] {
        // SAFETY: the second page ends where the allocation does.
        [self.base, unsafe { self.base.add(PAGE + self.len) }]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: the allocation is longer than a page.
        unsafe { self.base.add(PAGE) }
    }

    /// Makes a ring in the memory, which must outlive the ring: a body declares its memory
    /// before its rings.
    pub(crate) fn init(&self, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: the memory outlives the ring. Only rings and the stores below use it.
        unsafe { options.create_in(self.start(), self.len) }
    }

    /// Attaches the ring in the memory, if there is one.
    pub(crate) fn attach(&self, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: the memory outlives the ring. Only rings and the stores below use it.
        unsafe { options.attach_in(self.start(), self.len) }
    }

    /// Stores the low `bytes` bytes of a word (1, 4, otherwise 8). `offset` is first
    /// reduced into the memory, and to a multiple of the size.
    pub(crate) fn store(&self, offset: usize, bytes: u8, word: u64) {
        let size = match bytes {
            1 | 4 => usize::from(bytes),
            _ => 8,
        };
        let offset = offset % (self.len / size * size) / size * size;
        // SAFETY: the word ends within the memory.
        let place = unsafe { self.start().add(offset) }.as_ptr();
        // Relaxed: there is one thread.
        match size {
            // SAFETY: in bounds. All accesses to the memory are atomic.
            1 => unsafe { AtomicU8::from_ptr(place) }.store(word as u8, Ordering::Relaxed),
            4 => {
                // SAFETY: in bounds, and a multiple of the size. All accesses are atomic.
                let place = unsafe { AtomicU32::from_ptr(place.cast()) };
                place.store(word as u32, Ordering::Relaxed);
            }
            _ => {
                // SAFETY: in bounds, and a multiple of the size. All accesses are atomic.
                let place = unsafe { AtomicU64::from_ptr(place.cast()) };
                place.store(word, Ordering::Relaxed);
            }
        }
    }

    /// The word at `offset`, which is a multiple of eight.
    pub(crate) fn load(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        let place = self.start().as_ptr().wrapping_add(offset);
        // SAFETY: in bounds and aligned. All accesses to the memory are atomic.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        word.load(Ordering::Relaxed) // one thread
    }

    /// Stores `bytes` at the start, as many as fit.
    pub(crate) fn fill(&self, bytes: &[u8]) {
        for (offset, &byte) in bytes.iter().take(self.len).enumerate() {
            self.store(offset, 1, u64::from(byte));
        }
    }

    /// Panics if a guard page has changed.
    pub(crate) fn check(&self) {
        for place in self.outside() {
            // SAFETY: a page of the allocation that nobody writes to.
            let page = unsafe { std::slice::from_raw_parts(place.as_ptr(), PAGE) };
            assert!(page == [CANARY; PAGE], "a byte outside was written");
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout. The rings are gone.
        unsafe { dealloc(self.base.as_ptr(), Memory::layout(self.len)) };
    }
}
