//! The exported functions: pointers become references, results become codes, and panics stay here.
//!
//! `include/shmpipe.h` is the contract with C. Its rules are what the proofs below stand on:
//!
//! 1. An end or a flag is a pointer that this library returned, and that was not freed since.
//! 2. One thread at a time calls with an end. A flag may be set by any thread.
//! 3. A pointer to a buffer is valid for the length beside it, and nothing else writes there
//!    meanwhile. It does not lead into a ring.
//! 4. A pointer to a result is valid for a write of that type.
//!
//! NULL breaks no rule: each function checks for it.
#![allow(unsafe_code)] // takes pointers of C

use std::any::Any;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ring::sysv::SegmentId;
use ring::{Handover, Options, Role};

use crate::end::{End, RawPeer, RawStats, role};
use crate::failure::{self, Failure};
use crate::options::{Flag, RawOptions, Timeout, options};

/// Runs a call. A failure is kept for this thread, and its code returned. A panic is a failure.
#[inline(always)]
fn guard(call: impl FnOnce() -> Result<i64, Failure>) -> i64 {
    // A panic may leave an end half changed: its ring then has wrong bytes at worst, as with a peer
    // that lies, since nothing but bytes depends on an end.
    let caught = catch_unwind(AssertUnwindSafe(|| match call() {
        Ok(value) => value,
        Err(failure) => i64::from(failure::keep(failure)),
    }));
    caught.unwrap_or_else(panicked)
}

/// Runs a blocking call that mostly succeeds at once. As `guard`, in fewer instructions.
#[inline(always)]
fn plain(call: impl FnOnce() -> std::io::Result<usize>) -> i64 {
    #[cold]
    #[inline(never)]
    fn failed(error: std::io::Error) -> i64 {
        i64::from(failure::keep(error.into()))
    }
    let caught = catch_unwind(AssertUnwindSafe(|| match call() {
        Ok(len) => len as i64,
        Err(error) => failed(error),
    }));
    caught.unwrap_or_else(panicked)
}

/// A call that returns a code only.
fn guard_code(call: impl FnOnce() -> Result<(), Failure>) -> c_int {
    guard(|| call().map(|()| 0)) as c_int // a code, or 0
}

#[cold]
fn panicked(panic: Box<dyn Any + Send>) -> i64 {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = format!("a fault of the library: {}", said.unwrap_or("a panic"));
    std::mem::forget(panic); // its drop could panic, too
    i64::from(failure::keep(Failure::panicked(text)))
}

/// The end behind a pointer of C.
///
/// # Safety
///
/// Rules 1 and 2.
#[inline(always)]
unsafe fn end_of<'a>(end: *mut End) -> Result<&'a mut End, Failure> {
    // SAFETY: a pointer that is not NULL came from `give_out`, and was not freed (rule 1). No other
    // reference to the end exists: each lives within one call, and calls do not overlap (rule 2).
    unsafe { end.as_mut() }.ok_or_else(|| Failure::invalid("the end is NULL"))
}

/// Writes a result for C.
///
/// # Safety
///
/// Rule 4.
unsafe fn put<T>(result: *mut T, value: T) -> Result<(), Failure> {
    if result.is_null() {
        return Err(Failure::invalid("the pointer to a result is NULL"));
    }
    // SAFETY: valid for a write (rule 4), and not NULL.
    unsafe { result.write(value) };
    Ok(())
}

/// The text behind a pointer of C.
///
/// # Safety
///
/// The pointer is NULL, or leads to bytes up to a NUL that stay as they are for `'a`.
unsafe fn text_of<'a>(text: *const c_char, null: &'static str) -> Result<&'a CStr, Failure> {
    if text.is_null() {
        return Err(Failure::invalid(null));
    }
    // SAFETY: not NULL, and terminated, as the caller guarantees.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// The path behind a pointer of C.
