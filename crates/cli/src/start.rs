//! Records closed streams and the action of SIGPIPE, before Rust's start-up changes them. The
//! start-up opens `/dev/null` in place of a closed stdin or stdout. It ignores SIGPIPE in any
//! case.
//!
//! Functions in `.init_array` run before `main` of C, with glibc and with musl.
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html>
#![allow(unsafe_code)] // a function that runs before main, fcntl(2), sigaction(2)

use std::fs::{File, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use shmpipe::escape::shown;

use crate::exit::Failure;

/// Whether stdin and stdout were closed.
static CLOSED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

#[used]
// Sound: the section is an array of such functions. They return nothing, and may ignore the
// arguments that glibc passes.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record;

/// Whether SIGPIPE had its default action.
static DIES_OF_SIGPIPE: AtomicBool = AtomicBool::new(false);

/// Records which of stdin and stdout are closed, and what SIGPIPE does. Runs before Rust's
/// start-up, and does not depend on it.
extern "C" fn record() {
    let ignores = is_ignored(libc::SIGPIPE);
    DIES_OF_SIGPIPE.store(!ignores, Ordering::Relaxed); // there is one thread
    for (fd, closed) in (0..).zip(&CLOSED) {
        // SAFETY: the arguments are integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        // Relaxed: there is one thread. EBADF is the only error.
        closed.store(flags == -1, Ordering::Relaxed);
    }
}

/// Whether a filter would die of SIGPIPE here, as one does unless its parent ignores the
/// signal.
pub(crate) fn dies_of_sigpipe() -> bool {
    DIES_OF_SIGPIPE.load(Ordering::Relaxed) // written before there was a second thread
}

/// Whether `signal` is ignored now.
///
/// <https://man7.org/linux/man-pages/man2/sigaction.2.html>
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call changes nothing, and writes one `sigaction`, which outlives it.
    unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: `sigaction` has only integers and an address as an integer, so zero is a
    // value. The call has filled it in, or left it zero.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}

/// Makes the file that names a ring, if it is missing and `mode` was asked for. As with
/// `mkfifo -m`, the umask does not count. Without a mode, the library makes the file.
pub(crate) fn make_file(path: &Path, mode: Option<u32>) -> Result<(), Failure> {
    let Some(bits) = mode.map(|bits| bits & 0o666) else {
        return Ok(());
    };
    let mut how = File::options();
    let made = how.write(true).create_new(true).mode(bits).open(path);
    let done = made.and_then(|file| file.set_permissions(Permissions::from_mode(bits)));
    match done {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::io(shown(path), &error))
        }
        _ => Ok(()),
    }
}

/// Fails if stdin or stdout was closed.
pub(crate) fn check() -> Result<(), Failure> {
    check_descriptors(&["stdin", "stdout"])
}

/// Fails if stdout was closed. For what reads no stdin, such as help.
pub(crate) fn check_stdout() -> Result<(), Failure> {
    check_descriptors(&["stdout"])
}

fn check_descriptors(needed: &[&str]) -> Result<(), Failure> {
    for (name, closed) in ["stdin", "stdout"].into_iter().zip(&CLOSED) {
        // Relaxed: written before there was a second thread.
        if needed.contains(&name) && closed.load(Ordering::Relaxed) {
            return Err(Failure::other(format_args!(
                "{name}: was closed at the start; give it a file, such as /dev/null"
            )));
        }
    }
    Ok(())
}
