//! System-call filters (seccomp(2)), for a process that a test has to itself.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // prctl(2)

use libc::sock_filter;

/// Offset in `struct seccomp_data` of the call's number.
pub(crate) const CALL: u32 = 0;

/// Offset there of the low half of an argument.
pub(crate) const fn low_half(argument: u32) -> u32 {
    16 + 8 * argument + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// Loads the word at `offset`.
pub(crate) const fn load(offset: u32) -> sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips `otherwise` instructions unless the loaded word is `word`.
pub(crate) const fn unless_equal(word: u32, otherwise: u8) -> sock_filter {
    op(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        0,
        otherwise,
        word,
    )
}

/// Skips `then` instructions if the loaded word has one of `bits`, else
/// `otherwise`.
pub(crate) const fn if_any(bits: u32, then: u8, otherwise: u8) -> sock_filter {
    op(
        libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
        then,
        otherwise,
        bits,
    )
}

/// Ends with `what`, a `SECCOMP_RET_*`.
pub(crate) const fn give(what: u32) -> sock_filter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, what)
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // No loss: the codes have one byte.
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

/// From here on this thread's system calls, and its children's, go through
/// `program`. `false` where the kernel has no filters.
pub(crate) fn install(program: &mut [sock_filter]) -> bool {
    let filter = libc::sock_fprog {
        len: program.len() as u16, // a few
        filter: program.as_mut_ptr(),
    };
    // SAFETY: integers, of the width that the kernel reads.
    let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    let mode = u64::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the filter and its program live until the kernel has copied them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
    alone == 0 && set == 0
}

/// From here on `shmat` with `SHM_REMAP` fails in this thread with `errno`,
/// unless the address has a bit of `spared`. `false` as from [`install`].
pub(crate) fn fail_remaps(spared: u32, errno: i32) -> bool {
    install(&mut [
        load(CALL),
        unless_equal(libc::SYS_shmat as u32, 5),
        load(low_half(2)),
        if_any(libc::SHM_REMAP as u32, 0, 3),
        load(low_half(1)),
        if_any(spared, 1, 0),
        give(libc::SECCOMP_RET_ERRNO | errno as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ])
}

/// From here on a system call fails with `errno` in this thread and its children.
#[track_caller]
pub(crate) fn fail(number: libc::c_long, errno: i32) {
    assert!(install(&mut [
        load(CALL),
        unless_equal(number as u32, 1),
        give(libc::SECCOMP_RET_ERRNO | errno as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ]));
}

/// From here on a system call fails with ENOSYS in this thread and its children, as on a kernel
/// that lacks it.
#[track_caller]
pub(crate) fn lack(number: libc::c_long) {
    fail(number, libc::ENOSYS);
    // SAFETY: no pointers: it fails before it looks at any.
    let lacking = unsafe { libc::syscall(number, 0, 0, 0, 0, 0) };
    assert_eq!(lacking, -1);
    let error = std::io::Error::last_os_error();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
}
