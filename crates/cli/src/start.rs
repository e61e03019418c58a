//! What this process was started with, seen before Rust's start-up, which
//! opens `/dev/null` in place of a closed stdin, stdout or stderr. What it
//! opens looks like a `/dev/null` that the caller has opened, and is no error.
//!
//! Functions in `.init_array` run before `main` of C, with glibc and musl
//! alike. <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html>
#![allow(unsafe_code)] // a function that runs before main, and fcntl(2)

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Failure;

/// Whether stdin and stdout were closed.
static CLOSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

#[used]
// Sound: the section is an array of such functions, without a result, and free
// to ignore the arguments that glibc passes.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Runs before Rust's start-up, on which nothing here depends.
extern "C" fn look() {
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: integers only.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // Relaxed: there is one thread. The only error is EBADF.
        closed.store(flags == -1, Ordering::Relaxed);
    }
}

/// Fails if stdin or stdout was closed.
pub(crate) fn check() -> Result<(), Failure> {
    for (name, closed) in ["stdin", "stdout"].into_iter().zip(&CLOSED) {
        // Relaxed: written before there was a second thread.
        if closed.load(Ordering::Relaxed) {
            return Err(Failure::other(format_args!(
                "{name}: was closed at the start; give it a file, such as /dev/null"
            )));
        }
    }
    Ok(())
}
