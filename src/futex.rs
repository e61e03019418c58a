//! The kernel's part of sleeping and waking: a *shared* futex.
//!
//! `FUTEX_PRIVATE_FLAG` must stay away: with it the kernel looks for sleepers
//! in the caller's own address space, and another process is never woken.
//! <https://man7.org/linux/man-pages/man2/futex.2.html>
#![allow(unsafe_code)] // the only caller of SYS_futex

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` holds `expected`, for at most `timeout`, by the
/// monotonic clock.
///
/// Returns for whatever reason: woken, another value in the word, a signal,
/// the time, or a kernel that refuses. The caller looks again in every case.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t, // callers pass slices
        tv_nsec: timeout.subsec_nanos() as _,      // below 10^9, fits any width
    };
    // SAFETY: `word` is a live, aligned u32; the kernel reads it atomically.
    // `timeout` outlives the call. The other arguments are unused by
    // FUTEX_WAIT.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
            ptr::null::<u32>(),
            0,
        );
    }
}

/// Wakes whoever sleeps on `word`, in any process.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE uses the address as a name only; it neither reads nor
    // writes the word. The other arguments are unused.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
            ptr::null::<libc::timespec>(),
            ptr::null::<u32>(),
            0,
        );
    }
}
