//! What one handle and the reactor share, and the handle's half of an async
//! wait.
//!
//! | the handle | the reactor |
//! |---|---|
//! | [`arm`](Waiter::arm): leaves its vigil and its waker, says in the segment that it sleeps | [`look`](Waiter::look): has the peer cleared the word? then disarms, and wakes the task |
//! | looks once more, as the handshake (P5) wants it | once in a slice: asks whether the peer lives; if not, the same |
//! | [`disarm`](Waiter::disarm), when it is polled again: takes the vigil back | |
//! | [`retire`](Waiter::retire), when it is dropped | forgets it |
//!
//! A wake of the reactor is a hint: the task that is polled again looks for
//! itself, and asks itself if the reactor thinks that the peer is dead. So a
//! wake too many does no harm, and a future that is dropped leaves nothing to
//! be undone: all that it leaves is a waker that may be called once more.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use super::foreign::let_go;
use super::reactor::Reactor;
use crate::error::Broken;
use crate::handle::endpoint::{Blocked, Endpoint, Vigil};
use crate::sync::Ordering;
use crate::sys::fork::Epoch;
use crate::sys::futex::Expected;
use crate::wait::{self, ASLEEP, AWAKE, FALSE_WAKES, PROMISED};

/// Locks, whoever panicked meanwhile: no state here is ever half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One handle, as the reactor sees it.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The process whose reactor this is of. In a forked child, another
    /// thread's lock on `state` may never be given back.
    epoch: Epoch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What to look at, from the first wait on. While the handle is at work,
    /// it has the watch that belongs to it.
    vigil: Option<Vigil>,
    waker: Option<Waker>,
    /// Whether the handle waits: `sleeping` was set, and nobody was woken.
    armed: bool,
    /// Whether the reactor has this waiter on its list.
    listed: bool,
    /// Whether the reactor wants the handle to ask after its peer.
    doubt: bool,
    /// Whether the handle has not waited for a slice.
    unused: bool,
    /// Wakes in this slice after which the handle found nothing.
    alarms: u32,
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
    fn new() -> Waiter {
        Waiter {
            epoch: Epoch::current(),
            state: Mutex::default(),
        }
    }

    /// From here on the reactor wakes the task when the peer's position has
    /// come to `wanted`, or the peer has left or died. The caller looks once
    /// more. `moved` says that the last wake was for something.
    fn arm(
        self: &Arc<Self>,
        vigil: Vigil,
        wanted: u64,
        waker: Waker,
        moved: bool,
    ) -> io::Result<()> {
        let reactor = Reactor::current();
        let mut state = lock(&self.state);
        let known = mem::replace(&mut state.listed, true);
        if moved {
            state.alarms = 0;
        }
        state.unused = false;
        state.armed = true;
        reactor.stir(); // R1: before the word is set
        // If the caller's look may be too early, it looks again in a slice.
        state.doubt = !wait::announce(vigil.own_signals(), wanted);
        let old_vigil = state.vigil.replace(vigil);
        let old_waker = state.waker.replace(waker);
        drop(state);
        drop(old_vigil);
        let_go(old_waker);
        if known {
            return Ok(());
        }
        let enlisted = reactor.enlist(self);
        if enlisted.is_err() {
            lock(&self.state).listed = false;
        }
        enlisted
    }

    /// The handle is at work again. Gives its watch back, and says whether the
    /// reactor wants it to ask after its peer.
    fn disarm(&self, end: &mut Endpoint) -> bool {
        let mut state = lock(&self.state);
        state.armed = false;
        let waker = state.waker.take();
        if let Some(vigil) = &mut state.vigil {
            wait::retract(vigil.own_signals());
            end.take_back(vigil);
        }
        let doubt = mem::take(&mut state.doubt);
        drop(state);
        let_go(waker);
        doubt
    }

    /// The handle is gone. Lets go of the segment.
    fn retire(&self) {
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

/// A handle's side of its waits: where it is between two polls.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// From the first wait on.
    waiter: Option<Arc<Waiter>>,
    /// Whether the last call left the handle armed.
    armed: bool,
    /// Whether the reactor wants the peer to be asked after.
    doubt: bool,
    /// Whether a call has moved bytes since the last wait.
    moved: bool,
}

impl Parking {
    /// Takes the handle back from the reactor, at the start of each call.
    /// A handle that a fork made is left as it is.
    #[inline]
    pub(super) fn resume(&mut self, end: &mut Endpoint) {
        if self.armed {
            self.disarm(end);
        }
    }

