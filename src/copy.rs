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

#[cfg(any(
    test,
    not(all(
        any(target_arch = "aarch64", target_arch = "x86_64"),
        not(any(miri, shmpipe_portable_copy))
    ))
))]
mod portable;

use std::ptr;

/// Bytes of the longest copy that is made without a call.
pub(crate) const INLINE: usize = 64;

/// Copies `len` bytes from private memory into the shared ring.
///
/// # Safety
///
/// * `dst` is valid mapped memory for writes of `len` bytes; other processes may access it.
/// * `src` is valid for reads of `len` bytes, and nothing writes them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_in(dst: *mut u8, src: *const u8, len: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: as below, and under this cfg nobody accesses `dst` against the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_in(dst, src, len) }
}

/// Asks the processor for the line of `place`, to write to it soon. Touches no memory: a bad address
/// is ignored.
#[inline(always)]
pub(crate) fn prepare(place: *const u8) {
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
/// [`prepare`].
#[inline(always)]
pub(crate) fn fetch(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as in `prepare`.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as in `prepare`.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(any(target_arch = "aarch64", target_arch = "x86_64"), not(miri))))]
    let _ = place;
}

/// Copies `len` bytes out of the shared ring into private memory.
///
/// # Safety
///
/// * `src` is valid mapped memory for reads of `len` bytes; other processes may access it.
/// * `dst` is valid for writes of `len` bytes, and nothing else accesses them during the call.
/// * The two do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_out(dst: *mut u8, src: *const u8, len: usize) {
    if cfg!(shmpipe_plain_copy) {
        // SAFETY: as below, and under this cfg nobody accesses `src` against the protocol.
        return unsafe { ptr::copy_nonoverlapping(src, dst, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { implementation::copy_out(dst, src, len) }
}

/// Whether [`take_over`] does anything here.
pub(crate) const TAKES_OVER: bool = cfg!(all(target_arch = "x86_64", not(miri)));

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
pub(crate) unsafe fn take_over(place: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        /// Bytes of a line.
        const LINE: usize = 64;
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

/// Copies by assembly, which treats either side as shared: both directions are the same function.
#[cfg(all(
    any(target_arch = "aarch64", target_arch = "x86_64"),
    not(any(miri, shmpipe_portable_copy))
))]
mod assembly {
    use std::arch::asm;

    pub(super) use {copy as copy_in, copy as copy_out};

