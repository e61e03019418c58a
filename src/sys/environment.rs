//! Reads a variable of the environment, and strikes bytes out of it, without a lock.
#![allow(unsafe_code)] // the only caller of getenv

use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

/// The value of the variable `name`.
///
/// Uses `getenv(3)`, which takes no lock. `std::env` reads under a lock. A thread that is missing
/// in a forked child may have held that lock at the fork, and the child would wait for ever.
///
/// A program that changes the environment while other threads read it is responsible for that.
/// `std::env::set_var` says that any library may read the environment.
pub(crate) fn variable(name: &CStr) -> Option<OsString> {
    let value = find(name)?;
    // SAFETY: getenv returned a string that ends with a zero. The string stays until the
    // environment changes, which is excluded as for the call. It is copied at once.
    let value = unsafe { CStr::from_ptr(value.as_ptr().cast()) };
    Some(OsStr::from_bytes(value.to_bytes()).to_owned())
}

/// Overwrites one byte of the value of the variable `name`, which has more than `offset` bytes, in
/// place. `unsetenv(3)` would move the other variables, which other threads may be reading. A
/// single byte leaves a string that ends with a zero, whatever another thread sees.
pub(crate) fn strike(name: &CStr, offset: usize, byte: u8) -> io::Result<()> {
    let value = find(name).ok_or(io::ErrorKind::NotFound)?;
    store(value.as_ptr().wrapping_add(offset), byte)
}

/// Takes the variable `name` out of the environment, by overwriting the first byte of its name.
/// Later calls find no variable of this name. Programs that this process starts inherit it under
/// another name. A zero byte would leave an empty string in the environment, which some programs
/// show.
pub(crate) fn hide(name: &CStr) -> io::Result<()> {
    let mut value = find(name).ok_or(io::ErrorKind::NotFound)?;
    // There may be more than one of the name.
    loop {
        // A variable is one string, `name=value`.
        let start = value
            .as_ptr()
            .wrapping_sub(1)
            .wrapping_sub(name.count_bytes());
        store(start, b'_')?;
        match find(name) {
            Some(next) if next != value => value = next,
            _ => return Ok(()),
        }
    }
}

/// The first byte of the value of the variable `name`.
fn find(name: &CStr) -> Option<NonNull<u8>> {
    // SAFETY: `name` ends with a zero. No thread changes the environment meanwhile: that is a duty
    // of the caller of `std::env::set_var`, which is unsafe for this reason.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    NonNull::new(value.cast())
}

/// Stores a byte by the kernel, through a pipe. Fails if the address cannot be written to: a
/// program may give a constant to `putenv(3)`.
fn store(place: *mut u8, byte: u8) -> io::Result<()> {
    let (out, mut pipe) = io::pipe()?;
    pipe.write_all(&[byte])?;
    loop {
        // SAFETY: `place` is a byte of a variable's string, before its final zero. Nothing in this
        // process has a reference to that string: `variable` copies it, as std does. The kernel
        // checks the address.
        let read = unsafe { libc::read(out.as_raw_fd(), place.cast(), 1) };
        match read {
            1 => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_what_std_says() {
        assert_eq!(variable(c"PATH"), std::env::var_os("PATH"));
        assert_eq!(variable(c"SHMPIPE_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn what_is_not_there_is_not_changed() {
        let missing = c"SHMPIPE_NO_SUCH_VARIABLE";
        for changed in [strike(missing, 0, b'-'), hide(missing)] {
            assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_byte_that_cannot_be_written_is_an_error() {
        static CONSTANT: [u8; 4096] = [7; 4096]; // in read-only memory
        let stored = store((&raw const CONSTANT).cast_mut().cast(), 0);
        assert_eq!(stored.unwrap_err().raw_os_error(), Some(libc::EFAULT));
        assert_eq!(CONSTANT[0], 7);
    }
}
