//! The only code that moves payload bytes between private memory and the shared ring.
//!
//! Another process may write any shared byte at any time, whatever the protocol says. A copy then
//! delivers some mixture of old and new bytes, and nothing worse. Rules of this module:
//!
//! 1. No ordinary Rust load or store touches shared memory. `ptr::copy` would be a data race, hence
//!    undefined behaviour, and the compiler might read a byte twice.
//! 2. No reference to shared payload bytes exists, except in the portable copy: each of its
//!    references is to a single atomic.
//! 3. A copy touches exactly the given `len` bytes on either side. It may touch a byte more than
//!    once. So a caller validates the delivered private bytes, after the copy.
//! 4. A copy orders nothing: the acquire and release on the positions around it do.
//!
//! # Why the assembly is sound
//!
//! Rust has no settled rule for memory that another process may write. The issues [#152] and [#607]
//! of unsafe-code-guidelines discuss it. What this module needs is a bytewise atomic `memcpy`, which RFC [#3301]
//! proposes and Rust does not have yet.
//!
//! An assembly block is opaque to the compiler. The block is sound if some Rust code could stand in
//! its place, with the same effect on memory. That Rust code is a relaxed atomic copy, byte by byte
//! in some order. The block equals such a copy for three reasons. Each byte moves at least once. No
//! access of the processor tears a byte. Any `u8` is a valid value. Relaxed atomic accesses do not
//! race, so rule 1 holds.
//!
//! The blocks keep the default memory clobber, so the compiler assumes that they read and write
//! memory. It can neither omit nor repeat a block, nor move an acquire load or a release store
//! across it. The processor keeps the accesses in place too: on both architectures, vector accesses
//! obey the same barriers as scalar ones.
//!
//! # Limits
//!
//! Sanitizers do not see what assembly accesses. With `--cfg shmpipe_portable_copy` in RUSTFLAGS
//! the copies are relaxed atomic words, which sanitizers see. Other targets use that copy as well,
//! and so does Miri, which cannot run assembly.
//!
//! Atomics never race, so ThreadSanitizer has nothing to report in the portable copy either. With
//! `--cfg shmpipe_plain_copy` the copies are plain, for tests between honest threads.
//! ThreadSanitizer then reports each copy that the positions do not order.
//!
//! A peer may access the same bytes in other sizes. Rust does not say yet what such a mixture means
//! ([#607]).
//!
//! [#152]: https://github.com/rust-lang/unsafe-code-guidelines/issues/152
//! [#607]: https://github.com/rust-lang/unsafe-code-guidelines/issues/607
//! [#3301]: https://github.com/rust-lang/rfcs/pull/3301

// Raw pointers, assembly and per-byte atomics are the purpose of this module.
#![allow(unsafe_code)]
// One proof covers all branches of a copy: every branch moves the same `len` bytes.
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

use crate::role::Role;

/// Bytes of the processor's cache line.
const LINE: usize = 64;

/// Bytes of the longest copy that is made inline, without a call.
pub(crate) const SHORT: usize = 64;

/// Copies `len` bytes from private memory into the shared ring. For more than [`SHORT`] bytes,
/// prefetches the line `ahead` bytes after each written line, for the next write. An `ahead` of 0
/// means no prefetch.
///
/// # Safety
///
/// * `dst` is valid mapped memory for writes of `len` bytes; other processes may access it.
/// * `src` is valid for reads of `len` bytes, and nothing writes them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_in(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: the caller has the same duties, and under this cfg nobody accesses `dst` against
        // the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_in(dst, src, len, ahead) }
}

/// Prefetches the line of `place` for writing. Touches no memory: the processor ignores a bad
/// address.
#[inline(always)]
pub(crate) fn prefetch_write(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch changes no register, no flag and no memory, and does not fault. A processor
    // without the instruction treats it as a no-op.
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

/// Prefetches the line of `place` for reading. Touches no memory, like [`prefetch_write`].
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

/// Prefetches the lines of `len` bytes at `place` for what `role` does with them, with
/// [`prefetch_write`] or [`prefetch_read`].
#[inline(never)]
pub(crate) fn prefetch_all(role: Role, place: *const u8, len: usize) {
    match role {
        Role::Producer => each_line(place, len, prefetch_write),
        Role::Consumer => each_line(place, len, prefetch_read),
    }
}

/// Demotes the lines of `len` bytes at `place`: moves them from this processor's own caches to the
/// shared one, where others read them sooner. Touches no memory, like [`prefetch_write`].
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

/// Calls `hint` for an address in each line of `len` bytes at `place`.
fn each_line(place: *const u8, len: usize, hint: impl Fn(*const u8)) {
    if len == 0 {
        return;
    }
    let first = place.map_addr(|address| address & !(LINE - 1));
    for line in (0..place.addr() - first.addr() + len).step_by(LINE) {
        hint(first.wrapping_add(line));
    }
}

/// Copies `len` bytes out of the shared ring into private memory. For more than [`SHORT`] bytes,
/// prefetches the line `ahead` bytes after each read line, for the next read. An `ahead` of 0 means
/// no prefetch.
///
/// # Safety
///
/// * `src` is valid mapped memory for reads of `len` bytes; other processes may access it.
/// * `dst` is valid for writes of `len` bytes, and nothing else accesses them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_out(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: the caller has the same duties, and under this cfg nobody accesses `src` against
        // the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_out(dst, src, len, ahead) }
}

/// Copies as [`copy_out`] does, but from the end to the start, as far as pieces larger than a byte
/// allow. Makes no prefetch.
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

/// Makes the lines that end within `len` bytes at `place` exclusive to this processor's cache. To
/// do so it stores into each line the last byte that the line holds. Changes no byte.
///
/// A write to a line that two caches share must first invalidate the other copy, which is slow. A
/// line that only the reader's cache holds passes to the writer in one step.
///
/// # Safety
///
/// * `len` bytes at `place` are valid mapped memory for reads and writes; other processes may access
///   them. By the protocol only the caller writes them: another's concurrent store could be lost.
#[inline(never)]
pub(crate) unsafe fn make_exclusive(place: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let first = LINE - 1 - place.addr() % LINE;
        for last in (first..len).step_by(LINE) {
            // SAFETY: the byte is one of the `len` that the caller vouches for. The access equals a
            // relaxed load and a relaxed store. It uses no stack and leaves the flags alone.
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
