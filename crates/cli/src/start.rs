//! Whether stdin and stdout were closed at the start. Rust's start-up opens `/dev/null` in
//! place of a closed stdin, stdout or stderr. So the descriptors must be looked at before
//! that.
//!
//! Functions in `.init_array` run before `main` of C, with glibc and with musl.
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html>
#![allow(unsafe_code)] // a function that runs before main, and fcntl(2)

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Failure;

/// Whether stdin and stdout were closed.
static CLOSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

#[used]
// Sound: the section is an array of such functions. They return nothing, and may ignore the
// arguments that glibc passes.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record_closed;

/// Records which of stdin and stdout are closed. Runs before Rust's start-up, and does not
/// depend on it.
extern "C" fn record_closed() {
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: the arguments are integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // Relaxed: there is one thread. EBADF is the only error.
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
