//! Flags, and what the library says: failures, names and its version.

use std::ffi::{CStr, c_char, c_int};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failure;
use crate::options::Flag;

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
        flag.store(on != 0, Ordering::Relaxed); // publishes no other data
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
