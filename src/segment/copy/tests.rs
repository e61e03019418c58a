#[cfg(not(miri))]
use std::ptr;

#[cfg(not(miri))]
use super::make_exclusive;
use super::{copy_in, copy_out, copy_out_back, portable};

type Copy = unsafe fn(*mut u8, *const u8, usize, usize);

const CANARY: u8 = 0xA5;
/// Prefetches reach lines far outside the buffers: a prefetch touches nothing.
const AHEAD: usize = 1 << 40;

/// Every implementation that this processor can run, with the shortest length that each takes.
fn implementations() -> Vec<(&'static str, usize, Copy)> {
    let always: [(_, _, Copy); 6] = [
        ("copy_in", 0, copy_in),
        ("copy_out", 0, copy_out),
        ("portable::copy_in", 0, portable::copy_in),
        ("portable::copy_out", 0, portable::copy_out),
        // SAFETY: each caller has the same duties.
        ("copy_out_back", 0, |dst, src, len, _| unsafe {
            copy_out_back(dst, src, len)
        }),
        // SAFETY: each caller has the same duties.
        ("portable::copy_out_back", 0, |dst, src, len, _| unsafe {
            portable::copy_out_back(dst, src, len)
        }),
    ];
    always.into_iter().chain(vectors()).collect()
}

/// The vector loops of x86-64, called directly. The ordinary copies choose one of them by the
/// length and the processor.
fn vectors() -> Vec<(&'static str, usize, Copy)> {
    #[cfg(all(target_arch = "x86_64", not(any(miri, shmpipe_portable_copy))))]
    {
        use super::assembly::{avx2_in, avx2_out, sse2_in, sse2_out};
        let mut vectors: Vec<(_, _, Copy)> =
            vec![("sse2_in", 48, sse2_in), ("sse2_out", 32, sse2_out)];
        if std::arch::is_x86_feature_detected!("avx2") {
            vectors.push(("avx2_in", 80, avx2_in));
            vectors.push(("avx2_out", 64, avx2_out));
        }
        vectors
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, shmpipe_portable_copy)))))]
    Vec::new()
}

/// Bytes without a short period, so that a piece moved to a wrong place shows.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// Copies once, and compares the destination and its surroundings with the expected bytes.
fn check(name: &str, copy: Copy, from: &mut [u8], to: &mut [u8], at: (usize, usize), len: usize) {
    let (from_start, to_start) = at;
    let source = &mut from[from_start..from_start + len];
    // One side plays shared memory. Its pointer must come from `&mut`: portable copies make atomics
    // of it, which a pointer from `&` does not allow.
    let from = source.as_mut_ptr().cast_const();
    to.fill(CANARY);
    let target = &mut to[to_start..to_start + len];
    // SAFETY: both slices are `len` long and belong to different buffers. The implementation takes
    // that length.
    unsafe { copy(target.as_mut_ptr(), from, len, AHEAD) };
    let (before, rest) = to.split_at(to_start);
    let (copied, after) = rest.split_at(len);
    let intact = |bytes: &[u8]| bytes.iter().all(|&byte| byte == CANARY);
    assert!(
        copied == source,
        "{name}: wrong bytes, len {len}, at {at:?}"
    );
    assert!(
        intact(before) && intact(after),
        "{name}: wrote outside, len {len}, at {at:?}"
    );
}

#[test]
fn every_short_length_at_every_alignment() {
    let (lens, step) = match () {
        () if cfg!(miri) => (61, 1361), // Miri is slow
        () if cfg!(debug_assertions) => (1, 7),
        () => (1, 1),
    };
    let mut from = pattern(64 + 700);
    let mut to = vec![0; 64 + 700 + 64];
    for (name, least, copy) in implementations() {
        for len in (least..=700).step_by(lens) {
            for shift in (0..64 * 64).step_by(step) {
                let at = (shift / 64, shift % 64);
                check(name, copy, &mut from, &mut to[..64 + len + 64], at, len);
            }
        }
    }
}

#[test]
fn long_lengths_at_some_alignments() {
    let mut from = pattern(64 + (1 << 20));
    let mut to = vec![0; 64 + (1 << 20) + 64];
    for (name, _, copy) in implementations() {
        for len in [4095, 4096, 4097, 65535, 1 << 20] {
            for at in [
                (0, 0),
                (0, 1),
                (1, 0),
                (7, 13),
                (8, 8),
                (16, 48),
                (31, 33),
                (63, 63),
            ] {
                check(name, copy, &mut from, &mut to[..64 + len + 64], at, len);
            }
        }
    }
}

/// `PAGES` accessible pages between two that fault.
#[cfg(not(miri))]
struct Guarded {
    mapping: *mut libc::c_void,
    page: usize,
}

#[cfg(not(miri))]
impl Guarded {
    const PAGES: usize = 2;

    fn new() -> Self {
        // SAFETY: no pointer is passed.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap();
        // SAFETY: a new anonymous mapping replaces nothing.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                (Self::PAGES + 2) * page,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(mapping, libc::MAP_FAILED);
        let guarded = Self { mapping, page };
        let read_write = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range lies within the mapping made above.
        let result =
            unsafe { libc::mprotect(guarded.start().cast(), Self::PAGES * page, read_write) };
        assert_eq!(result, 0);
        guarded
    }

    fn start(&self) -> *mut u8 {
        self.mapping.cast::<u8>().wrapping_add(self.page)
    }

    /// `len` bytes that touch the guard in front or, if `at_end`, the one behind.
    fn place(&self, len: usize, at_end: bool) -> *mut u8 {
        let room = Self::PAGES * self.page - len;
        self.start().wrapping_add(if at_end { room } else { 0 })
    }
}

#[cfg(not(miri))]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: `new` made this mapping, and the raw pointers into it are no longer used.
        unsafe { libc::munmap(self.mapping, (Self::PAGES + 2) * self.page) };
    }
}

/// An access outside the given bytes ends the test process by a signal.
#[test]
#[cfg(not(miri))]
fn nothing_outside_is_touched() {
    let (from, to) = (Guarded::new(), Guarded::new());
    let bytes = pattern(4097);
    for (name, least, copy) in implementations() {
        for len in (least..=700).chain([4095, 4096, 4097]) {
            for ends in 0..4 {
                let source = from.place(len, ends & 1 != 0);
                let target = to.place(len, ends & 2 != 0);
                // SAFETY: `place` returns `len` accessible bytes, in different mappings. `bytes` is
                // at least as long.
                let copied = unsafe {
                    ptr::copy_nonoverlapping(bytes.as_ptr(), source, len);
                    copy(target, source, len, AHEAD);
                    std::slice::from_raw_parts(target, len)
                };
                assert!(
                    copied == &bytes[..len],
                    "{name}: len {len}, ends {ends:02b}"
                );
            }
        }
    }
}

/// An access outside the given bytes ends the test process by a signal. Every byte keeps its value.
#[test]
#[cfg(not(miri))]
fn make_exclusive_changes_no_byte() {
    let memory = Guarded::new();
    let bytes = pattern(4097);
    for len in (0..=700).chain([4095, 4096, 4097]) {
        for at_end in [false, true] {
            let place = memory.place(len, at_end);
            // SAFETY: `place` returns `len` accessible bytes; `bytes` is at least as long.
            let after = unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), place, len);
                make_exclusive(place, len);
                std::slice::from_raw_parts(place, len)
            };
            assert!(after == &bytes[..len], "len {len}, at the end: {at_end}");
        }
    }
}
