//! Files whose locks a forked child must not keep.
//!
//! A lock of `flock(2)` belongs to an open file, which a fork shares with the child. Were the
//! parent to end before it unlocks, a child that knows nothing of the file would hold the lock for
//! as long as it lives, and would itself wait for it. So the child closes, as the first thing it
//! does, the files of opens that other threads were in the middle of.
//!
//! 1. An entry is filled while its file is open, and emptied before the file is closed: its number
//!    is not that of a file of somebody else's.
//! 2. A child has none of the other threads, so nobody in it uses or closes their files.
//!
//! Limits: a child of a raw `clone(2)` keeps them; so does one that is forked between the opening
//! of the file and the filling of the entry, or while more files are open than there are entries.
#![allow(unsafe_code)] // close, of what another thread had open

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::sys::fork::Epoch;

/// An open that is in progress.
#[derive(Debug)]
struct Entry {
    /// The thread that opens; 0 is nobody, and the entry is free.
    thread: AtomicUsize,
    /// One more than the descriptor; 0 is none.
    file: AtomicI32,
}

static ENTRIES: [Entry; 64] = [const {
    Entry {
        thread: AtomicUsize::new(0),
        file: AtomicI32::new(0),
    }
}; 64];

/// Has a child of a fork close a file. Dropped before the file is.
#[derive(Debug)]
pub(crate) struct Held(Option<&'static Entry>);

impl Held {
    pub(crate) fn new(file: &File) -> Held {
        Epoch::current(); // registers the handler
        let thread = this_thread();
        let entry = ENTRIES.iter().find(|entry| {
            let free = &entry.thread;
            // Acquire: pairs with the drop of the last one.
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
            entry.thread.store(0, Ordering::Release); // pairs with the next one's exchange
        }
    }
}

/// Closes what other threads had open at the fork. For the child, before anything else; it is
/// async-signal-safe.
pub(crate) fn close_in_child() {
    let thread = this_thread();
    for entry in &ENTRIES {
        // Relaxed: this thread is alone.
        let (owner, file) = (&entry.thread, entry.file.load(Ordering::Relaxed));
        // Relaxed: as above.
        if [0, thread].contains(&owner.load(Ordering::Relaxed)) {
            continue;
        }
        if file > 0 {
            // SAFETY: the descriptor is that of a file of another thread's (invariant 1), which is
            // not here (invariant 2).
            unsafe { libc::close(file - 1) };
        }
        entry.file.store(0, Ordering::Relaxed); // as above
        owner.store(0, Ordering::Relaxed); // as above
    }
}

/// A number that the threads of a process do not share, and that a fork does not change.
fn this_thread() -> usize {
    // SAFETY: no arguments; it cannot fail.
    unsafe { libc::pthread_self() as usize }
}
