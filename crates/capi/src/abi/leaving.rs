//! Leaving, the peer, and the state of an end.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::{end_of, guard, guard_code, put};
use crate::end::{End, RawPeer, RawStats};
use crate::failure::Failure;
use crate::options::Timeout;

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_next_stream(end: *mut End) -> c_int {
    // SAFETY: the caller guarantees it.
    guard(|| Ok(i64::from(unsafe { end_of(end) }?.next_stream()?))) as c_int
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_wait_for_peer(end: *mut End, timeout_ns: i64) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        end.wait_for_peer(Timeout::new(timeout_ns)?)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_close(end: *mut End, timeout_ns: i64) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        end.close(Timeout::new(timeout_ns)?)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_abort(end: *mut End) -> c_int {
    // SAFETY: the caller guarantees it.
    guard_code(|| unsafe { end_of(end) }?.abort())
}

/// # Safety
///
/// Rules 1 and 2. The end is not used afterwards.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_free(end: *mut End) {
    if end.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: the pointer came from `give_out`, and nobody uses it from now on.
        drop(unsafe { Box::from_raw(end) });
        Ok(0)
    });
}

/// # Safety
///
/// Rules 1 and 2. `peer` is NULL or fulfils rule 4.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_peer(end: *mut End, peer: *mut RawPeer) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        if !peer.is_null() {
            // SAFETY: the caller guarantees it.
            unsafe { put(peer, end.peer()?) }?;
        }
        end.check_peer()
    })
}

/// # Safety
///
/// Rules 1 and 2. `stats` is NULL, or valid for writes of `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_get_stats(end: *mut End, stats: *mut c_void, size: usize) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        if stats.is_null() || size == 0 || size > 4096 {
            return Err(Failure::invalid(
                "stats is NULL, or size is not sizeof(shmpipe_stats)",
            ));
        }
        let known = end.stats()?;
        // SAFETY: `size` bytes are valid for writes, as the caller guarantees.
        unsafe { ptr::write_bytes(stats.cast::<u8>(), 0, size) };
        let len = size.min(size_of::<RawStats>());
        // SAFETY: both have at least `len` bytes, and `known` is a local of this call.
        unsafe { ptr::copy_nonoverlapping((&raw const known).cast::<u8>(), stats.cast(), len) };
        Ok(())
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_id(end: *mut End) -> c_int {
    // SAFETY: the caller guarantees it.
    guard(|| Ok(i64::from(unsafe { end_of(end) }?.id()?))) as c_int
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_poll_fd(end: *mut End) -> c_int {
    // SAFETY: the caller guarantees it.
    guard(|| Ok(i64::from(unsafe { end_of(end) }?.poll_fd()?))) as c_int
}
