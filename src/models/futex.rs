//! The futex under loom: what `sys/futex.rs` asks of the kernel, and no more.
//!
//! The kernel compares and queues under one lock, which a wake takes too, so
//! the two are in one order or the other. That lock orders nothing else here:
//! the word is loaded and stored as relaxed as elsewhere. No time passes (see
//! `sync/mod.rs`): a sleeper that nobody wakes sleeps for ever. A return for no
//! reason is a wake by somebody who changed nothing; models that want one have
//! a thread for it.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::sync::{AtomicU32, Ordering};

loom::lazy_static! {
    /// Who sleeps, and on which word.
    static ref SLEEPERS: Mutex<Vec<(usize, Arc<Condvar>)>> = Mutex::new(Vec::new());
}

fn name(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

/// Sleeps while `word` holds `expected`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, _timeout: Duration) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    if word.load(Ordering::Relaxed) != expected {
        return; // ordered by the lock
    }
    let bed = Arc::new(Condvar::new());
    sleepers.push((name(word), bed.clone()));
    drop(bed.wait(sleepers).unwrap());
}

/// Wakes whoever sleeps on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    sleepers.retain(|(place, bed)| {
        let is_other = *place != name(word);
        if !is_other {
            bed.notify_one();
        }
        is_other
    });
}
