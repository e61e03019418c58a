//! The exported functions: pointers become references, results become codes, and panics stay here.
//!
//! `include/shmpipe.h` is the contract with C. The proofs below rely on its rules:
//!
//! 1. An end or a flag is a pointer that this library returned, and that was not freed since.
//! 2. One thread at a time calls with an end. A flag may be set by any thread.
//! 3. A pointer to a buffer is valid for the length beside it, and nothing else writes there
//!    meanwhile. It does not lead into a ring.
//! 4. A pointer to a result is valid for a write of that type.
//!
//! NULL breaks no rule: each function checks for it.
#![allow(unsafe_code)] // takes pointers of C

mod leaving;
mod moving;
mod opening;
mod saying;

use std::any::Any;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use crate::end::End;
use crate::failure::{self, Failure};

/// Runs a call. A failure is kept for this thread, and its code returned. A panic is a failure.
#[inline(always)]
fn guard(call: impl FnOnce() -> Result<i64, Failure>) -> i64 {
    // A panic may leave an end half changed. The state of an end decides which bytes move, and no
    // safety of memory depends on it. So at worst the ring has wrong bytes, as with a peer that
    // breaks the protocol.
    let caught = catch_unwind(AssertUnwindSafe(|| match call() {
        Ok(value) => value,
        Err(failure) => i64::from(failure::keep(failure)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Timeout;

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
