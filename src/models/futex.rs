//! The futex under loom: exactly what `sys/futex.rs` needs from the kernel.
//!
//! The kernel compares and queues under one lock, and a wake takes that lock too. So the two happen
//! in one order or the other. The lock orders nothing else here: the word is loaded and stored as
//! relaxed as elsewhere.
//!
//! No time passes (see `sync/mod.rs`), so a sleeper that nobody wakes sleeps for ever. A spurious
//! return is modelled as a wake by a thread that has changed nothing. Models that want one have a
//! thread for it.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::sync::{AtomicU32, Ordering};

loom::lazy_static! {
    /// The sleepers, and the word of each.
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