    #[cold]
    fn disarm(&mut self, end: &mut Endpoint) {
        self.armed = false;
        if let Some(waiter) = &self.waiter
            && waiter.epoch.is_current()
        {
            self.doubt |= waiter.disarm(end);
        }
    }

    /// A call has done what it was to do.
    #[inline]
    pub(super) fn moved(&mut self) {
        self.moved = true;
    }

    /// Waits until `ready` gives a value; the handle has been resumed, and has
    /// found nothing. The counterpart of [`Endpoint::wait`].
    pub(super) fn poll<T>(
        &mut self,
        end: &mut Endpoint,
        context: &Context<'_>,
        wanted: u64,
        mut ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Poll<io::Result<T>> {
        let waited = self.wait(end, context, wanted, &mut ready);
        match waited {
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Ok(None) => Poll::Pending,
            Err(Stopped::Broken(broken)) => Poll::Ready(Err(end.latch(broken).into())),
            Err(Stopped::Other(error)) => Poll::Ready(Err(error)),
        }
    }

    fn wait<T>(
        &mut self,
        end: &mut Endpoint,
        context: &Context<'_>,
        wanted: u64,
        ready: &mut impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<Option<T>, Stopped> {
        if mem::take(&mut self.doubt) {
            let verdict = end.ask();
            // The peer may have published between the last look and its end,
            // and what it published counts first.
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            verdict?;
        }
        // The code of the executor. If it panics, nothing has changed yet.
        let waker = context.waker().clone();
        end.wake_before_waiting();
        let waiter = self.waiter.get_or_insert_with(|| Arc::new(Waiter::new()));
        let moved = mem::take(&mut self.moved);
        self.armed = true;
        let armed = waiter.arm(end.lend_vigil(), wanted, waker, moved);
        // P5: once more, now that the peer can tell that we sleep.
        let value = armed.map_err(Stopped::Other).and_then(|()| Ok(ready()?));
        match value {
            Ok(None) => end.count_sleep(),
            _ => self.disarm(end),
        }
        value
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            waiter.retire();
        }
    }
}

/// Why an async call gives up.
#[derive(Debug)]
enum Stopped {
    Broken(Broken),
    /// Nobody can wait for us: there is no thread to be had.
    Other(io::Error),
}

impl From<Blocked> for Stopped {
    fn from(blocked: Blocked) -> Stopped {
        match blocked {
            Blocked::Broken(broken) => Stopped::Broken(broken),
            Blocked::TimedOut => Stopped::Other(io::ErrorKind::TimedOut.into()), // no deadline here
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Found in review: the reactor did not sleep on the word of a handle that
    /// had promised a barrier in a blocking call, so that the next wake was
    /// noticed at the end of a slice.
    #[test]
    fn a_handle_that_has_promised_a_barrier_is_watched() {
        let (_producer, mut consumer) = crate::pair().unwrap();
        let waiter = Waiter::new();
        let vigil = consumer.end().lend_vigil();
        let word = &vigil.own_signals().sleeping;
        word.store(PROMISED, Ordering::Relaxed); // one thread
        lock(&waiter.state).vigil = Some(vigil);
        let look = waiter.look(false, false, &mut Vec::new());
        assert!(matches!(look, Look::Watch(_)), "{look:?}");
    }

    /// Found in review: an async sleep left the count of waits without a sleep
    /// as it was, so that blocking calls after it did not promise again.
    #[test]
    fn blocking_calls_after_an_async_sleep_promise_again() {
        let (_producer, mut consumer) = crate::pair().unwrap();
        let end = consumer.end();
        let waits = |end: &mut Endpoint| {
            for _ in 0..100 {
                let ready = || Ok(Some(()));
                end.wait(0, None, ready).unwrap();
            }
        };
        let word = |end: &mut Endpoint| {
            let vigil = end.lend_vigil();
            vigil.own_signals().sleeping.load(Ordering::Relaxed) // one thread
        };
        waits(end);
        let promised = word(end);
        let context = Context::from_waker(Waker::noop());
        let mut parking = Parking::default();
        let polled = parking.poll(end, &context, u64::MAX, || Ok(None::<()>));
        assert!(polled.is_pending());
        parking.resume(end);
        assert_eq!(word(end), AWAKE);
        waits(end);
        assert_eq!(word(end), promised);
    }
}
