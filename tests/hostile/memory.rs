//! Memory that nobody may touch: pages next to a view of a ring, and on the
//! heap.

use std::ops::Range;

use crate::common::maps::attachments;

const PAGE: usize = 4096;

/// Pages mapped right before and right behind a view, where nothing else is,
/// and filled; and some of the heap.
#[derive(Debug)]
pub(crate) struct Canaries {
    pages: Vec<*mut u8>,
    heap: Vec<u8>,
    filling: u8,
}

impl Canaries {
    /// Around the mappings of the segments that have `inside` in them.
    pub(crate) fn around(inside: *const u8, filling: u8) -> Canaries {
        let view = view_at(inside.addr());
        let mut pages = Vec::new();
        for address in [view.start - PAGE, view.end] {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            let at = std::ptr::without_provenance_mut(address);
            // SAFETY: MAP_FIXED_NOREPLACE replaces nothing.
            let page = unsafe { libc::mmap(at, PAGE, access, kind, -1, 0) };
            if page == libc::MAP_FAILED {
                continue; // something is there
            }
            assert_eq!(page.addr(), address);
            let page = page.cast::<u8>();
            // SAFETY: the page was mapped above, for this.
            unsafe { page.write_bytes(filling, PAGE) };
            pages.push(page);
        }
        let heap = vec![filling; 64 << 10];
        Canaries {
            pages,
            heap,
            filling,
        }
    }

    pub(crate) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let is_intact = |bytes: &[u8]| bytes.iter().all(|&byte| byte == self.filling);
        assert!(is_intact(&self.heap), "the heap was written to");
        for &page in &self.pages {
            // SAFETY: mapped and filled by `around`, and nobody else's.
            let bytes = unsafe { std::slice::from_raw_parts(page, PAGE) };
            assert!(is_intact(bytes), "a page beside the ring was written to");
        }
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for page in &self.pages {
            // SAFETY: mapped by `around`, and no reference is left.
            unsafe { libc::munmap(page.cast(), PAGE) };
        }
    }
}

/// The run of segment mappings that `address` is in.
fn view_at(address: usize) -> Range<usize> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for mapping in attachments() {
        match runs.last_mut() {
            Some(run) if run.end == mapping.start => run.end = mapping.end,
            _ => runs.push(mapping),
        }
    }
    let run = runs.into_iter().find(|run| run.contains(&address));
    run.expect("the ring is mapped")
}

/// A buffer with bytes around it that no read may touch.
pub(crate) struct Fenced(Vec<u8>);

impl Fenced {
    const FENCE: usize = 64;

    pub(crate) fn new(len: usize) -> Fenced {
        Fenced(vec![0xa5; len + 2 * Self::FENCE])
    }

    pub(crate) fn first(&mut self, len: usize) -> &mut [u8] {
        &mut self.0[Self::FENCE..][..len]
    }

    /// Checks the fences, and what lies behind the first `len` bytes.
    #[track_caller]
    pub(crate) fn check(&mut self, len: usize) {
        let (before, rest) = self.0.split_at(Self::FENCE);
        let is_intact = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0xa5);
        assert!(
            is_intact(before) && is_intact(&rest[len..]),
            "written outside"
        );
    }
}
