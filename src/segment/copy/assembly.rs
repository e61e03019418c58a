//! Copies by assembly, which treats either side as shared.
//!
//! This file has more than 450 lines because all of it is one table. Each length, direction and
//! instruction set has a block, beside its proof.

use std::arch::asm;

use super::SHORT;

/// Copies `len` bytes into the ring. The caller may just have stored the source field by field.
///
/// Up to 64 bytes go as two overlapping halves, in pieces of at most 8 bytes. A wider load would
/// stall on such fields: the processor forwards a store only to a load that the store covers.
///
/// `inline(always)` here and below: without it the compiler makes a call, which costs a short
/// message more than the copy does.
///
/// # Safety
///
/// Both sides are valid for `len` bytes and do not overlap.
#[inline(always)]
pub(super) unsafe fn copy_in(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    // SAFETY: the number in a callee's name is the bytes that it copies at either end, and `len`
    // was compared to be at least that. The caller vouches for both sides.
    unsafe {
        if len > SHORT {
            return long_in(dst, src, len, ahead);
        }
        if len <= 16 {
            few(dst, src, len);
        } else if len <= 32 {
            ends_16(dst, src, len);
        } else {
            ends_32(dst, src, len);
        }
    }
}

/// Copies `len` bytes out of the ring. The caller may load the copy at once, field by field.
///
/// Uses the widest vectors. A field that is loaded next then lies within one store, which the
/// processor forwards to the load. The processor cannot forward several small stores to a wide
/// load.
///
/// # Safety
///
/// As for [`copy_in`].
#[inline(always)]
pub(super) unsafe fn copy_out(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    // SAFETY: as for `copy_in`.
    unsafe {
        if len > SHORT {
            return long_out(dst, src, len, ahead);
        }
        if len <= 16 {
            few(dst, src, len);
        } else if len <= 32 {
            vector_ends_16(dst, src, len);
        } else {
            vector_ends_32(dst, src, len);
        }
    }
}

