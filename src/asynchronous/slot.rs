//! What one handle and the reactor share.
//!
//! | the handle | the reactor |
//! |---|---|
//! | `arm`: leaves its vigil and its waker, says in the segment that it sleeps | [`look`](Waiter::look): has the peer cleared the word? then disarms, and wakes the task |
//! | looks once more, as the handshake (P5) wants it | once in a slice: asks whether the peer lives; if not, the same |
//! | [`disarm`](Waiter::disarm), when it is polled again: takes the vigil back | |
//! | [`retire`](Waiter::retire), when it is dropped | forgets it |
//!
//! A wake of the reactor is a hint: the task that is polled again looks for
//! itself, and asks itself if the reactor thinks that the peer is dead. So a
//! wake too many does no harm, and a future that is dropped leaves nothing to
//! be undone: all that it leaves is a waker that may be called once more.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use super::foreign::let_go;
use crate::handle::endpoint::{Endpoint, Vigil};
use crate::sync::Ordering;
use crate::sys::fork::Epoch;
use crate::sys::futex::Expected;
use crate::tuning::FALSE_WAKES;
use crate::wait::{self, ASLEEP, AWAKE, PROMISED};

/// Locks, whoever panicked meanwhile: no state here is ever half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One handle, as the reactor sees it.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The process whose reactor this is of. In a forked child, another
    /// thread's lock on `state` may never be given back.
    pub(super) epoch: Epoch,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What to look at, from the first wait on. While the handle is at work,
    /// it has the watch that belongs to it.
    pub(super) vigil: Option<Vigil>,
    pub(super) waker: Option<Waker>,
    /// Whether the handle waits: `sleeping` was set, and nobody was woken.
    pub(super) armed: bool,
    /// Whether the reactor has this waiter on its list.
    pub(super) listed: bool,
    /// Whether the reactor wants the handle to ask after its peer.
    pub(super) doubt: bool,
    /// Whether the handle has not waited for a slice.
    pub(super) unused: bool,
    /// Wakes in this slice after which the handle found nothing.
    pub(super) alarms: u32,
}

/// What the reactor has found out about a waiter.
#[derive(Debug)]
pub(super) enum Look {
    /// To be watched, with this value.
    Watch(Expected),
    /// Not to be watched until the slice is over: the peer wakes for nothing.
    Ignore,
    /// To be taken off the list.
    Forget,
}

impl Waiter {
    pub(super) fn new() -> Waiter {
        Waiter {
            epoch: Epoch::current(),
            state: Mutex::default(),
        }
    }

    /// The handle is at work again. Gives its watch back, and says whether the
    /// reactor wants it to ask after its peer.
    pub(super) fn disarm(&self, end: &mut Endpoint) -> bool {
        let mut state = lock(&self.state);
        state.armed = false;
        let waker = state.waker.take();
        if let Some(vigil) = &mut state.vigil {
            wait::retract(vigil.own_signals());
            end.return_vigil(vigil);
        }
        let doubt = mem::take(&mut state.doubt);
        drop(state);
        let_go(waker);
        doubt
    }

    /// The handle is gone. Lets go of the segment.
    pub(super) fn retire(&self) {
        if !self.epoch.is_current() {
            return self.retire_copy();
        }
        let mut state = lock(&self.state);
        if let Some(vigil) = &state.vigil
            && state.armed
        {
            wait::retract(vigil.own_signals());
        }
        state.armed = false;
        let (vigil, waker) = (state.vigil.take(), state.waker.take());
        drop(state);
        drop(vigil); // detaches here, or with the handle
        let_go(waker);
    }

    /// [`retire`](Self::retire), of a copy that a fork made.
    fn retire_copy(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // By a thread that is not here: the attachment stays until this process ends.
            Err(TryLockError::WouldBlock) => return,
        };
        state.armed = false;
        let (vigil, waker) = (state.vigil.take(), state.waker.take());
        drop(state);
        drop(vigil);
        // The executor's locks may be held by threads that are not here: none of its code runs.
        mem::forget(waker);
    }

    /// The reactor's look. Once in a slice the time is up, and of some waiters
    /// it `asks` then after the peer, which takes system calls. `wakers` are
    /// those to wake.
    pub(super) fn look(&self, slice: bool, asks: bool, wakers: &mut Vec<Waker>) -> Look {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let Some(vigil) = &mut state.vigil else {
            return Look::Forget;
        };
        let is_ignored = state.alarms > FALSE_WAKES;
        if slice {
            state.alarms = 0;
            if !state.armed && mem::replace(&mut state.unused, true) {
                state.listed = false;
                return Look::Forget;
            }
            if state.armed && asks && vigil.has_news() {
                state.doubt = true;
            }
            if state.armed && (state.doubt || is_ignored) {
                state.armed = false;
                wait::retract(vigil.own_signals());
                wakers.extend(state.waker.take());
            }
        } else if is_ignored {
            return Look::Ignore;
        }
        let word = &vigil.own_signals().sleeping;
        let value = word.load(Ordering::Acquire); // P5: what was published before it was cleared
        match (state.armed, value) {
            // A promise is from a call that blocked.
            (true, ASLEEP) | (false, AWAKE | PROMISED) => Look::Watch(Expected::new(word, value)),
            (true, _) => {
                // Woken by the peer.
                state.armed = false;
                state.alarms += 1;
                wait::retract(vigil.own_signals());
                wakers.extend(state.waker.take());
                Look::Watch(Expected::new(word, 0))
            }
            // The peer sets what is not its to set.
            (false, _) => Look::Ignore,
        }
    }
}