///
/// # Safety
///
/// That of `text_of`.
unsafe fn path_of<'a>(path: *const c_char) -> Result<&'a Path, Failure> {
    // SAFETY: the caller guarantees it.
    let path = unsafe { text_of(path, "the path is NULL") }?;
    Ok(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// The name of an end. NULL stands for the end without a name.
///
/// # Safety
///
/// That of `text_of`.
unsafe fn name_of<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    if name.is_null() {
        return Ok("");
    }
    // SAFETY: the caller guarantees it.
    let name = unsafe { text_of(name, "") }?;
    name.to_str()
        .map_err(|_| Failure::invalid("the name of an end is not ASCII"))
}

/// The options behind a pointer of C: NULL stands for the defaults. A shorter struct is that of an
/// older header. A longer one is that of a newer header, and must not ask for what is unknown here.
///
/// # Safety
///
/// The pointer is NULL, or leads to as many readable bytes as the first field says. `cancel` is NULL
/// or a flag (rule 1).
unsafe fn options_of(raw: *const RawOptions) -> Result<Options, Failure> {
    const KNOWN: usize = size_of::<RawOptions>();
    /// Bytes of the struct in the first release.
    const FIRST: usize = KNOWN;
    let mut known = RawOptions::DEFAULT;
    if !raw.is_null() {
        if !raw.is_aligned() {
            return Err(Failure::invalid("the options are not aligned"));
        }
        // SAFETY: the first field is readable, as the caller guarantees, and aligned.
        let size = unsafe { raw.cast::<usize>().read() };
        if !(FIRST..=4096).contains(&size) {
            return Err(Failure::invalid(
                "options.size is not sizeof(shmpipe_options): use SHMPIPE_OPTIONS_INIT",
            ));
        }
        let from = raw.cast::<u8>();
        // SAFETY: `size` bytes are readable, as the caller guarantees, and `known` is another
        // object of at least the bytes copied. Any bytes are a valid `RawOptions`.
        unsafe { ptr::copy_nonoverlapping(from, (&raw mut known).cast(), size.min(KNOWN)) };
        for offset in KNOWN..size {
            // SAFETY: inside the caller's struct.
            let byte = unsafe { from.add(offset) };
            // SAFETY: readable, as the caller guarantees.
            if unsafe { byte.read() } != 0 {
                return Err(Failure::invalid(
                    "options has a field that this version of the library does not know",
                ));
            }
        }
    }
    let cancel = match known.cancel.is_null() {
        true => None,
        // SAFETY: a flag that `shmpipe_flag_new` returned, and that was not freed (rule 1).
        false => Some(unsafe { flag_of(known.cancel) }),
    };
    options(&known, cancel)
}

/// Another owner of a flag of C.
///
/// # Safety
///
/// Rule 1, and the flag is not NULL.
unsafe fn flag_of(flag: *const Flag) -> Arc<Flag> {
    // SAFETY: the pointer came from `Arc::into_raw`, whose count C holds until it frees the flag.
    // `ManuallyDrop` leaves this count with C.
    let held = ManuallyDrop::new(unsafe { Arc::from_raw(flag) });
    Arc::clone(&held)
}

/// Gives an end to C, which frees it by `shmpipe_free`.
///
/// # Safety
///
/// Rule 4 for `result`, which is not NULL.
unsafe fn give_out(result: *mut *mut End, end: impl Into<End>) -> Result<(), Failure> {
    let end = Box::into_raw(Box::new(end.into()));
    // SAFETY: the caller guarantees it.
    unsafe { put(result, end) }
}

/// Clears a result, so that it is NULL after a failure. Fails if there is no place for it.
///
/// # Safety
///
/// Rule 4.
unsafe fn clear(result: *mut *mut End) -> Result<(), Failure> {
    // SAFETY: the caller guarantees it.
    unsafe { put(result, ptr::null_mut()) }
}

/// The bytes of a buffer of C.
///
/// # Safety
///
/// Rule 3.
#[inline(always)]
unsafe fn bytes_of<'a>(bytes: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    let bytes = check_buffer(bytes.cast_mut(), len)?;
    // SAFETY: checked, and the rest is rule 3. Without length, the pointer is dangling.
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
    // SAFETY: checked, and the rest is rule 3. Without length, the pointer is dangling.
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
/// Rule 4 for `end`. `path` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_open(
    path: *const c_char,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let path = unsafe { path_of(path) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let opened = match role(asked)? {
            Role::Producer => End::from(options.open_producer(path)?),
            Role::Consumer => End::from(options.open_consumer(path)?),
        };
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, opened) }
    })
}