    /// Copies `len` bytes.
    ///
    /// Up to 64 bytes go as two overlapping halves in pieces of at most 8 bytes. Wider loads would
    /// wait for fields the caller has just stored: a store is forwarded only to a load it covers.
    ///
    /// `inline(always)` here and around: left to itself the compiler turns this into a call, which
    /// costs short messages more than the copy does.
    ///
    /// # Safety
    ///
    /// Both sides are valid for `len` bytes and do not overlap.
    #[inline(always)]
    pub(super) unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY: the comparison before each call leaves room for the number in the callee's name.
        // The second call above 32 bytes covers 16..32 and `len - 32..len - 16`. The caller
        // vouches for both sides.
        unsafe {
            if len > super::INLINE {
                long(dst, src, len);
            } else if len > 32 {
                ends_16(dst, src, len);
                ends_16(dst.add(16), src.add(16), len - 32);
            } else if len > 16 {
                ends_16(dst, src, len);
            } else if len >= 8 {
                ends_8(dst, src, len);
            } else if len >= 4 {
                ends_4(dst, src, len);
            } else if len >= 2 {
                ends_2(dst, src, len);
            } else if len == 1 {
                ends_1(dst, src, len);
            }
        }
    }

    /// Defines `unsafe fn name(dst, src, len)`, which copies the first and the last so many bytes.
    macro_rules! ends {
        ($name:ident, x86_64: $x86_64:literal, aarch64: $aarch64:literal) => {
            /// # Safety
            ///
            /// On both sides, that many bytes from the start and that many before the end, which
            /// is `len` after the start, are valid. The sides do not overlap.
            #[inline(always)]
            unsafe fn $name(dst: *mut u8, src: *const u8, len: usize) {
                #[cfg(target_arch = "x86_64")]
                macro_rules! template { () => { $x86_64 }; }
                #[cfg(target_arch = "aarch64")]
                macro_rules! template { () => { $aarch64 }; }
                // SAFETY: the block touches just the bytes that the caller vouches for. Loads and
                // stores use no stack and leave the flags alone.
                unsafe {
                    asm!(
                        template!(),
                        s = in(reg) src,
                        d = in(reg) dst,
                        s_end = in(reg) src.add(len),
                        d_end = in(reg) dst.add(len),
                        t = out(reg) _,
                        u = out(reg) _,
                        options(nostack, preserves_flags),
                    );
                }
            }
        };
    }

    ends!(
        ends_16,
        x86_64: "mov {t}, [{s}]; mov {u}, [{s} + 8]; mov [{d}], {t}; mov [{d} + 8], {u}; \
                 mov {t}, [{s_end} - 16]; mov {u}, [{s_end} - 8]; \
                 mov [{d_end} - 16], {t}; mov [{d_end} - 8], {u}",
        aarch64: "ldp {t}, {u}, [{s}]; stp {t}, {u}, [{d}]; \
                  ldp {t}, {u}, [{s_end}, #-16]; stp {t}, {u}, [{d_end}, #-16]"
    );
    ends!(
        ends_8,
        x86_64: "mov {t}, [{s}]; mov {u}, [{s_end} - 8]; mov [{d}], {t}; mov [{d_end} - 8], {u}",
        aarch64: "ldr {t}, [{s}]; ldur {u}, [{s_end}, #-8]; \
                  str {t}, [{d}]; stur {u}, [{d_end}, #-8]"
    );
    ends!(
        ends_4,
        x86_64: "mov {t:e}, [{s}]; mov {u:e}, [{s_end} - 4]; \
                 mov [{d}], {t:e}; mov [{d_end} - 4], {u:e}",
        aarch64: "ldr {t:w}, [{s}]; ldur {u:w}, [{s_end}, #-4]; \
                  str {t:w}, [{d}]; stur {u:w}, [{d_end}, #-4]"
    );
    ends!(
        ends_2,
        x86_64: "movzx {t:e}, word ptr [{s}]; movzx {u:e}, word ptr [{s_end} - 2]; \
                 mov [{d}], {t:x}; mov [{d_end} - 2], {u:x}",
        aarch64: "ldrh {t:w}, [{s}]; ldurh {u:w}, [{s_end}, #-2]; \
                  strh {t:w}, [{d}]; sturh {u:w}, [{d_end}, #-2]"
    );
    ends!(
        ends_1,
        x86_64: "movzx {t:e}, byte ptr [{s}]; movzx {u:e}, byte ptr [{s_end} - 1]; \
                 mov [{d}], {t:l}; mov [{d_end} - 1], {u:l}",
        aarch64: "ldrb {t:w}, [{s}]; ldurb {u:w}, [{s_end}, #-1]; \
                  strb {t:w}, [{d}]; sturb {u:w}, [{d_end}, #-1]"
    );

    /// Copies more than 64 bytes by the widest vectors worth using.
    ///
    /// `is_x86_feature_detected` caches: after the first call it is a load and a test. AVX-512 is
    /// left out because it measured no faster.
    ///
    /// # Safety
    ///
    /// `len` exceeds 64. Both sides are valid for `len` bytes and do not overlap.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    unsafe fn long(dst: *mut u8, src: *const u8, len: usize) {
        if len >= 80 && std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: `len` and AVX2 were checked; the rest is the caller's word.
            unsafe { avx2(dst, src, len) }
        } else {
            // SAFETY: `len > 64`; the rest is the caller's word.
            unsafe { sse2(dst, src, len) }
        }
    }

    /// Defines a copy by vectors of `$width` bytes for lengths of at least `16 + 2 * $width`.
    ///
    /// The first and the last 8 bytes go as words, for the reason given at `copy`. Two vectors
    /// follow the first word and two precede the last; up to `16 + 4 * $width` bytes they meet.
    /// Otherwise four at a time, aligned at the destination, start within the leading two and stop
    /// once less than two vectors are missing before the trailing two; then those two are moved.
    #[cfg(target_arch = "x86_64")]
    macro_rules! vectors {
        ($(#[$doc:meta])* $name:ident, $width:literal, $register:literal, $move:literal,
         $aligned:literal, $finish:literal) => {
            $(#[$doc])*
            #[inline(never)]
            pub(super) unsafe fn $name(dst: *mut u8, src: *const u8, len: usize) {
                // SAFETY:
                // * Every address lies in `start..start + len` of its side, because `len` is at
                //   least `16 + 2 * $width`, and the loop runs only while its source is before r8,
                //   which is `4 * $width + 8` bytes before the end. The caller vouches for both.
                // * Aligned stores: rdi is a multiple of `$width` from the `and` on.
                // * `clobber_abi` declares rax, rcx, r8, r9 and all vector registers, including the
                //   upper halves that `vzeroupper` clears. The flags are not declared preserved.
                unsafe {
                    asm!(
                        "mov rax, [rsi]",
                        "mov rcx, [rsi + rdx - 8]",
                        concat!($move, " ", $register, "0, [rsi + 8]"),
                        concat!($move, " ", $register, "1, [rsi + 8 + {w}]"),
                        concat!($move, " ", $register, "2, [rsi + rdx - 8 - 2*{w}]"),
                        concat!($move, " ", $register, "3, [rsi + rdx - 8 - {w}]"),
                        "mov [rdi], rax",
                        "mov [rdi + rdx - 8], rcx",
                        concat!($move, " [rdi + 8], ", $register, "0"),
                        concat!($move, " [rdi + 8 + {w}], ", $register, "1"),
                        concat!($move, " [rdi + rdx - 8 - 2*{w}], ", $register, "2"),
                        concat!($move, " [rdi + rdx - 8 - {w}], ", $register, "3"),
                        "cmp rdx, 16 + 4*{w}",
                        "jbe 4f",
                        "lea r8, [rsi + rdx - 8 - 4*{w}]",
                        "lea r9, [rdi + rdx - 8 - 4*{w}]",
                        "sub rsi, rdi",
                        "add rdi, 8 + 2*{w}",
                        "and rdi, -{w}",
                        "add rsi, rdi",
                        "cmp rsi, r8",
                        "jae 3f",
                        ".p2align 5",
                        "2:",
                        concat!($move, " ", $register, "0, [rsi]"),
                        concat!($move, " ", $register, "1, [rsi + {w}]"),
                        concat!($move, " ", $register, "2, [rsi + 2*{w}]"),
                        concat!($move, " ", $register, "3, [rsi + 3*{w}]"),
                        "add rsi, 4*{w}",
                        concat!($aligned, " [rdi], ", $register, "0"),
                        concat!($aligned, " [rdi + {w}], ", $register, "1"),
                        concat!($aligned, " [rdi + 2*{w}], ", $register, "2"),
                        concat!($aligned, " [rdi + 3*{w}], ", $register, "3"),
                        "add rdi, 4*{w}",
                        "cmp rsi, r8",
                        "jb 2b",
                        "3:",
                        concat!($move, " ", $register, "0, [r8]"),
                        concat!($move, " ", $register, "1, [r8 + {w}]"),
                        concat!($move, " [r9], ", $register, "0"),
                        concat!($move, " [r9 + {w}], ", $register, "1"),
                        "4:",
                        $finish,
                        w = const $width,
                        inout("rdi") dst => _,
                        inout("rsi") src => _,
                        in("rdx") len,
                        clobber_abi("sysv64"),
                        options(nostack),
                    );
                }
            }
        };
    }

    #[cfg(target_arch = "x86_64")]
    vectors!(
        /// Copies at least 48 bytes by SSE2, which every x86-64 processor has.
        ///
        /// # Safety
        ///
        /// `len` is at least 48. Both sides are valid for `len` bytes and do not overlap.
        sse2, 16, "xmm", "movups", "movaps", ""
    );
    #[cfg(target_arch = "x86_64")]
    vectors!(
        /// Copies at least 80 bytes by AVX2.
        ///
        /// # Safety
        ///
        /// The processor has AVX2. `len` is at least 80. Both sides are valid for `len` bytes and
        /// do not overlap.
        avx2, 32, "ymm", "vmovdqu", "vmovdqa", "vzeroupper"
    );

    /// Copies more than 64 bytes: words at both ends, vectors of 16 bytes between.
    ///
    /// Two vectors follow the first word and two precede the last; up to 80 bytes they meet.
    /// Otherwise four at a time, aligned at the destination, start within the leading two and stop
    /// once less than two vectors are missing before the trailing two; then those two are moved.
    ///
    /// # Safety
    ///
    /// `len` exceeds 64. Both sides are valid for `len` bytes and do not overlap.
    #[cfg(target_arch = "aarch64")]
    #[inline(never)]
    unsafe fn long(dst: *mut u8, src: *const u8, len: usize) {
        // SAFETY:
        // * Every address lies in `start..start + len` of its side, because `len > 64`, and the
        //   loop runs only while its source is 72 bytes or more before the end. The caller vouches
        //   for both sides.
        // * All registers written are operands. The flags are not declared preserved.
        unsafe {
            asm!(
                "ldr {t}, [{s}], #8",
                "str {t}, [{d}], #8",
                "ldr {t}, [{s_end}, #-8]!",
                "str {t}, [{d_end}, #-8]!",
                "ldp q0, q1, [{s}]",
                "ldp q2, q3, [{s_end}, #-32]",
                "stp q0, q1, [{d}]",
                "stp q2, q3, [{d_end}, #-32]",
                "cmp {len}, #80",
                "b.ls 4f",
                "sub {s_end}, {s_end}, #64",
                "sub {d_end}, {d_end}, #64",
                "sub {s}, {s}, {d}",
                "add {d}, {d}, #32",
                "and {d}, {d}, #-16",
                "add {s}, {s}, {d}",
                "cmp {s}, {s_end}",
                "b.hs 3f",
                "2:",
                "ldp q0, q1, [{s}]",
                "ldp q2, q3, [{s}, #32]",
                "add {s}, {s}, #64",
                "stp q0, q1, [{d}]",
                "stp q2, q3, [{d}, #32]",
                "add {d}, {d}, #64",
                "cmp {s}, {s_end}",
                "b.lo 2b",
                "3:",
                "ldp q0, q1, [{s_end}]",
                "stp q0, q1, [{d_end}]",
                "4:",
                s = inout(reg) src => _,
                d = inout(reg) dst => _,
                s_end = inout(reg) src.wrapping_add(len) => _,
                d_end = inout(reg) dst.wrapping_add(len) => _,
                len = in(reg) len,
                t = out(reg) _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                options(nostack),
            );
        }
    }
}

#[cfg(test)]
mod tests;
