//! Calls of code that is not ours, which may panic: a waker's, and that of what a panic leaves.
//!
//! 1. None is made while a lock is held, or between two changes that belong together.
//! 2. A panic of a wake or of a drop has been reported by the panic hook, and goes no further: it
//!    must not end the waiting of all others, and no call of ours can make it undone.
//! 3. A panic of a clone goes to the caller of the poll, and leaves the handle as it was.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;

/// Makes a call; `None` if it panicked.
///
/// What a panic leaves, its payload, may panic in its drop. Then what that leaves is leaked.
pub(super) fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    let payload = match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    if let Err(next) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(next);
    }
    None
}

/// Wakes the task.
pub(super) fn wake(waker: Waker) {
    contained(|| waker.wake());
}

/// Drops the waker, which may drop the task.
pub(super) fn let_go(waker: Option<Waker>) {
    if let Some(waker) = waker {
        contained(|| drop(waker));
    }
}
