//! The kernel's part of sleeping and waking: *shared* futexes.
//!
//! `FUTEX_PRIVATE_FLAG` must not be set. With it, the kernel looks for sleepers only in the
//! caller's address space, and never wakes another process.
//! <https://man7.org/linux/man-pages/man2/futex.2.html>
#![allow(unsafe_code)] // the only caller of SYS_futex and SYS_futex_waitv

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` holds `expected`, for at most `timeout` by the monotonic clock.
///
/// Returns on a wake, another value in the word, a signal, the timeout, or a refusal of the kernel.
/// The caller looks again in every case.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as _,       // callers pass slices
        tv_nsec: timeout.subsec_nanos() as _, // below 10^9, fits any width
    };
    // SAFETY: `word` is a live, aligned u32, which the kernel reads atomically. `timeout` outlives
    // the call. FUTEX_WAIT ignores the other arguments.
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

/// The most words that [`wait_any`] accepts.
pub(crate) const MOST_WORDS: usize = 128; // FUTEX_WAITV_MAX

/// A word and its expected value, laid out as the kernel's `struct futex_waitv`. Does not keep the
/// word alive.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FutexWait {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

impl FutexWait {
    pub(crate) fn new(word: &AtomicU32, value: u32) -> FutexWait {
        const FUTEX2_SIZE_U32: u32 = 2; // without FUTEX2_PRIVATE
        FutexWait {
            value: u64::from(value),
            address: word.as_ptr().expose_provenance() as u64, // pointers have 64 bits
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        }
    }
}

/// How [`wait_any`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A wake of the word of this index. Others may have been woken too.
    Word(usize),
    /// A word with another value, a word that is no longer mapped, a signal, or a passing failure
    /// such as a lack of memory. A caller that sleeps in vain too often sleeps otherwise.
    Early,
    /// The timeout passed.
    TimedOut,
    /// The kernel lacks the call (before Linux 5.16), or a filter forbids it.
    Refused,
}

impl Woken {
    /// Whether the sleep ended before its timeout.
    pub(crate) fn is_early(self) -> bool {
        matches!(self, Woken::Word(_) | Woken::Early)
    }
}

/// Sleeps until one of `words`, at most [`MOST_WORDS`], is woken, for at most `timeout`. Returns at
/// once if a word holds another value than expected.
///
/// The kernel takes the words in order. It compares a word and queues the caller on it under one
/// lock, and then goes to the next. So when it compares a word, the caller is in the queues of all
/// words before that one, and their wakes are not missed.
/// <https://docs.kernel.org/userspace-api/futex2.html>
pub(crate) fn wait_any(words: &[FutexWait], timeout: Duration) -> Woken {
    let mut until = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `until`, a live timespec. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut until) };
    let nanoseconds = until.tv_nsec as u64 + u64::from(timeout.subsec_nanos()); // below 2 * 10^9
    until.tv_sec += (timeout.as_secs() + nanoseconds / 1_000_000_000) as i64; // no overflow: callers pass slices
    until.tv_nsec = (nanoseconds % 1_000_000_000) as _; // fits any width
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel reads `words`, laid out and counted as it expects, and `until`, which
    // outlives the call. It reads each word atomically and writes none. An unmapped address yields
    // EFAULT.
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
    if let Ok(index) = usize::try_from(result) {
        return Woken::Word(index);
    }
    woken_by_error(std::io::Error::last_os_error().raw_os_error())
}

/// How a call ended that failed. Callers never try again after [`Woken::Refused`].
fn woken_by_error(error: Option<i32>) -> Woken {
    match error {
        Some(libc::ETIMEDOUT) => Woken::TimedOut,
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => Woken::Refused,
        _ => Woken::Early,
    }
}

/// Wakes every sleeper on `word`, in any process.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE uses the address as a name only, and neither reads nor writes the word. It
    // ignores the other arguments.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found in review: a passing lack of memory counted as a kernel without the call, for as long
    /// as the set or the reactor lived.
    #[test]
    fn only_a_call_that_is_missing_or_forbidden_is_refused() {
        for error in [libc::ENOSYS, libc::EPERM, libc::EACCES] {
            assert_eq!(woken_by_error(Some(error)), Woken::Refused);
        }
        for error in [libc::ENOMEM, libc::EAGAIN, libc::EINTR, libc::EFAULT] {
            assert_eq!(woken_by_error(Some(error)), Woken::Early);
        }
        assert_eq!(woken_by_error(Some(libc::ETIMEDOUT)), Woken::TimedOut);
    }
}