/// # Safety
///
/// Rule 4 for `end`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_create(
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let asked = role(asked)?;
        let made = taken(options.create_anonymous()?, asked)?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, made) }
    })
}

fn taken(ring: ring::Ring, asked: Role) -> Result<End, Failure> {
    Ok(match asked {
        Role::Producer => End::from(ring.into_producer()?),
        Role::Consumer => End::from(ring.into_consumer()?),
    })
}

/// # Safety
///
/// Rule 4 for `end`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_attach(
    id: i32,
    nonce: u64,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let asked = role(asked)?;
        let id = SegmentId::from_raw(id);
        let id = id.map_err(|_| Failure::invalid("the id of the segment is negative"))?;
        let ring = options.attach(id)?;
        if nonce != 0 && ring.nonce() != nonce {
            return Err(Failure::other_ring());
        }
        let attached = taken(ring, asked)?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, attached) }
    })
}

/// # Safety
///
/// Rule 4 for `producer` and `consumer`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_pair(
    raw: *const RawOptions,
    producer: *mut *mut End,
    consumer: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(producer) }?;
        // SAFETY: the caller guarantees it.
        unsafe { clear(consumer) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let (writing, reading) = options.pair()?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(producer, writing) }?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(consumer, reading) }
    })
}

/// # Safety
///
/// Rule 4 for `end`. `name` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_from_parent(
    name: *const c_char,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let name = unsafe { name_of(name) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let taken = match role(asked)? {
            Role::Producer => End::from(options.producer_from_parent_by_name(name)?),
            Role::Consumer => End::from(options.consumer_from_parent_by_name(name)?),
        };
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, taken) }
    })
}

