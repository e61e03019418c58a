//! The only code that moves payload bytes between private memory and the shared ring.
//!
//! Guarded here: another process may write any shared byte at any time, whatever the protocol
//! says. A copy then delivers some mixture of old and new bytes, and nothing worse.
//!
//! 1. No ordinary Rust load or store touches shared memory. `ptr::copy` would be a data race, hence
//!    undefined behaviour, and the compiler might read a byte twice.
//! 2. No reference to shared payload bytes exists. On targets without assembly below there are
//!    references to single atomics only.
//! 3. A copy touches exactly the `len` bytes it was given on either side. It may touch a byte more
//!    than once, so what it delivers is private data to be validated after the copy, not before.
//! 4. A copy orders nothing: the acquire and release on the positions around it do.
//!
//! # Why the assembly is sound
//!
//! Rust has no settled rule for memory that a stranger may write; unsafe-code-guidelines
//! [#152] and [#607] discuss it. What is wanted is a bytewise atomic `memcpy`, proposed in
//! RFC [#3301] and not available. An assembly block is opaque to the compiler: it must be accepted
//! as long as some Rust code could have had the same effect on memory that Rust knows of. Here that
//! code is a relaxed atomic copy, byte by byte in some order: each byte moves at least once, every
//! access the processor makes is whole for a single byte, and any `u8` is a valid value. Relaxed
//! atomic accesses do not race, so rule 1 holds. The blocks leave the default memory clobber in
//! place, so the compiler must assume that they read and write memory, cannot leave them out or
//! repeat them, and cannot move an acquire load or a release store across them. The processor keeps
//! them in place too: vector accesses obey the same barriers as scalar ones on both architectures.
//!
//! Weaknesses: sanitizers do not see what assembly accesses. With `--cfg shmpipe_portable_copy` in
//! RUSTFLAGS the copies are relaxed atomic words, which they do see. So are they on other targets,
//! and for Miri, which cannot run assembly. Atomics never race, so ThreadSanitizer has nothing to
//! report of either; with `--cfg shmpipe_plain_copy` the copies are plain, for tests between honest
//! threads, and it reports each that the positions do not order. A peer may access the same bytes
//! in other sizes; Rust does not yet say what such a mixture means ([#607]).
//!
//! [#152]: https://github.com/rust-lang/unsafe-code-guidelines/issues/152
//! [#607]: https://github.com/rust-lang/unsafe-code-guidelines/issues/607
//! [#3301]: https://github.com/rust-lang/rfcs/pull/3301

// Raw pointers, assembly and per-byte atomics are the purpose of this module.
#![allow(unsafe_code)]
// One proof covers all branches of `copy`: every one moves the same `len` bytes.
#![allow(clippy::multiple_unsafe_ops_per_block)]

#[cfg(all(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    not(any(miri, shmpipe_portable_copy))
))]
use assembly as implementation;
#[cfg(not(all(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    not(any(miri, shmpipe_portable_copy))
)))]
use portable as implementation;

mod caches;

#[cfg(any(
    test,
    not(all(
        any(target_arch = "aarch64", target_arch = "x86_64"),
        not(any(miri, shmpipe_portable_copy))
    ))
))]
mod portable;

use std::ptr;

pub(crate) use caches::Caches;

/// Bytes of a line of the processor's.
const LINE: usize = 64;

/// Bytes of the longest copy that is made without a call.
pub(crate) const SHORT: usize = 64;

/// Copies `len` bytes from private memory into the shared ring. If they are more than [`SHORT`],
/// it asks for the line `ahead` bytes after each that is copied to, to write to it next: a hint,
/// which touches none. 0 asks for none.
///
/// # Safety
///
/// * `dst` is valid mapped memory for writes of `len` bytes; other processes may access it.
/// * `src` is valid for reads of `len` bytes, and nothing writes them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_in(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: as below, and under this cfg nobody accesses `dst` against the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_in(dst, src, len, ahead) }
}

/// Asks the processor for the line of `place`, to write to it soon. Touches no memory: a bad address
/// is ignored.
#[inline(always)]
pub(crate) fn prefetch_write(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch changes no register, no flag and no memory, and does not fault. Where the
    // processor does not know it, it does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(any(target_arch = "aarch64", target_arch = "x86_64"), not(miri))))]
    let _ = place;
}

/// Asks the processor for the line of `place`, to read it soon. Touches no memory, as
/// [`prefetch_write`].
#[inline(always)]
pub(crate) fn prefetch_read(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as in `prefetch_write`.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as in `prefetch_write`.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(any(target_arch = "aarch64", target_arch = "x86_64"), not(miri))))]
    let _ = place;
}

/// As [`prefetch_write`], of the lines of `len` bytes at `place`.
pub(crate) fn prefetch_write_all(place: *const u8, len: usize) {
    each_line(place, len, prefetch_write);
}

/// Asks the processor to move the lines of `len` bytes at `place` from its own caches to the one
/// that it shares with others, which read them sooner there. Touches no memory, as [`prefetch_write`].
pub(crate) fn demote(place: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    each_line(place, len, |line| {
        // SAFETY: as in `prefetch_write`.
        unsafe {
            std::arch::asm!("cldemote [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
    });
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (place, len);
}

/// Calls `hint` for a place in each line of `len` bytes at `place`.
fn each_line(place: *const u8, len: usize, hint: impl Fn(*const u8)) {
    if len == 0 {
        return;
    }
    let first = place.map_addr(|address| address & !(LINE - 1));
    for line in (0..place.addr() - first.addr() + len).step_by(LINE) {
        hint(first.wrapping_add(line));
    }
}

/// Copies `len` bytes out of the shared ring into private memory. If they are more than [`SHORT`],
/// it asks for the line `ahead` bytes after each that is copied, to read it next: a hint, which
/// touches none. 0 asks for none.
///
/// # Safety
///
/// * `src` is valid mapped memory for reads of `len` bytes; other processes may access it.
/// * `dst` is valid for writes of `len` bytes, and nothing else accesses them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_out(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: as below, and under this cfg nobody accesses `src` against the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_out(dst, src, len, ahead) }
}

/// As [`copy_out`], from the last byte to the first, as far as that can be done faster than one by
/// one. Asks for no lines.
///
/// # Safety
///
/// As for [`copy_out`].
pub(crate) unsafe fn copy_out_back(dst: *mut u8, src: *const u8, len: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: as in `copy_out`.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_out_back(dst, src, len) }
}

/// Takes the lines that end within `len` bytes at `place` into this processor's cache alone, by
/// storing into each the last byte that it holds. Changes no byte.
///
/// A line that two processors have read is slow to write for either. One that the reader holds alone
/// goes over to the writer as it is, without a word to anybody else.
///
/// # Safety
///
/// * `len` bytes at `place` are valid mapped memory for reads and writes; other processes may access
///   them. They are the caller's alone by the protocol: what another one wrote meanwhile could be lost.
#[inline(never)]
pub(crate) unsafe fn make_exclusive(place: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let first = LINE - 1 - place.addr() % LINE;
        for last in (first..len).step_by(LINE) {
            // SAFETY: the byte is one of the `len` that the caller vouches for. The access is that of
            // a relaxed load and a relaxed store. It uses no stack and leaves the flags alone.
            unsafe {
                std::arch::asm!(
                    "mov {t:l}, [{byte}]",
                    "mov [{byte}], {t:l}",
                    byte = in(reg) place.add(last),
                    t = out(reg) _,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (place, len);
}

/// Copies by assembly.
#[cfg(all(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    not(any(miri, shmpipe_portable_copy))
))]
mod assembly;

#[cfg(test)]
mod tests;
