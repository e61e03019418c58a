//! The kernel's part of sleeping and waking: *shared* futexes.
//!
//! `FUTEX_PRIVATE_FLAG` must stay away: with it the kernel looks for sleepers
//! in the caller's own address space, and another process is never woken.
//! <https://man7.org/linux/man-pages/man2/futex.2.html>
#![allow(unsafe_code)] // the only caller of SYS_futex and SYS_futex_waitv

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
        tv_sec: timeout.as_secs() as _,       // callers pass slices
        tv_nsec: timeout.subsec_nanos() as _, // below 10^9, fits any width
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

/// The most words that [`wait_any`] takes.
#[cfg(feature = "async")]
pub(crate) const MOST_WORDS: usize = 128; // FUTEX_WAITV_MAX

/// A word and the value that it is expected to hold, as the kernel's
/// `struct futex_waitv`. It does not keep the word alive.
#[cfg(feature = "async")]
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FutexWait {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

#[cfg(feature = "async")]
impl FutexWait {
    pub(crate) fn new(word: &AtomicU32, value: u32) -> FutexWait {
        const FUTEX2_SIZE_U32: u32 = 2; // and not FUTEX2_PRIVATE
        FutexWait {
            value: u64::from(value),
            address: word.as_ptr().expose_provenance() as u64, // pointers have 64 bits
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        }
    }
}

/// How [`wait_any`] ended.
#[cfg(feature = "async")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// By a wake, a word with another value, a word that is no longer mapped,
    /// or a signal.
    Early,
    /// The time is over.
    TimedOut,
    /// The kernel does not have the call (before Linux 5.16), or a filter
    /// keeps it from us.
    Refused,
}

/// Sleeps until one of `words`, at most [`MOST_WORDS`], is woken, for at most
/// `timeout`; not at all if one holds another value than expected.
///
/// The kernel takes the words in their order: when it compares one, a wake of
/// those before it is already noticed.
/// <https://docs.kernel.org/userspace-api/futex2.html>
#[cfg(feature = "async")]
pub(crate) fn wait_any(words: &[FutexWait], timeout: Duration) -> Woken {
    let mut until = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to `until`, a live timespec. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut until) };
    let nanoseconds = until.tv_nsec as u64 + u64::from(timeout.subsec_nanos()); // below 2 * 10^9
    until.tv_sec += (timeout.as_secs() + nanoseconds / 1_000_000_000) as i64; // slices
    until.tv_nsec = (nanoseconds % 1_000_000_000) as _; // fits any width
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel reads `words`, which are laid out as it expects and
    // as many as it is told, and `until`, which outlives the call. It reads
    // each word atomically and writes none; an address where nothing is mapped
    // any more is EFAULT.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            words.as_ptr(),
            words.len() as libc::c_uint, // at most 128
            no_flags,
            &raw const until,
            libc::CLOCK_MONOTONIC,
        )
    };
    if result >= 0 {
        return Woken::Early;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::EFAULT) => Woken::Early,
        Some(libc::ETIMEDOUT) => Woken::TimedOut,
        _ => Woken::Refused,
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
