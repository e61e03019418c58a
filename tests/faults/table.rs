//! The system calls that fail, and the errors that the kernel documents for
//! each (section 2 of the manual).

use libc::*;

use crate::supervisor::Fault;

/// A system call, or two that do the same.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) numbers: &'static [c_long],
    pub(crate) errors: &'static [i32],
    /// Which of these calls are meant, by their arguments.
    pub(crate) counts: fn(&[u64; 6]) -> bool,
}

impl Call {
    pub(crate) fn is(&self, number: c_long, arguments: &[u64; 6]) -> bool {
        self.numbers.contains(&number) && (self.counts)(arguments)
    }
}

/// Whether a call of futex(2) is one of a ring's, as those of the standard
/// library are not: a thread that it does not wake is not this crate's.
fn is_shared(arguments: &[u64; 6]) -> bool {
    arguments[1] as i32 & FUTEX_PRIVATE_FLAG == 0
}

const fn call(name: &'static str, numbers: &'static [c_long], errors: &'static [i32]) -> Call {
    Call {
        name,
        numbers,
        errors,
        counts: |_| true,
    }
}

pub(crate) static CALLS: [Call; 20] = [
    call(
        "shmget",
        &[SYS_shmget],
        &[
            EACCES, EEXIST, EINVAL, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM,
        ],
    ),
    call("shmat", &[SYS_shmat], &[EACCES, EIDRM, EINVAL, ENOMEM]),
    call("shmdt", &[SYS_shmdt], &[EINVAL]),
    // By what is asked: the three have different errors, and are few.
    Call {
        counts: |arguments| arguments[1] as i32 == IPC_RMID,
        ..call(
            "shmctl-rmid",
            &[SYS_shmctl],
            &[EIDRM, EINVAL, EPERM, EFAULT],
        )
    },
    Call {
        counts: |arguments| arguments[1] as i32 != IPC_RMID,
        ..call(
            "shmctl-stat",
            &[SYS_shmctl],
            &[EACCES, EFAULT, EIDRM, EINVAL, ENOMEM, EOVERFLOW, EPERM],
        )
    },
    Call {
        counts: |arguments| is_shared(arguments) && arguments[1] as i32 != FUTEX_WAKE,
        ..call(
            "futex-wait",
            &[SYS_futex],
            &[EAGAIN, EINTR, EINVAL, ENOSYS, ETIMEDOUT, EFAULT, EPERM],
        )
    },
    Call {
        counts: |arguments| is_shared(arguments) && arguments[1] as i32 == FUTEX_WAKE,
        ..call("futex-wake", &[SYS_futex], &[EINVAL, ENOSYS, EFAULT, EPERM])
    },
    call(
        "futex_waitv",
        &[SYS_futex_waitv],
        &[
            EAGAIN, EINTR, EINVAL, ENOSYS, ETIMEDOUT, EFAULT, EPERM, ENOMEM,
        ],
    ),
    call(
        "pidfd_open",
        &[SYS_pidfd_open],
        &[EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, EPERM, ESRCH],
    ),
    call("poll", POLL, &[EFAULT, EINTR, EINVAL, ENOMEM]),
    call("membarrier", &[SYS_membarrier], &[EINVAL, ENOSYS, EPERM]),
    call(
        "mmap",
        &[SYS_mmap],
        &[EAGAIN, EEXIST, EINVAL, ENODEV, ENOMEM, EPERM],
    ),
    call("munmap", &[SYS_munmap], &[EINVAL, ENOMEM]),
    call(
        "madvise",
        &[SYS_madvise],
        &[EAGAIN, EINVAL, EINTR, EIO, ENOMEM, EPERM, EFAULT],
    ),
    call(
        "openat",
        &[SYS_openat],
        &[
            EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ELOOP, ENXIO, EPERM, EROFS,
        ],
    ),
    Call {
        // Asked by std's checks of a debug build, which end the process.
        counts: |arguments| arguments[1] as i32 != F_GETFD,
        ..call(
            "fcntl",
            &[SYS_fcntl],
            &[
                EACCES, EAGAIN, EBADF, EINVAL, EMFILE, ENOLCK, EPERM, EOVERFLOW,
            ],
        )
    },
    call(
        "flock",
        &[SYS_flock],
        &[
            EBADF,
            EINTR,
            EINVAL,
            ENOLCK,
            ENOSYS,
            EOPNOTSUPP,
            EWOULDBLOCK, // EAGAIN
        ],
    ),
    call(
        "read",
        &[SYS_read],
        &[EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EIO, EISDIR],
    ),
    call(
        "write",
        &[SYS_write],
        &[
            EAGAIN, EBADF, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPERM, EPIPE,
        ],
    ),
    call(
        "readv-writev",
        &[SYS_readv, SYS_writev],
        &[
            EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EIO, EISDIR, ENOSPC, EPIPE,
        ],
    ),
];

#[cfg(target_arch = "x86_64")]
const POLL: &[c_long] = &[SYS_poll, SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[c_long] = &[SYS_ppoll];

/// Errors that come again and again only from a kernel that is broken, or that
/// denies what it has itself.
pub(crate) const PASSING: [i32; 6] = [EINTR, EAGAIN, EEXIST, ETIMEDOUT, ESRCH, EIDRM];

/// Whether a fault says that a segment is not there, or is not this process's
/// to use: what is believed, and may be.
pub(crate) fn denies(fault: Fault) -> bool {
    CALLS[fault.call].name.starts_with("shm")
        && [EIDRM, EINVAL, ENOENT, EACCES, EPERM].contains(&fault.errno)
}

/// The name of an error, as `strace` and the manual have it.
pub(crate) fn name_of(errno: i32) -> &'static str {
    const NAMES: [(i32, &str); 29] = [
        (EACCES, "EACCES"),
        (EAGAIN, "EAGAIN"),
        (EBADF, "EBADF"),
        (EDQUOT, "EDQUOT"),
        (EEXIST, "EEXIST"),
        (EFAULT, "EFAULT"),
        (EFBIG, "EFBIG"),
        (EIDRM, "EIDRM"),
        (EINTR, "EINTR"),
        (EINVAL, "EINVAL"),
        (EIO, "EIO"),
        (EISDIR, "EISDIR"),
        (ELOOP, "ELOOP"),
        (EMFILE, "EMFILE"),
        (ENFILE, "ENFILE"),
        (ENODEV, "ENODEV"),
        (ENOENT, "ENOENT"),
        (ENOLCK, "ENOLCK"),
        (ENOMEM, "ENOMEM"),
        (ENOSPC, "ENOSPC"),
        (ENOSYS, "ENOSYS"),
        (ENXIO, "ENXIO"),
        (EOPNOTSUPP, "EOPNOTSUPP"),
        (EOVERFLOW, "EOVERFLOW"),
        (EPERM, "EPERM"),
        (EPIPE, "EPIPE"),
        (EROFS, "EROFS"),
        (ESRCH, "ESRCH"),
        (ETIMEDOUT, "ETIMEDOUT"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == errno);
    known.expect("every error of the table has a name").1
}
