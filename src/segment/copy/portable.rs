//! Copies by relaxed atomics, for other targets, sanitizers and Miri.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

const WORD: usize = size_of::<usize>();

/// Calls `word` for the start of each aligned whole word of `shared`, and `byte` for each other
/// byte of `len`.
fn walk(shared: *const u8, len: usize, word: impl Fn(usize), byte: impl Fn(usize)) {
    let head = shared.align_offset(WORD).min(len);
    let tail = len - (len - head) % WORD;
    (0..head).for_each(&byte);
    (head..tail).step_by(WORD).for_each(word);
    (tail..len).for_each(byte);
}

/// # Safety
///
/// As for [`super::copy_in`].
pub(super) unsafe fn copy_in(dst: *mut u8, src: *const u8, len: usize, _: usize) {
    // Relaxed below: the position published after the copy carries the order.
    walk(
        dst,
        len,
        |start| {
            // SAFETY: `walk` keeps `start + WORD <= len`; the caller vouches for both sides.
            let value = unsafe { src.add(start).cast::<usize>().read_unaligned() };
            // SAFETY: as before; `walk` aligns `dst + start`.
            let shared = unsafe { AtomicUsize::from_ptr(dst.add(start).cast()) };
            shared.store(value, Relaxed); // ordered by P1, P2
        },
        |start| {
            // SAFETY: `walk` keeps `start < len`; the caller vouches for both sides.
            let value = unsafe { src.add(start).read() };
            // SAFETY: as before.
            let shared = unsafe { AtomicU8::from_ptr(dst.add(start)) };
            shared.store(value, Relaxed); // ordered by P1, P2
        },
    );
}

/// # Safety
///
/// As for [`super::copy_out`].
pub(super) unsafe fn copy_out(dst: *mut u8, src: *const u8, len: usize, _: usize) {
    // Relaxed below: the position loaded before the copy carries the order.
    walk(
        src,
        len,
        |start| {
            // SAFETY: `walk` keeps `start + WORD <= len` and aligns `src + start`; the caller
            // vouches for both sides. An atomic load writes nothing.
            let shared = unsafe { AtomicUsize::from_ptr(src.add(start).cast_mut().cast()) };
            let value = shared.load(Relaxed); // ordered by P1, P2
            // SAFETY: as before.
            unsafe { dst.add(start).cast::<usize>().write_unaligned(value) };
        },
        |start| {
            // SAFETY: `walk` keeps `start < len`; the caller vouches for both sides.
            let shared = unsafe { AtomicU8::from_ptr(src.add(start).cast_mut()) };
            let value = shared.load(Relaxed); // ordered by P1, P2
            // SAFETY: as before.
            unsafe { dst.add(start).write(value) };
        },
    );
}

/// Copies from the first byte to the last: the direction makes no difference here.
///
/// # Safety
///
/// As for [`super::copy_out`].
pub(super) unsafe fn copy_out_back(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: the caller has the same duties.
    unsafe { copy_out(dst, src, len, 0) }
}
