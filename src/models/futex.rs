//! The futex under loom, in place of `sys/futex.rs`.
//!
//! The kernel compares the word and queues the sleeper under one lock, and a wake takes that lock
//! too. So a wake either comes before the comparison, or finds the sleeper in the queue.
//!
//! No time passes (see `sync/mod.rs`), so a sleeper that nobody wakes sleeps for ever. A model with
//! a spurious return has a thread that calls `wake` without a change of the word.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::sync::{AtomicU32, Ordering};

loom::lazy_static! {
    /// The sleepers: the address of the word of each, and what wakes it.
    static ref SLEEPERS: Mutex<Vec<(usize, Arc<Condvar>)>> = Mutex::new(Vec::new());
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

/// Sleeps while `word` holds `expected`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, _timeout: Duration) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    // Relaxed: ordered by the lock.
    if word.load(Ordering::Relaxed) != expected {
        return;
    }
    let woken = Arc::new(Condvar::new());
    sleepers.push((address(word), woken.clone()));
    drop(woken.wait(sleepers).unwrap());
}

/// Sleeps while each word holds its expected value. The kernel compares the words one after the
/// other, and queues the sleeper on each before the comparison. For a word that changes in between,
/// that is as good as a change before or after this call.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)]) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    // Relaxed: ordered by the lock.
    let is_other = |&(word, expected): &(&AtomicU32, u32)| word.load(Ordering::Relaxed) != expected;
    if words.iter().any(is_other) {
        return;
    }
    let woken = Arc::new(Condvar::new());
    sleepers.extend(words.iter().map(|(word, _)| (address(word), woken.clone())));
    let mut sleepers = woken.wait(sleepers).unwrap();
    sleepers.retain(|(_, sleeper)| !Arc::ptr_eq(sleeper, &woken));
}

/// Wakes whoever sleeps on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    let mut sleepers = SLEEPERS.lock().unwrap();
    sleepers.retain(|(slept_on, woken)| {
        let is_other = *slept_on != address(word);
        if !is_other {
            woken.notify_one();
        }
        is_other
    });
}
