//! Reads a variable of the environment without a lock.
#![allow(unsafe_code)] // the only caller of getenv

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The value of the variable `name`.
///
/// Uses `getenv(3)`, which takes no lock. `std::env` reads under a lock. A thread that is missing
/// in a forked child may have held that lock at the fork, and the child would wait for ever.
///
/// A program that changes the environment while other threads read it is responsible for that.
/// `std::env::set_var` says that any library may read the environment.
pub(crate) fn variable(name: &CStr) -> Option<OsString> {
    // SAFETY: `name` ends with a zero. No thread changes the environment meanwhile: that is a duty
    // of the caller of `std::env::set_var`, which is unsafe for this reason.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv returned a string that ends with a zero. The string stays until the
    // environment changes, which is excluded as for the call. It is copied at once.
    let value = unsafe { CStr::from_ptr(value) };
    Some(OsStr::from_bytes(value.to_bytes()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_what_std_says() {
        assert_eq!(variable(c"PATH"), std::env::var_os("PATH"));
        assert_eq!(variable(c"SHMPIPE_NO_SUCH_VARIABLE"), None);
    }
}
