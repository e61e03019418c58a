//! Closes, in a forked child, the files whose locks the child must not keep.
//!
//! A lock of `flock(2)` belongs to an open file, which a fork shares with the child. No code of the
//! child ever closes that file. If the parent ended before it unlocked, the child would hold the
//! lock for its whole life. The child's own opens would then wait for that lock. So the child first
//! closes the files that other threads were using for an open.
//!
//! 1. An entry is filled while its file is open, and emptied before the file is closed. So the
//!    descriptor in an entry never means another file.
//! 2. A child has none of the other threads, so nobody in the child uses or closes their files.
//!
//! Limits: three kinds of child keep the files.
//!
//! * A child of a raw `clone(2)`.
//! * A child forked between the opening of a file and the filling of its entry.
//! * A child forked while more files are open than there are entries.
#![allow(unsafe_code)] // close, of what another thread had open

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::{Epoch, STATE};

/// An open in progress.
#[derive(Debug)]
pub(super) struct Entry {
    /// The thread that opens; 0 means that the entry is free.
    thread: AtomicUsize,
    /// The descriptor plus one; 0 means none.
    file: AtomicI32,
}

impl Entry {
    pub(super) const fn free() -> Entry {
        Entry {
            thread: AtomicUsize::new(0),
            file: AtomicI32::new(0),
        }
    }
}

/// Makes a forked child close a file. Dropped before the file is.
#[derive(Debug)]
pub(crate) struct Held(Option<&'static Entry>);

impl Held {
    pub(crate) fn new(file: &File) -> Held {
        Epoch::current(); // registers the handler
        let thread = this_thread();
        let entry = STATE.held.iter().find(|entry| {
            let free = &entry.thread;
            // Acquire: pairs with the drop of the entry's last user.
            let taken = free.compare_exchange(0, thread, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        });
        if let Some(entry) = entry {
            entry.file.store(file.as_raw_fd() + 1, Ordering::Relaxed); // read after a fork only
        }
        Held(entry)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.file.store(0, Ordering::Relaxed); // read after a fork only
            entry.thread.store(0, Ordering::Release); // pairs with the next user's exchange
        }
    }
}

/// Closes the files that other threads had open at the fork. Must run in a child before anything
/// else of this crate. Async-signal-safe.
pub(crate) fn close_in_child() {
    let thread = this_thread();
    for entry in &STATE.held {
        // Relaxed: this thread is alone.
        let (owner, file) = (&entry.thread, entry.file.load(Ordering::Relaxed));
        // Relaxed: this thread is alone.
        if [0, thread].contains(&owner.load(Ordering::Relaxed)) {
            continue;
        }
        if file > 0 {
            // SAFETY: the descriptor is of a file of another thread (invariant 1), which does not
            // exist here (invariant 2).
            unsafe { libc::close(file - 1) };
        }
        entry.file.store(0, Ordering::Relaxed); // this thread is alone
        owner.store(0, Ordering::Relaxed); // this thread is alone
    }
}

/// A number that is unique among the threads of a process, and that a fork does not change.
fn this_thread() -> usize {
    // SAFETY: no arguments; it cannot fail.
    unsafe { libc::pthread_self() as usize }
}