/// # Safety
///
/// `ends` leads to `count` ends (rules 1 and 2). `names` is NULL, or leads to as many strings or
/// NULLs. `value` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_give(
    ends: *const *mut End,
    names: *const *const c_char,
    count: usize,
    value: *mut c_char,
    size: usize,
) -> i64 {
    guard(|| {
        if ends.is_null() || value.is_null() {
            return Err(Failure::invalid("the list of ends or the buffer is NULL"));
        }
        if !(1..=64).contains(&count) {
            return Err(Failure::invalid("a child gets 1 to 64 ends at once"));
        }
        // SAFETY: `count` readable pointers, as the caller guarantees.
        let ends = unsafe { std::slice::from_raw_parts(ends, count) };
        if (1..count).any(|at| ends[..at].contains(&ends[at])) {
            return Err(Failure::invalid("an end is in the list twice"));
        }
        let mut handover = Handover::new();
        for (at, end) in ends.iter().enumerate() {
            let name = match names.is_null() {
                true => "",
                false => {
                    // SAFETY: inside the list, which has `count` names.
                    let name = unsafe { names.add(at) };
                    // SAFETY: readable, as the caller guarantees.
                    let name = unsafe { name.read() };
                    // SAFETY: a string or NULL, as the caller guarantees.
                    unsafe { name_of(name) }?
                }
            };
            // SAFETY: rules 1 and 2. No two references lead to one end, since none is there twice.
            let end = unsafe { end_of(*end) }?;
            handover = end.give(name, handover)?;
        }
        let text = handover.variable()?;
        if text.len() >= size {
            return Err(Failure::too_long("the buffer is too short for the value"));
        }
        // SAFETY: the text and its NUL fit into `size` bytes, which are valid for writes.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), value, text.len()) };
        // SAFETY: `text.len()` is less than `size`.
        let last = unsafe { value.add(text.len()) };
        // SAFETY: inside the buffer.
        unsafe { last.write(0) };
        Ok(text.len() as i64)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_given_to(end: *mut End, child: i64) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        let child = u32::try_from(child).ok().filter(|child| *child > 0);
        let child =
            child.ok_or_else(|| Failure::invalid("the child's process id is no such id"))?;
        end.give("", Handover::new())?.given_to(child);
        Ok(())
    })
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
    if timeout_ns != -1 || bytes.is_null() || len > isize::MAX as usize {
        // SAFETY: the caller guarantees it.
        return unsafe { write_otherwise(end, bytes, len, timeout_ns) };
    }
    // SAFETY: NULL, or an end that nobody else uses (rules 1 and 2).
    let Some(producer) = unsafe { end.as_mut() }.and_then(End::as_producer) else {
        // SAFETY: the caller guarantees it.
        return unsafe { write_otherwise(end, bytes, len, timeout_ns) };
    };
    // SAFETY: not NULL and not too long, and the rest is rule 3.
    let bytes = unsafe { bytes_of_checked(bytes, len) };
    plain(|| producer.write(bytes))
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
    if timeout_ns != -1 || bytes.is_null() || len > isize::MAX as usize {
        // SAFETY: the caller guarantees it.
        return unsafe { read_otherwise(end, bytes, len, timeout_ns) };
    }
    // SAFETY: NULL, or an end that nobody else uses (rules 1 and 2).
    let Some(consumer) = unsafe { end.as_mut() }.and_then(End::as_consumer) else {
        // SAFETY: the caller guarantees it.
        return unsafe { read_otherwise(end, bytes, len, timeout_ns) };
    };
    // SAFETY: not NULL and not too long, and the rest is rule 3.
    let bytes = unsafe { bytes_of_mut_checked(bytes, len) };
    plain(|| consumer.read(bytes))
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

/// # Safety
///
/// `path` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_remove(path: *const c_char, raw: *const RawOptions) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let path = unsafe { path_of(path) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        Ok(options.remove(path)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_flag_new() -> *const Flag {
    Arc::into_raw(Arc::new(Flag::new(false)))
}

/// Async-signal-safe.
///
/// # Safety
///
/// Rule 1.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_flag_set(flag: *const Flag, on: c_int) {
    // SAFETY: NULL, or a flag that was not freed (rule 1).
    if let Some(flag) = unsafe { flag.as_ref() } {
        flag.store(on != 0, Ordering::Relaxed); // says only itself
    }
}

/// # Safety
///
/// Rule 1. The caller does not use the flag afterwards. Ends may: each has its own count.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_flag_free(flag: *const Flag) {
    if !flag.is_null() {
        // SAFETY: gives back the count that `shmpipe_flag_new` gave out.
        drop(unsafe { Arc::from_raw(flag) });
    }
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_last_code() -> c_int {
    failure::last().0
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_last_errno() -> c_int {
    failure::last().1
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_last_error() -> *const c_char {
    let text = catch_unwind(|| failure::with_text(CStr::as_ptr));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_code_name(code: c_int) -> *const c_char {
    failure::name_of(code).as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn shmpipe_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_crosses_the_boundary() {
        let code = guard(|| panic!("of a test"));
        assert_eq!(code, failure::Code::Internal as i64);
        let text = failure::with_text(|text| text.to_str().unwrap().to_owned());
        assert_eq!(text.unwrap(), "a fault of the library: of a test");
        let code = guard(|| std::panic::panic_any(7));
        assert_eq!(code, failure::Code::Internal as i64);
    }

    #[test]
    fn an_end_that_a_panic_lost_says_so() {
        let (producer, _consumer) = ring::pair().unwrap();
        let mut end = End::from(producer);
        end.lose();
        let failed = end.write(b"x", Timeout::Try).unwrap_err();
        assert_eq!(failed.code, failure::Code::Internal);
        assert!(end.poll_fd().is_err() && end.stats().is_err());
    }
}
