//! Moving bytes, by copy and in place.

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use ring::{Consumer, Producer};

use super::{end_of, guard, guard_code, panicked, put};
use crate::end::End;
use crate::failure::{self, Failure};
use crate::options::Timeout;

/// Does what `guard` does, in fewer instructions, for a blocking call that mostly succeeds at once.
#[inline(always)]
fn plain(call: impl FnOnce() -> i64) -> i64 {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(panicked)
}

#[inline(always)]
fn moved(result: std::io::Result<usize>) -> i64 {
    #[cold]
    #[inline(never)]
    fn failed(error: std::io::Error) -> i64 {
        i64::from(failure::keep(error.into()))
    }
    match result {
        Ok(len) => len as i64,
        Err(error) => failed(error),
    }
}

/// The bytes of a buffer of C.
///
/// # Safety
///
/// Rule 3.
#[inline(always)]
unsafe fn bytes_of<'a>(bytes: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    let bytes = check_buffer(bytes.cast_mut(), len)?;
    // SAFETY: checked, and the rest is rule 3. With length 0, the pointer may dangle.
    Ok(unsafe { bytes_of_checked(bytes.as_ptr().cast(), len) })
}

/// # Safety
///
/// Rule 3. The pointer is not NULL, and the length is at most `isize::MAX`.
#[inline(always)]
unsafe fn bytes_of_checked<'a>(bytes: *const c_void, len: usize) -> &'a [u8] {
    // SAFETY: valid for reads of `len` bytes, and not written meanwhile (rule 3). The rest is the
    // caller's guarantee.
    unsafe { std::slice::from_raw_parts(bytes.cast(), len) }
}

/// The bytes of a buffer of C, to be written.
///
/// # Safety
///
/// Rule 3.
#[inline(always)]
unsafe fn bytes_of_mut<'a>(bytes: *mut c_void, len: usize) -> Result<&'a mut [u8], Failure> {
    let bytes = check_buffer(bytes, len)?;
    // SAFETY: checked, and the rest is rule 3. With length 0, the pointer may dangle.
    Ok(unsafe { bytes_of_mut_checked(bytes.as_ptr().cast(), len) })
}

/// # Safety
///
/// Rule 3. The pointer is not NULL, and the length is at most `isize::MAX`.
#[inline(always)]
unsafe fn bytes_of_mut_checked<'a>(bytes: *mut c_void, len: usize) -> &'a mut [u8] {
    // SAFETY: as in `bytes_of_checked`, and valid for writes. The library only writes to these bytes,
    // so their contents before do not matter, and in memory of C every byte is some value.
    unsafe { std::slice::from_raw_parts_mut(bytes.cast(), len) }
}

/// The longest message that the library copies in its caller.
const SHORT: usize = 64;

#[inline(always)]
fn check_buffer(bytes: *mut c_void, len: usize) -> Result<NonNull<u8>, Failure> {
    if len > isize::MAX as usize {
        return Err(Failure::invalid("the length is more than memory can hold"));
    }
    match NonNull::new(bytes.cast::<u8>()) {
        Some(bytes) => Ok(bytes),
        None if len == 0 => Ok(NonNull::dangling()),
        None => Err(Failure::invalid("the buffer is NULL")),
    }
}

/// Checks the two lengths of a loan.
#[inline(always)]
fn check_loan(least: usize, most: usize) -> Result<usize, Failure> {
    if most == 0 || least > most {
        return Err(Failure::invalid("most is 0, or less than least"));
    }
    Ok(least.max(1))
}

/// # Safety
///
/// Rules 1 to 3.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_write(
    end: *mut End,
    bytes: *const c_void,
    len: usize,
    timeout_ns: i64,
) -> i64 {
    if timeout_ns != -1 || bytes.is_null() {
        // SAFETY: the caller guarantees it.
        return unsafe { write_otherwise(end, bytes, len, timeout_ns) };
    }
    // SAFETY: NULL, or an end that nobody else uses (rules 1 and 2).
    let Some(producer) = unsafe { end.as_mut() }.and_then(End::as_producer) else {
        // SAFETY: the caller guarantees it.
        return unsafe { write_otherwise(end, bytes, len, timeout_ns) };
    };
    // One comparison: 0 becomes the largest length.
    if len.wrapping_sub(1) < SHORT {
        // SAFETY: not NULL and not too long, and the rest is rule 3.
        let bytes = unsafe { bytes_of_checked(bytes, len) };
        return plain(|| moved(producer.write(bytes)));
    }
    // SAFETY: the caller guarantees it.
    unsafe { write_long(producer, bytes, len) }
}

/// A plain call of no byte, or of more than [`SHORT`].
///
/// # Safety
///
/// Rule 3.
#[inline(never)]
unsafe fn write_long(producer: &mut Producer, bytes: *const c_void, len: usize) -> i64 {
    // SAFETY: the caller guarantees it.
    match unsafe { bytes_of(bytes, len) } {
        Ok(bytes) => plain(|| moved(producer.write(bytes))),
        Err(failure) => i64::from(failure::keep(failure)),
    }
}