/// Copies at most 16 bytes.
///
/// # Safety
///
/// As for [`copy_in`].
#[inline(always)]
unsafe fn few(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as for `copy_in`.
    unsafe {
        if len == 8 {
            word(dst, src);
        } else if len > 8 {
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

/// Copies 8 bytes.
///
/// # Safety
///
/// As for [`copy_in`].
#[inline(always)]
unsafe fn word(dst: *mut u8, src: *const u8) {
    #[cfg(target_arch = "x86_64")]
    macro_rules! template {
        () => {
            "mov {t}, [{s}]; mov [{d}], {t}"
        };
    }
    #[cfg(target_arch = "aarch64")]
    macro_rules! template {
        () => {
            "ldr {t}, [{s}]; str {t}, [{d}]"
        };
    }
    // SAFETY: the block touches just the bytes that the caller vouches for. It uses no stack and
    // leaves the flags alone.
    unsafe {
        asm!(
            template!(),
            s = in(reg) src,
            d = in(reg) dst,
            t = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Defines `unsafe fn name(dst, src, len)`, which copies the first and the last bytes; the number
/// in its name says how many. Each instruction set has its temporary registers: one where one is
/// enough, since the caller then needs to save fewer.
macro_rules! ends {
    ($name:ident, x86_64: $x86_64:tt $x86_64_template:literal, aarch64: $aarch64:tt $aarch64_template:literal) => {
        #[cfg(target_arch = "x86_64")]
        ends!($name, $x86_64 $x86_64_template);
        #[cfg(target_arch = "aarch64")]
        ends!($name, $aarch64 $aarch64_template);
    };
    ($name:ident, ($($t:ident: $class:ident),+) $template:literal) => {
        /// # Safety
        ///
        /// Let `n` be the number in the name. On both sides, the first `n` and the last `n` of
        /// the `len` bytes are valid. The sides do not overlap.
        #[inline(always)]
        unsafe fn $name(dst: *mut u8, src: *const u8, len: usize) {
            // SAFETY: the block touches just the bytes that the caller vouches for. Loads and
            // stores use no stack and leave the flags alone.
            unsafe {
                asm!(
                    $template,
                    s = in(reg) src,
                    d = in(reg) dst,
                    s_end = in(reg) src.add(len),
                    d_end = in(reg) dst.add(len),
                    $($t = out($class) _,)+
                    options(nostack, preserves_flags),
                );
            }
        }
    };
}

ends!(
    vector_ends_32,
    x86_64: (t: xmm_reg, u: xmm_reg)
        "movups {t}, [{s}]; movups {u}, [{s} + 16]; movups [{d}], {t}; movups [{d} + 16], {u}; \
         movups {t}, [{s_end} - 32]; movups {u}, [{s_end} - 16]; \
         movups [{d_end} - 32], {t}; movups [{d_end} - 16], {u}",
    aarch64: (t: vreg, u: vreg)
        "ldp {t:q}, {u:q}, [{s}]; stp {t:q}, {u:q}, [{d}]; \
         ldp {t:q}, {u:q}, [{s_end}, #-32]; stp {t:q}, {u:q}, [{d_end}, #-32]"
);
ends!(
    vector_ends_16,
    x86_64: (t: xmm_reg, u: xmm_reg)
        "movups {t}, [{s}]; movups {u}, [{s_end} - 16]; \
         movups [{d}], {t}; movups [{d_end} - 16], {u}",
    aarch64: (t: vreg, u: vreg)
        "ldr {t:q}, [{s}]; ldur {u:q}, [{s_end}, #-16]; \
         str {t:q}, [{d}]; stur {u:q}, [{d_end}, #-16]"
);
ends!(
    ends_32,
    x86_64: (t: reg)
        "mov {t}, [{s}]; mov [{d}], {t}; mov {t}, [{s} + 8]; mov [{d} + 8], {t}; \
         mov {t}, [{s} + 16]; mov [{d} + 16], {t}; mov {t}, [{s} + 24]; mov [{d} + 24], {t}; \
         mov {t}, [{s_end} - 32]; mov [{d_end} - 32], {t}; \
         mov {t}, [{s_end} - 24]; mov [{d_end} - 24], {t}; \
         mov {t}, [{s_end} - 16]; mov [{d_end} - 16], {t}; \
         mov {t}, [{s_end} - 8]; mov [{d_end} - 8], {t}",
    aarch64: (t: reg, u: reg)
        "ldp {t}, {u}, [{s}]; stp {t}, {u}, [{d}]; \
         ldp {t}, {u}, [{s}, #16]; stp {t}, {u}, [{d}, #16]; \
         ldp {t}, {u}, [{s_end}, #-32]; stp {t}, {u}, [{d_end}, #-32]; \
         ldp {t}, {u}, [{s_end}, #-16]; stp {t}, {u}, [{d_end}, #-16]"
);
ends!(
    ends_16,
    x86_64: (t: reg)
        "mov {t}, [{s}]; mov [{d}], {t}; mov {t}, [{s} + 8]; mov [{d} + 8], {t}; \
         mov {t}, [{s_end} - 16]; mov [{d_end} - 16], {t}; \
         mov {t}, [{s_end} - 8]; mov [{d_end} - 8], {t}",
    aarch64: (t: reg, u: reg)
        "ldp {t}, {u}, [{s}]; stp {t}, {u}, [{d}]; \
         ldp {t}, {u}, [{s_end}, #-16]; stp {t}, {u}, [{d_end}, #-16]"
);
ends!(
    ends_8,
    x86_64: (t: reg)
        "mov {t}, [{s}]; mov [{d}], {t}; mov {t}, [{s_end} - 8]; mov [{d_end} - 8], {t}",
    aarch64: (t: reg, u: reg)
        "ldr {t}, [{s}]; ldur {u}, [{s_end}, #-8]; str {t}, [{d}]; stur {u}, [{d_end}, #-8]"
);
ends!(
    ends_4,
    x86_64: (t: reg)
        "mov {t:e}, [{s}]; mov [{d}], {t:e}; mov {t:e}, [{s_end} - 4]; mov [{d_end} - 4], {t:e}",
    aarch64: (t: reg, u: reg)
        "ldr {t:w}, [{s}]; ldur {u:w}, [{s_end}, #-4]; \
         str {t:w}, [{d}]; stur {u:w}, [{d_end}, #-4]"
);
ends!(
    ends_2,
    x86_64: (t: reg)
        "movzx {t:e}, word ptr [{s}]; mov [{d}], {t:x}; \
         movzx {t:e}, word ptr [{s_end} - 2]; mov [{d_end} - 2], {t:x}",
    aarch64: (t: reg, u: reg)
        "ldrh {t:w}, [{s}]; ldurh {u:w}, [{s_end}, #-2]; \
         strh {t:w}, [{d}]; sturh {u:w}, [{d_end}, #-2]"
);
ends!(
    ends_1,
    x86_64: (t: reg_byte)
        "mov {t}, [{s}]; mov [{d}], {t}; mov {t}, [{s_end} - 1]; mov [{d_end} - 1], {t}",
    aarch64: (t: reg, u: reg)
        "ldrb {t:w}, [{s}]; ldurb {u:w}, [{s_end}, #-1]; \
         strb {t:w}, [{d}]; sturb {u:w}, [{d_end}, #-1]"
);

/// Copies more than 64 bytes into the ring, by the widest vectors worth using.
///
/// `is_x86_feature_detected` caches: after the first call it is a load and a test. AVX-512 needs
/// fewer instructions for few bytes. For more bytes it measured no faster, and is not used.
/// Processors with VBMI2 do not slow down for AVX-512.
///
/// # Safety
///
/// `len` exceeds 64. Both sides are valid for `len` bytes and do not overlap.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn long_in(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    let is_wide = (WIDE + 16..=2 * WIDE + 16).contains(&len);
    if is_wide && ahead == 0 && std::arch::is_x86_feature_detected!("avx512vbmi2") {
        // SAFETY: `len` and AVX-512 were checked; the caller vouches for the rest.
        unsafe { avx512_in(dst, src, len) }
    } else if len >= 80 && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: `len` and AVX2 were checked; the caller vouches for the rest.
        unsafe { avx2_in(dst, src, len, ahead) }
    } else {
        // SAFETY: `len > 64`; the caller vouches for the rest.
        unsafe { sse2_in(dst, src, len, ahead) }
    }
}

/// Copies more than 64 bytes out of the ring, by the widest vectors worth using; see [`long_in`].
///
/// # Safety
///
/// As for [`long_in`].
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn long_out(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
    let is_wide = (WIDE..=2 * WIDE).contains(&len);
    if is_wide && ahead == 0 && std::arch::is_x86_feature_detected!("avx512vbmi2") {
        // SAFETY: `len` and AVX-512 were checked; the caller vouches for the rest.
        unsafe { avx512_out(dst, src, len) }
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: `len > 64`, and AVX2 was checked; the caller vouches for the rest.
        unsafe { avx2_out(dst, src, len, ahead) }
    } else {
        // SAFETY: `len > 64`; the caller vouches for the rest.
        unsafe { sse2_out(dst, src, len, ahead) }
    }
}

/// Bytes of two AVX-512 vectors.
#[cfg(target_arch = "x86_64")]
const WIDE: usize = 128;

/// Defines `unsafe fn name(dst, src, len)`, which copies the first two and the last two AVX-512
/// vectors between `$lead` bytes at either end. The instructions `$word` copy those bytes.
#[cfg(target_arch = "x86_64")]
macro_rules! wide {
    ($(#[$doc:meta])* $name:ident, $lead:literal, $($word:literal)*) => {
        $(#[$doc])*
        #[inline]
        unsafe fn $name(dst: *mut u8, src: *const u8, len: usize) {
            // SAFETY:
            // * Every address lies in `start..start + len` of its side, because `len` is at least
            //   `WIDE + 2 * $lead`. The caller vouches for both.
            // * All registers written are operands; `vzeroupper` clears the upper halves of the
            //   first sixteen vectors. The block uses no stack and leaves the flags alone.
            unsafe {
                asm!(
                    $($word,)*
                    "vmovdqu64 zmm0, [{s} + {l}]",
                    "vmovdqu64 zmm1, [{s} + {l} + 64]",
                    "vmovdqu64 zmm2, [{s} + {n} - {l} - 128]",
                    "vmovdqu64 zmm3, [{s} + {n} - {l} - 64]",
                    "vmovdqu64 [{d} + {l}], zmm0",
                    "vmovdqu64 [{d} + {l} + 64], zmm1",
                    "vmovdqu64 [{d} + {n} - {l} - 128], zmm2",
                    "vmovdqu64 [{d} + {n} - {l} - 64], zmm3",
                    "vzeroupper",
                    l = const $lead,
                    s = in(reg) src,
                    d = in(reg) dst,
                    n = in(reg) len,
                    out("rax") _, out("rcx") _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nostack, preserves_flags),
                );
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
wide!(
    /// Copies 144 to 272 bytes into the ring by AVX-512. The first and the last 8 bytes go as
    /// words, for the reason given at [`copy_in`].
    ///
    /// # Safety
    ///
    /// The processor has AVX-512. `len` is 144 to 272. Both sides are valid for `len` bytes and do
    /// not overlap.
    avx512_in, 8,
    "mov rax, [{s}]" "mov rcx, [{s} + {n} - 8]" "mov [{d}], rax" "mov [{d} + {n} - 8], rcx"
);
#[cfg(target_arch = "x86_64")]
wide!(
    /// Copies 128 to 256 bytes out of the ring by AVX-512.
    ///
    /// # Safety
    ///
    /// The processor has AVX-512. `len` is 128 to 256. Both sides are valid for `len` bytes and do
    /// not overlap.
    avx512_out, 0,
);

/// Defines a copy by vectors of `$width` bytes, for lengths of at least `2 * ($lead + $width)`.
///
/// * With a `$lead` of 8, the first and the last 8 bytes go as words, for the reason given at
///   `copy_in`.
/// * The leading two vectors follow, and the trailing two vectors. Up to `2 * $lead + 4 * $width`
///   bytes these overlap, and the copy is complete.
/// * Longer copies go on with four vectors at a time, aligned at the destination, starting within
///   the leading two. The loop stops once at most two vectors are missing before the trailing two.
///   Those two are copied last.
///
/// `$hint` prefetches the line `ahead` bytes after each line of the shared side. `$here` is the
/// register that runs through the shared side, `$end` the register before its last vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! vectors {
    ($(#[$doc:meta])* $name:ident, $width:literal, $register:literal, $move:literal,
     $aligned:literal, $finish:literal, $lead:literal, $($word:literal)*,
     $hint:literal, $here:literal, $end:literal) => {
        $(#[$doc])*
        #[inline(never)]
        pub(super) unsafe fn $name(dst: *mut u8, src: *const u8, len: usize, ahead: usize) {
            // SAFETY:
            // * Every address lies in `start..start + len` of its side. `len` is at least
            //   `2 * ($lead + $width)`. The loop runs only while its source is before r8, which
            //   is `4 * $width + $lead` bytes before the end. The caller vouches for both sides.
            //   A prefetch may have any address.
            // * Aligned stores: rdi is a multiple of `$width` from the `and` on.
            // * `clobber_abi` declares rax, rcx, r8, r9 and all vector registers, including the
            //   upper halves that `vzeroupper` clears. The flags are not declared preserved.
            unsafe {
                asm!(
                    $($word,)*
                    concat!($move, " ", $register, "0, [rsi + {l}]"),
                    concat!($move, " ", $register, "1, [rsi + {l} + {w}]"),
                    concat!($move, " ", $register, "2, [rsi + rdx - {l} - 2*{w}]"),
                    concat!($move, " ", $register, "3, [rsi + rdx - {l} - {w}]"),
                    concat!($move, " [rdi + {l}], ", $register, "0"),
                    concat!($move, " [rdi + {l} + {w}], ", $register, "1"),
                    concat!($move, " [rdi + rdx - {l} - 2*{w}], ", $register, "2"),
                    concat!($move, " [rdi + rdx - {l} - {w}], ", $register, "3"),
                    concat!($hint, " [", $here, " + r10]"),
                    concat!($hint, " [", $here, " + r10 + 64]"),
                    "cmp rdx, 2*{l} + 4*{w}",
                    "jbe 4f",
                    "lea r8, [rsi + rdx - {l} - 4*{w}]",
                    "lea r9, [rdi + rdx - {l} - 4*{w}]",
                    "sub rsi, rdi",
                    "add rdi, {l} + 2*{w}",
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
                    concat!($hint, " [", $here, " + r10]"),
                    concat!($hint, " [", $here, " + r10 + 2*{w}]"),
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
                    concat!($hint, " [", $end, " + r10 + 2*{w}]"),
                    concat!($hint, " [", $end, " + r10 + 4*{w} - 1]"),
                    "4:",
                    $finish,
                    w = const $width,
                    l = const $lead,
                    inout("rdi") dst => _,
                    inout("rsi") src => _,
                    in("rdx") len,
                    in("r10") ahead,
                    clobber_abi("sysv64"),
                    options(nostack),
                );
            }
        }
    };
    (in $(#[$doc:meta])* $name:ident, $width:literal, $register:literal, $move:literal,
     $aligned:literal, $finish:literal) => {
        vectors!(
            $(#[$doc])* $name, $width, $register, $move, $aligned, $finish, 8,
            "mov rax, [rsi]" "mov rcx, [rsi + rdx - 8]" "mov [rdi], rax" "mov [rdi + rdx - 8], rcx",
            "prefetchw", "rdi", "r9"
        );
    };
    (out $(#[$doc:meta])* $name:ident, $width:literal, $register:literal, $move:literal,
     $aligned:literal, $finish:literal) => {
        vectors!(
            $(#[$doc])* $name, $width, $register, $move, $aligned, $finish, 0, ,
            "prefetcht1", "rsi", "r8"
        );
    };
}

#[cfg(target_arch = "x86_64")]
vectors!(in
    /// Copies at least 48 bytes into the ring by SSE2, which every x86-64 processor has.
    ///
    /// # Safety
    ///
    /// `len` is at least 48. Both sides are valid for `len` bytes and do not overlap.
    sse2_in, 16, "xmm", "movups", "movaps", ""
);
#[cfg(target_arch = "x86_64")]
vectors!(out
    /// Copies at least 32 bytes out of the ring by SSE2.
    ///
    /// # Safety
    ///
    /// `len` is at least 32. Both sides are valid for `len` bytes and do not overlap.
    sse2_out, 16, "xmm", "movups", "movaps", ""
);
#[cfg(target_arch = "x86_64")]
vectors!(in
    /// Copies at least 80 bytes into the ring by AVX2.
    ///
    /// # Safety
    ///
    /// The processor has AVX2. `len` is at least 80. Both sides are valid for `len` bytes and
    /// do not overlap.
    avx2_in, 32, "ymm", "vmovdqu", "vmovdqa", "vzeroupper"
);
#[cfg(target_arch = "x86_64")]
vectors!(out
    /// Copies at least 64 bytes out of the ring by AVX2.
    ///
    /// # Safety
    ///
    /// The processor has AVX2. `len` is at least 64. Both sides are valid for `len` bytes and
    /// do not overlap.
    avx2_out, 32, "ymm", "vmovdqu", "vmovdqa", "vzeroupper"
);

/// Copies `len` bytes out of the ring, from the last to the first if there are many.
///
/// # Safety
///
/// As for [`copy_in`].
#[inline]
pub(super) unsafe fn copy_out_back(dst: *mut u8, src: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len >= 128 && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: `len` and AVX2 were checked; the caller vouches for the rest.
        return unsafe { avx2_out_back(dst, src, len) };
    }
    // SAFETY: the caller has the same duties.
    unsafe { copy_out(dst, src, len, 0) }
}

/// Copies at least 128 bytes out of the ring by AVX2, from the last bytes to the first.
///
/// Copies four vectors at a time, aligned at the destination, until fewer than four are missing.
/// Then copies the first four vectors, and the bytes that the first step left over at the end.
///
/// The four vectors are loaded by ascending address. Strictly descending lines would make the
/// processor fetch more of them ahead, and a round trip would take a third longer.
///
/// # Safety
///
/// The processor has AVX2. `len` is at least 128. Both sides are valid for `len` bytes and do not
/// overlap.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
pub(super) unsafe fn avx2_out_back(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY:
    // * Every address lies in `start..start + len` of its side. rdx is the end of the destination.
    //   r9, where the next vectors end, is at most rdx, and in the loop at least 128 after the
    //   start. rsi is the distance from a destination address to its source address. `len` is at
    //   least 128. The caller vouches for both sides.
    // * Aligned stores: r9 is a multiple of 32 from the `and` on.
    // * rsi and rdx are operands; `clobber_abi` declares r8, r9 and all vector registers, including
    //   the upper halves that `vzeroupper` clears. The flags are not declared preserved.
    unsafe {
        asm!(
            "add rdx, rdi",
            "lea r8, [rdi + 128]",
            "sub rsi, rdi",
            "mov r9, rdx",
            "and r9, -32",
            "cmp r9, r8",
            "jb 3f",
            ".p2align 5",
            "2:",
            "vmovdqu ymm0, [r9 + rsi - 128]",
            "vmovdqu ymm1, [r9 + rsi - 96]",
            "vmovdqu ymm2, [r9 + rsi - 64]",
            "vmovdqu ymm3, [r9 + rsi - 32]",
            "vmovdqa [r9 - 32], ymm3",
            "vmovdqa [r9 - 64], ymm2",
            "vmovdqa [r9 - 96], ymm1",
            "vmovdqa [r9 - 128], ymm0",
            "add r9, -128",
            "cmp r9, r8",
            "jae 2b",
            "3:",
            "vmovdqu ymm0, [rdi + rsi]",
            "vmovdqu ymm1, [rdi + rsi + 32]",
            "vmovdqu ymm2, [rdi + rsi + 64]",
            "vmovdqu ymm3, [rdi + rsi + 96]",
            "vmovdqu ymm4, [rdx + rsi - 32]",
            "vmovdqu [rdi + 96], ymm3",
            "vmovdqu [rdi + 64], ymm2",
            "vmovdqu [rdi + 32], ymm1",
            "vmovdqu [rdi], ymm0",
            "vmovdqu [rdx - 32], ymm4",
            "vzeroupper",
            in("rdi") dst,
            inout("rsi") src => _,
            inout("rdx") len => _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

/// Copies more than 64 bytes: words at both ends, vectors of 16 bytes between. Makes no prefetch.
///
/// * The leading two vectors follow the first word, and the trailing two precede the last word. Up
///   to 80 bytes these overlap, and the copy is complete.
/// * Longer copies go on with four vectors at a time, aligned at the destination, starting within
///   the leading two. The loop stops once at most two vectors are missing before the trailing two.
///   Those two are copied last.
///
/// # Safety
///
/// `len` exceeds 64. Both sides are valid for `len` bytes and do not overlap.
#[cfg(target_arch = "aarch64")]
#[inline(never)]
unsafe fn long_in(dst: *mut u8, src: *const u8, len: usize, _: usize) {
    // SAFETY:
    // * Every address lies in `start..start + len` of its side, because `len > 64`. The loop
    //   runs only while its source is more than 72 bytes before the end. The caller vouches
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

#[cfg(target_arch = "aarch64")]
use long_in as long_out;
