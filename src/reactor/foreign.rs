//! Calls to foreign code that may panic: the code of wakers and of panic payloads.
//!
//! 1. No such call is made while a lock is held, or between two changes that belong
//!    together.
//! 2. A panic of a wake or of a drop is caught. The panic hook has reported it. One
//!    waker must not end the waiting of all others.
//! 3. A panic of a waker's clone propagates to the caller of `poll`. The handle
//!    stays as it was.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;

/// Makes a call, and catches its panic. `None` if the call panicked.
///
/// The payload of a panic may panic in its drop. The payload of that second panic
/// is leaked.
pub(super) fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
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
    catch_panic(|| waker.wake());
}

/// Drops the waker, which may drop the task.
pub(super) fn drop_waker(waker: Option<Waker>) {
    if let Some(waker) = waker {
        catch_panic(|| drop(waker));
    }
}
