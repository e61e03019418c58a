//! The signals that end a stream: SIGINT, SIGTERM and SIGHUP.
//!
//! Each sets a flag, which ends waiting in the library and which
//! [`Stream`](crate::stream::Stream) looks at after each of its short waits.
//! Once the ring is cleaned up, the command dies of the signal itself: a shell
//! that runs it in a loop ends the loop then. One that was ignored at the
//! start stays ignored.
#![allow(unsafe_code)] // sigaction(2)

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Failure;

/// What a signal leaves behind.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Set by a signal.
    pub(crate) flag: Arc<AtomicBool>,
    /// The last signal that came, or 0.
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
            // A handler runs its actions in this order, so the number is there
            // once the flag is.
            flag::register_usize(signal, Arc::clone(&last), signal as usize)
                .and_then(|_| flag::register(signal, Arc::clone(&flag)))
                .map_err(|error: io::Error| Failure::io("signals", &error))?;
        }
        Ok(Signals { flag, last })
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // Relaxed: the flag says all there is to know.
        match self.flag.load(Ordering::Relaxed) {
            true => Err(Failure::interrupted()),
            false => Ok(()),
        }
    }

    /// How the command is to end: by the signal that came, if one did.
    pub(crate) fn end(&self, done: Result<(), Failure>) -> Result<(), Failure> {
        // Relaxed: the number says all there is to know.
        match self.last.load(Ordering::Relaxed) {
            0 => done,
            signal => Err(done
                .err()
                .unwrap_or_else(Failure::interrupted)
                .by_signal(signal as i32)), // no loss: the number of a signal
        }
    }
}

/// Whether this process was started with `signal` ignored.
///
/// <https://man7.org/linux/man-pages/man2/sigaction.2.html>
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: changes nothing, and writes one `sigaction`, which outlives the
    // call.
    unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: plain integers and an address as one, for which zero is valid;
    // the call has filled them in or left them.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}
