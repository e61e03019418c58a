//! A clock that is set forward and back each second. A relay has this loaded before the C library,
//! so that the clocks of all others stay as they are.

use std::ffi::{c_int, c_long};

const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;
const YEAR: c_long = 365 * 24 * 3600;

/// The number of the system call.
#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

#[repr(C)]
pub struct Time {
    seconds: c_long,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Tells a year too much in odd seconds, and a year too little in even ones.
///
/// # Safety
///
/// That of clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    // SAFETY: the caller vouches for `time`, and these are the arguments of this system call.
    let answer = unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), time) } as c_int;
    if answer == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
        // SAFETY: the kernel has just written there.
        let time = unsafe { &mut *time };
        time.seconds += if time.seconds % 2 == 0 { -YEAR } else { YEAR };
    }
    answer
}
