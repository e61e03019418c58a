//! Random numbers that stay unique across fork.
//!
//! `RandomState` does not serve: a fork copies its keys, so parent and child, or two children,
//! would get the same numbers. The C library's generator does not serve either, since a fork may
//! find it locked.
#![allow(unsafe_code)] // the only caller of SYS_getrandom

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A new random number at each call, in each thread and process. One system call.
///
/// <https://man7.org/linux/man-pages/man2/getrandom.2.html>
pub(crate) fn random() -> u64 {
    from_kernel().unwrap_or_else(fallback)
}

fn from_kernel() -> Option<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the kernel writes at most the `bytes.len()` bytes of `bytes`, and does not wait.
    let len = unsafe {
        libc::syscall(
            libc::SYS_getrandom,
            bytes.as_mut_ptr(),
            bytes.len(),
            libc::GRND_NONBLOCK,
        )
    };
    (len == bytes.len() as libc::c_long).then(|| u64::from_ne_bytes(bytes))
}

/// A number made from the time, the process id and a count of calls. For a kernel that has no
/// random numbers yet, or a filter that forbids the call.
fn fallback() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = time.map_or(0, |time| time.as_nanos() as u64); // the low bits differ most
    let calls = CALLS.fetch_add(1, Ordering::Relaxed); // only needs to be unique
    let mut word = 0;
    for part in [nanos, u64::from(std::process::id()), calls] {
        // The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        word = (word ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
    }
    word
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    /// The result of `number` in a child of this process.
    fn in_child(number: fn() -> u64) -> u64 {
        let (mut told, tell) = std::io::pipe().unwrap();
        // SAFETY: the child makes three system calls and no allocation.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let bytes = number().to_ne_bytes();
            // SAFETY: a live array of that length.
            unsafe { libc::write(tell.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
        drop(tell);
        let mut bytes = [0; 8];
        told.read_exact(&mut bytes).unwrap();
        // SAFETY: a child that is not yet reaped. Its status is not wanted.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        u64::from_ne_bytes(bytes)
    }

    /// Found in review: two children of one process, each the first of a pid namespace of its own,
    /// gave their rings the same nonce.
    #[test]
    fn no_number_repeats_after_a_fork() {
        for number in [random, fallback] {
            number(); // any state that a fork could copy exists now
            let numbers = [in_child(number), in_child(number), number()];
            assert_ne!(numbers[0], numbers[1]);
            assert_ne!(numbers[0], numbers[2]);
            assert_ne!(numbers[1], numbers[2]);
        }
    }
}
