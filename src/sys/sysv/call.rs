//! The raw calls: `shmget`, `shmat`, `shmdt` and `shmctl` with typed arguments, and the kernel's
//! structures.
#![allow(unsafe_code)] // calls C

use std::mem;
use std::ptr::{self, NonNull};

use libc::{c_int, c_ulong, c_void, shmid_ds};

use super::error::Failure;
use super::{Key, Mode, SegmentId, Stat};

// Constants of include/uapi/linux/shm.h that the libc crate lacks.
pub(super) const SHM_STAT: c_int = 13;
pub(super) const SHM_INFO: c_int = 14;
pub(super) const SHM_STAT_ANY: c_int = 15;
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// `struct shminfo` of include/uapi/linux/shm.h, filled in by `IPC_INFO`.
#[repr(C)]
pub(super) struct ShmLimits {
    pub(super) shmmax: c_ulong,
    shmmin: c_ulong,
    pub(super) shmmni: c_ulong,
    shmseg: c_ulong,
    pub(super) shmall: c_ulong,
    unused: [c_ulong; 4],
}

/// `struct shm_info` of include/uapi/linux/shm.h, filled in by `SHM_INFO`.
#[repr(C)]
pub(super) struct ShmUsage {
    pub(super) used_ids: c_int,
    pub(super) shm_tot: c_ulong,
    shm_rss: c_ulong,
    shm_swp: c_ulong,
    swap_attempts: c_ulong,
    swap_successes: c_ulong,
}

// `describe` reads the key as the first four bytes of `ipc_perm`, since the C libraries name the
// field differently. This holds if the next field follows directly.
const _: () = assert!(mem::offset_of!(libc::ipc_perm, uid) == size_of::<libc::key_t>());

pub(super) fn empty_ds() -> shmid_ds {
    // SAFETY: all fields are integers, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// Translates the kernel's description into ours. The widths of the kernel's fields differ by
/// architecture.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
pub(super) fn describe(id: SegmentId, ds: &shmid_ds) -> Stat {
    let perm = &ds.shm_perm;
    let mode = u32::from(perm.mode);
    // SAFETY: by the const assertion above, the first four bytes of ipc_perm are the key. The
    // pointer comes from a reference, so it is aligned and readable.
    let key_raw = unsafe { ptr::from_ref(perm).cast::<i32>().read() };
    Stat {
        id,
        key_raw,
        size: ds.shm_segsz as usize,
        mode: Mode::truncate(mode),
        uid: perm.uid,
        gid: perm.gid,
        creator_uid: perm.cuid,
        creator_gid: perm.cgid,
        attached: widen(ds.shm_nattch as c_ulong),
        attach_time: ds.shm_atime as i64,
        detach_time: ds.shm_dtime as i64,
        change_time: ds.shm_ctime as i64,
        creator_pid: ds.shm_cpid,
        last_pid: ds.shm_lpid,
        marked_for_removal: mode & SHM_DEST != 0,
        locked: mode & SHM_LOCKED != 0,
    }
}

#[allow(clippy::useless_conversion)]
pub(super) fn widen(value: c_ulong) -> u64 {
    u64::from(value)
}

pub(super) fn shmget(key: Option<Key>, size: usize, flags: c_int) -> Result<SegmentId, Failure> {
    let key = key.map_or(libc::IPC_PRIVATE, Key::raw);
    // SAFETY: three integers; the call touches no memory of this process.
    let raw = unsafe { libc::shmget(key, size, flags) };
    // The kernel returns -1 or an id, which is never negative.
    SegmentId::from_raw(raw).map_err(|_| Failure::last())
}

/// # Safety
///
/// - With `SHM_REMAP`, the caller may replace the range that begins at `address`, and nothing uses
///   the range. The range has the length of the segment, rounded up to whole pages.
///
/// Without `SHM_REMAP` the kernel refuses an address where something is mapped.
pub(super) unsafe fn shmat(
    id: SegmentId,
    address: *mut u8,
    flags: c_int,
) -> Result<NonNull<u8>, Failure> {
    // SAFETY: the call changes no mapping but the range that the caller vouches for.
    let base = unsafe { libc::shmat(id.raw(), address.cast::<c_void>(), flags) };
    // Failure is (void *) -1. Null can only be had by asking for it, with SHM_RND or SHM_REMAP.
    match NonNull::new(base.cast::<u8>()) {
        Some(base) if base.addr().get() != usize::MAX => Ok(base),
        _ => Err(Failure::last()),
    }
}

/// Detaches the segment at `base`. A failure means that nothing is attached there, and is ignored.
///
/// # Safety
///
/// - `base` was returned by [`shmat`] and not detached since.
/// - Nothing uses the attachment any more.
pub(super) unsafe fn shmdt(base: NonNull<u8>) {
    // SAFETY: the attachment is the caller's, and unused.
    unsafe { libc::shmdt(base.as_ptr().cast::<c_void>()) };
}

/// # Safety
///
/// - `buffer` is what `command` reads or fills in, or null where the command has none.
pub(super) unsafe fn shmctl<T>(
    target: c_int,
    command: c_int,
    buffer: *mut T,
) -> Result<c_int, Failure> {
    // SAFETY: the caller vouches for the buffer, which C declares as shmid_ds for all commands.
    let result = unsafe { libc::shmctl(target, command, buffer.cast::<shmid_ds>()) };
    if result == -1 {
        return Err(Failure::last());
    }
    Ok(result)
}
