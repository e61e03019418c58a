//! The state that a handle and the reactor share.
//!
//! | the handle | the reactor |
//! |---|---|
//! | `arm`: leaves its vigil and its waker, and says in the segment that it sleeps | [`look`](Waiter::look): if the peer has cleared the word, disarms the handle and wakes the task |
//! | looks once more, as the handshake (P5) requires | once in a slice, checks whether the peer lives, and whether the peer has published since the last look. If need be, disarms the handle and wakes the task |
//! | [`disarm`](Waiter::disarm), when it is polled again: takes the vigil back | |
//! | [`retire`](Waiter::retire), when it is dropped | removes the handle from the list |
//!
//! A wake by the reactor is a hint. The polled task looks for itself, and checks the peer if the
//! reactor asks for that. So a superfluous wake is harmless. A future that is dropped needs no
//! cleanup: its waker may be called once more.
//!
//! For a member of a set, the waker writes to the set's descriptor instead of waking a task
//! (`set/descriptor.rs`). Such a wait also ends, after a slice, if the peer has moved at all.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use super::foreign::drop_waker;
use crate::handle::endpoint::{Endpoint, Vigil};
use crate::sync::Ordering;
use crate::sys::fork::Epoch;
use crate::sys::futex::FutexWait;
use crate::tuning::FALSE_WAKES;
use crate::wait::{self, ASLEEP};

/// Locks a mutex, even after a panic of another holder: no state here is ever half
/// written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot of one handle.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The process of the reactor. In a forked child, another thread's lock on
    /// `state` may never be released.
    pub(super) epoch: Epoch,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The vigil that the reactor checks, from the first wait on. While a call of the
    /// handle runs, the vigil's `watch` is with the endpoint.
    pub(super) vigil: Option<Vigil>,
    pub(super) waker: Option<Waker>,
    /// Whether the handle waits: `sleeping` is set, and the task was not woken.
    pub(super) armed: bool,
    /// Whether the reactor has listed this slot.
    pub(super) listed: bool,
    /// Whether the end of this slice wakes the task, which then checks its peer.
    pub(super) recheck: bool,
    /// Whether the handle has not waited since the last slice.
    pub(super) unused: bool,
    /// Wakes in this slice since the handle last moved bytes.
    pub(super) false_wakes: u32,
}

/// What the reactor found out about a handle.
#[derive(Debug)]
pub(super) enum Look {
    /// Sleep on this word, expecting this value.
    Watch(FutexWait),
    /// Do not sleep on the word for the rest of the slice: the peer wakes for
    /// nothing.
    Ignore,
    /// Remove the handle from the list.
    Forget,
}

impl Waiter {
    pub(super) fn new() -> Waiter {
        Waiter {
            epoch: Epoch::current(),
            state: Mutex::default(),
        }
    }

    /// Disarms the handle when it is used again, and gives its watch back to `end`.
    /// Returns `true` if the handle must check its peer.
    pub(super) fn disarm(&self, end: &mut Endpoint) -> bool {
        let mut state = lock(&self.state);
        state.armed = false;
        let waker = state.waker.take();
        if let Some(vigil) = &mut state.vigil {
            wait::cancel_park(vigil.own_signals());
            end.return_vigil(vigil);
        }
        let recheck = mem::take(&mut state.recheck);
        drop(state);
        drop_waker(waker);
        recheck
    }

    /// Whether the handle is armed: the reactor has not woken it since.
    pub(super) fn is_armed(&self) -> bool {
        lock(&self.state).armed
    }

    /// Gives up the slot, while the handle is being dropped.
    pub(super) fn retire(&self) {
        if !self.epoch.is_current() {
            return self.retire_copy();
        }
        let mut state = lock(&self.state);
        if let Some(vigil) = &state.vigil
            && state.armed
        {
            wait::cancel_park(vigil.own_signals());
        }
        state.armed = false;
        let (vigil, waker) = (state.vigil.take(), state.waker.take());
        drop(state);
        drop(vigil); // detaches the segment, unless the handle still has its own clone
        drop_waker(waker);
    }

    /// The part of [`retire`](Self::retire) for a handle that was copied by a fork.
    fn retire_copy(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Locked by a thread that does not exist in this process. The
            // attachment stays until this process ends.
            Err(TryLockError::WouldBlock) => return,
        };
        state.armed = false;
        let (vigil, waker) = (state.vigil.take(), state.waker.take());
        drop(state);
        drop(vigil);
        // Threads that do not exist here may hold locks of the executor, so none of
        // its code runs.
        mem::forget(waker);
    }

    /// Looks at the handle, for the reactor. `slice_is_over` says that a slice has ended.
    /// If `asks` is set too, the look checks the peer by system calls. Adds the
    /// wakers to be called to `wakers`.
    pub(super) fn look(&self, slice_is_over: bool, asks: bool, wakers: &mut Vec<Waker>) -> Look {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let Some(vigil) = &mut state.vigil else {
            return Look::Forget;
        };
        let is_ignored = state.false_wakes > FALSE_WAKES;
        if slice_is_over {
            state.false_wakes = 0;
            if !state.armed && mem::replace(&mut state.unused, true) {
                state.listed = false;
                return Look::Forget;
            }
            if state.armed && asks && vigil.has_news() {
                state.recheck = true;
            }
            if state.armed && (state.recheck || is_ignored || vigil.has_moved()) {
                state.armed = false;
                wait::cancel_park(vigil.own_signals());
                wakers.extend(state.waker.take());
            }
        } else if is_ignored {
            return Look::Ignore;
        }
        let word = &vigil.own_signals().sleeping;
        // Pairs with the fence before the waker's swap, so the task sees what the waker published.
        // `wake_if_seen` swaps without a fence, so the task may look too early. The task then arms
        // again, and the waker's `wake_always` fences and wakes once more.
        let value = word.load(Ordering::Acquire); // P5, with the waker's fence
        match (state.armed, value) {
            (true, ASLEEP) => Look::Watch(FutexWait::new(word, value)),
            // A blocking call sleeps, or has promised an asymmetric fence. R1: the handle may arm
            // before the thread sleeps.
            (false, _) if wait::is_watched_unarmed(value) => {
                Look::Watch(FutexWait::new(word, value))
            }
            (true, _) => {
                // The peer has woken this handle.
                state.armed = false;
                state.false_wakes += 1;
                wait::cancel_park(vigil.own_signals());
                wakers.extend(state.waker.take());
                Look::Watch(FutexWait::new(word, 0))
            }
            // The peer sets a word that it must not set. If the handle arms next, such a peer can
            // delay its own wake to the end of the slice, not lose it.
            (false, _) => Look::Ignore,
        }
    }
}
