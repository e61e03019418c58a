//! Stopping by SIGTSTP, and going on after SIGCONT.
//!
//! SIGTSTP is blocked, so it waits until the terminal is the shell's again. Its action stays the
//! default one: the kernel then stops no process that no shell could continue.
//!
//! <https://man7.org/linux/man-pages/man7/signal.7.html>
#![allow(unsafe_code)] // pthread_sigmask(3), sigpending(2)

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::flag;

use crate::exit::Failure;
use crate::start::is_ignored;

#[derive(Debug)]
pub(super) struct Stops {
    has_continued: Arc<AtomicBool>,
    /// Whether SIGTSTP stops this process: its parent may have it ignored.
    stops: bool,
}

impl Stops {
    /// From here on, SIGTSTP waits for [`stop`](Stops::stop), which this thread has to call. Threads
    /// that it starts later block SIGTSTP, too.
    pub(super) fn hold() -> Result<Stops, Failure> {
        let has_continued = Arc::new(AtomicBool::new(false));
        flag::register(SIGCONT, Arc::clone(&has_continued))
            .map_err(|error: io::Error| Failure::io("signals", &error))?;
        let stops = !is_ignored(SIGTSTP);
        if stops {
            mask(libc::SIG_BLOCK);
        }
        Ok(Stops {
            has_continued,
            stops,
        })
    }

    /// Whether a SIGTSTP waits.
    pub(super) fn is_asked(&self) -> bool {
        let mut waiting = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the call writes one set, which outlives it.
        unsafe { libc::sigpending(waiting.as_mut_ptr()) };
        // SAFETY: a set is an array of integers, so zero is a value. The call fails only for an
        // address that is not mapped.
        let waiting = unsafe { waiting.assume_init() };
        // SAFETY: an initialised set and the number of a signal.
        self.stops && unsafe { libc::sigismember(&raw const waiting, SIGTSTP) } == 1
    }

    /// Stops this process if a SIGTSTP waits. Returns once the process is continued.
    pub(super) fn stop(&self) {
        if self.stops {
            mask(libc::SIG_UNBLOCK); // a waiting signal acts before this returns
            mask(libc::SIG_BLOCK);
        }
    }

    /// Whether this process was continued since the last call. Somebody may have changed the
    /// terminal while it was stopped.
    pub(super) fn has_continued(&self) -> bool {
        // No other memory depends on the flag.
        self.has_continued.swap(false, Ordering::Relaxed)
    }
}

/// Blocks or unblocks SIGTSTP for this thread.
fn mask(how: libc::c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call initialises one set, which outlives it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised, and SIGTSTP is the number of a signal.
    unsafe { libc::sigaddset(set.as_mut_ptr(), SIGTSTP) };
    // SAFETY: reads one initialised set. The old set is not asked for. The call fails only for an
    // unknown `how`.
    unsafe { libc::pthread_sigmask(how, set.as_ptr(), ptr::null_mut()) };
}