/// The cases of `shmpipe_write` that are not plain.
///
/// # Safety
///
/// Rules 1 to 3.
#[inline(never)]
unsafe fn write_otherwise(end: *mut End, bytes: *const c_void, len: usize, timeout_ns: i64) -> i64 {
    guard(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        // SAFETY: the caller guarantees it.
        let bytes = unsafe { bytes_of(bytes, len) }?;
        Ok(end.write(bytes, Timeout::new(timeout_ns)?)? as i64)
    })
}

/// # Safety
///
/// Rules 1 to 3.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_read(
    end: *mut End,
    bytes: *mut c_void,
    len: usize,
    timeout_ns: i64,
) -> i64 {
    if timeout_ns != -1 || bytes.is_null() {
        // SAFETY: the caller guarantees it.
        return unsafe { read_otherwise(end, bytes, len, timeout_ns) };
    }
    // SAFETY: NULL, or an end that nobody else uses (rules 1 and 2).
    let Some(consumer) = unsafe { end.as_mut() }.and_then(End::as_consumer) else {
        // SAFETY: the caller guarantees it.
        return unsafe { read_otherwise(end, bytes, len, timeout_ns) };
    };
    // One comparison: 0 becomes the largest length.
    if len.wrapping_sub(1) < SHORT {
        // SAFETY: not NULL and not too long, and the rest is rule 3.
        let bytes = unsafe { bytes_of_mut_checked(bytes, len) };
        return plain(|| moved(consumer.read(bytes)));
    }
    // SAFETY: the caller guarantees it.
    unsafe { read_long(consumer, bytes, len) }
}

/// A plain call of no byte, or of more than [`SHORT`].
///
/// # Safety
///
/// Rule 3.
#[inline(never)]
unsafe fn read_long(consumer: &mut Consumer, bytes: *mut c_void, len: usize) -> i64 {
    // SAFETY: the caller guarantees it.
    match unsafe { bytes_of_mut(bytes, len) } {
        Ok(bytes) => plain(|| moved(consumer.read(bytes))),
        Err(failure) => i64::from(failure::keep(failure)),
    }
}

/// The cases of `shmpipe_read` that are not plain.
///
/// # Safety
///
/// Rules 1 to 3.
#[inline(never)]
unsafe fn read_otherwise(end: *mut End, bytes: *mut c_void, len: usize, timeout_ns: i64) -> i64 {
    guard(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        // SAFETY: the caller guarantees it.
        let bytes = unsafe { bytes_of_mut(bytes, len) }?;
        Ok(end.read(bytes, Timeout::new(timeout_ns)?)? as i64)
    })
}

/// # Safety
///
/// Rules 1 to 3.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_read_full(
    end: *mut End,
    bytes: *mut c_void,
    len: usize,
    timeout_ns: i64,
) -> i64 {
    guard(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        // SAFETY: the caller guarantees it.
        let bytes = unsafe { bytes_of_mut(bytes, len) }?;
        Ok(end.read_full(bytes, Timeout::new(timeout_ns)?)? as i64)
    })
}

/// # Safety
///
/// Rules 1 and 2, and rule 4 for `room`.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_reserve(
    end: *mut End,
    least: usize,
    most: usize,
    timeout_ns: i64,
    room: *mut *mut c_void,
) -> i64 {
    guard(|| {
        // SAFETY: the caller guarantees it.
        unsafe { put(room, ptr::null_mut()) }?;
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        let least = check_loan(least, most)?;
        let lent = end.reserve(least, most, Timeout::new(timeout_ns)?)?;
        // SAFETY: the caller guarantees it.
        unsafe { put(room, lent.as_ptr().cast()) }?;
        Ok(lent.len() as i64)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_commit(end: *mut End, len: usize) -> i64 {
    // SAFETY: the caller guarantees it.
    guard(|| Ok(unsafe { end_of(end) }?.commit(len)? as i64))
}

/// # Safety
///
/// Rules 1 and 2, and rule 4 for `bytes`.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_peek(
    end: *mut End,
    least: usize,
    most: usize,
    timeout_ns: i64,
    bytes: *mut *const c_void,
) -> i64 {
    guard(|| {
        // SAFETY: the caller guarantees it.
        unsafe { put(bytes, ptr::null()) }?;
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        let least = check_loan(least, most)?;
        let Some(lent) = end.peek(least, most, Timeout::new(timeout_ns)?)? else {
            return Ok(0);
        };
        // SAFETY: the caller guarantees it.
        unsafe { put(bytes, lent.as_ptr().cast::<c_void>().cast_const()) }?;
        Ok(lent.len() as i64)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_consume(end: *mut End, len: usize) -> i64 {
    // SAFETY: the caller guarantees it.
    guard(|| Ok(unsafe { end_of(end) }?.consume(len)? as i64))
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_flush(end: *mut End) -> c_int {
    // SAFETY: the caller guarantees it.
    guard_code(|| unsafe { end_of(end) }?.flush())
}
