//! The signals that end a stream: SIGINT, SIGTERM and SIGHUP.
//!
//! Each signal sets a flag. The flag ends waits in the library, and
//! [`Stream`](crate::stream::Stream) looks at it after each of its short waits. Once the
//! ring is detached, the command dies of the signal itself, so that a shell's loop ends,
//! too. A signal that was ignored at the start stays ignored.
#![allow(unsafe_code)] // sigaction(2)

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Failure;

/// What the signal handlers have recorded.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Set by each signal.
    pub(crate) flag: Arc<AtomicBool>,
    /// The number of the last signal, or 0.
    last: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Signals, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if is_ignored(signal) {
                continue; // nohup(1), `trap '' TERM`, `&` in a script
            }
            // A handler runs its actions in this order. So the number is set before the
            // flag.
            flag::register_usize(signal, Arc::clone(&last), signal as usize)
                .and_then(|_| flag::register(signal, Arc::clone(&flag)))
                .map_err(|error: io::Error| Failure::io("signals", &error))?;
        }
        Ok(Signals { flag, last })
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // Relaxed: no other memory depends on the flag.
        match self.flag.load(Ordering::Relaxed) {
            true => Err(Failure::interrupted()),
            false => Ok(()),
        }
    }

    /// The result of the command: death by the signal that came, if one did.
    pub(crate) fn end(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        // Relaxed: no other memory depends on the number.
        match self.last.load(Ordering::Relaxed) {
            0 => done,
            signal => Err(done
                .err()
                .unwrap_or_else(Failure::interrupted)
                .by_signal(signal as i32)), // lossless: a signal number
        }
    }
}

/// Whether this process was started with `signal` ignored.
///
/// <https://man7.org/linux/man-pages/man2/sigaction.2.html>
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call changes nothing, and writes one `sigaction`, which outlives it.
    unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: `sigaction` has only integers and an address as an integer, so zero is a
    // value. The call has filled it in, or left it zero.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}
