//! A variable of the environment, read without a lock.
#![allow(unsafe_code)] // the only caller of getenv

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The value of the variable `name`.
///
/// Not by `std::env`: what that reads it reads under a lock, which a thread that is not in a forked
/// child may have held at the fork, so that the child waits for ever. `getenv(3)` takes no lock.
///
/// Whoever changes the environment while other threads read it has to answer for that to
/// `std::env::set_var`, which says that any library may read it.
pub(crate) fn variable(name: &CStr) -> Option<OsString> {
    // SAFETY: `name` ends with a zero. That nobody changes the environment meanwhile is the duty of
    // those who change it (`std::env::set_var` is unsafe for this reason).
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv gave a string that ends with a zero, and that stays until the environment
    // changes, as above. It is copied at once.
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
