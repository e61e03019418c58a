//! The handle's part of a wait by the reactor.

use std::io;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
#[cfg(feature = "async")]
use std::task::{Context, Poll};

use super::Reactor;
use super::foreign::drop_waker;
use super::slot::{Waiter, lock};
#[cfg(feature = "async")]
use crate::error::{Broken, WaitError};
#[cfg(feature = "async")]
use crate::handle::endpoint::Blocked;
use crate::handle::endpoint::{Endpoint, Vigil};

/// A handle's state between two polls.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    /// The slot that is shared with the reactor. Made by the first wait.
    waiter: Option<Arc<Waiter>>,
    /// Whether the last call left the handle armed.
    armed: bool,
    /// Whether the next wait must first check the peer.
    recheck: bool,
    /// Whether a call has moved bytes since the last wait.
    moved: bool,
}

impl Parking {
    /// Takes the handle back from the reactor, at the start of each call. A handle
    /// that was copied by a fork stays as it is.
    #[inline]
    pub(crate) fn resume(&mut self, end: &mut Endpoint) {
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
            self.recheck |= waiter.disarm(end);
        }
    }

    /// Notes that a call has moved bytes.
    #[inline]
    pub(crate) fn moved(&mut self) {
        self.moved = true;
    }

    /// Waits until `ready` returns a value: the async form of [`Endpoint::wait`].
    /// The caller has resumed the handle, and found nothing.
    #[cfg(feature = "async")]
    pub(crate) fn poll<T>(
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

    /// Arms the handle as a member of a set. The reactor calls `waker` once the peer's position
    /// reaches `wanted`, or the set should look for another reason. Afterwards the caller must look
    /// once more (P5). If the last wake asked for a look at the peer, this call makes that look.
    pub(crate) fn watch(
        &mut self,
        end: &mut Endpoint,
        waker: &Waker,
        wanted: u64,
        waits_for_bytes: bool,
    ) -> io::Result<()> {
        self.resume(end);
        if mem::take(&mut self.recheck) {
            end.examine_peer(waits_for_bytes);
        }
        end.wake_before_waiting();
        let waiter = self.waiter.get_or_insert_with(|| Arc::new(Waiter::new()));
        let moved = mem::take(&mut self.moved);
        self.armed = true;
        let vigil = end.lend_vigil(None);
        let armed = arm(waiter, vigil, wanted, waker.clone(), moved);
        if armed.is_err() {
            self.disarm(end);
        }
        armed
    }

    /// Whether the handle is armed, and the reactor has not woken it since.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed && self.waiter.as_ref().is_some_and(|waiter| waiter.is_armed())
    }

    #[cfg(feature = "async")]
    fn wait<T>(
        &mut self,
        end: &mut Endpoint,
        context: &Context<'_>,
        wanted: u64,
        ready: &mut impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<Option<T>, Stopped> {
        if mem::take(&mut self.recheck) {
            let verdict = end.ask();
            // The peer may have published between the last look and its end.
            // Published bytes count first.
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            verdict?;
        }
        // Foreign code: if the clone panics, nothing has changed yet.
        let waker = context.waker().clone();
        end.wake_before_waiting();
        let waiter = self.waiter.get_or_insert_with(|| Arc::new(Waiter::new()));
        let moved = mem::take(&mut self.moved);
        self.armed = true;
        let armed = arm(waiter, end.lend_vigil(Some(wanted)), wanted, waker, moved);
        // P5: looks once more, now that the peer can see that this side sleeps.
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
#[cfg(feature = "async")]
#[derive(Debug)]
enum Stopped {
    Broken(Broken),
    /// No thread can be started to wait for this handle.
    Other(io::Error),
}

#[cfg(feature = "async")]
impl From<Blocked> for Stopped {
    fn from(blocked: Blocked) -> Stopped {
        match blocked {
            Blocked::Broken(broken) => Stopped::Broken(broken),
            Blocked::Cancelled => Stopped::Other(WaitError::Cancelled.into()),
            Blocked::TimedOut => Stopped::Other(io::ErrorKind::TimedOut.into()), // async calls have no deadline
        }
    }
}

/// Arms the handle: the reactor will wake the task when the peer's position reaches
/// `wanted`, or the peer leaves or dies. The caller must look once more. `moved`
/// says that the last wake was useful.
fn arm(
    waiter: &Arc<Waiter>,
    vigil: Vigil,
    wanted: u64,
    waker: Waker,
    moved: bool,
) -> io::Result<()> {
    let reactor = Reactor::current();
    let mut state = lock(&waiter.state);
    let known = mem::replace(&mut state.listed, true);
    if moved {
        state.false_wakes = 0;
    }
    state.unused = false;
    state.armed = true;
    reactor.note_change(); // R1: before the word is set
    // If the caller's next look may be too early, the caller looks again after a slice.
    state.recheck = !vigil.prepare_park(wanted);
    let old_vigil = state.vigil.replace(vigil);
    let old_waker = state.waker.replace(waker);
    drop(state);
    drop(old_vigil);
    drop_waker(old_waker);
    if known {
        return Ok(());
    }
    let enlisted = reactor.enlist(waiter);
    if enlisted.is_err() {
        lock(&waiter.state).listed = false;
    }
    enlisted
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::slot::Look;
    use super::*;
    use crate::sync::Ordering;
    #[cfg(feature = "async")]
    use crate::wait::AWAKE;
    use crate::wait::PROMISED;

    /// Found in review: the reactor did not sleep on the word of a handle that had
    /// promised an asymmetric fence in a blocking call. The next wake was noticed
    /// only at the end of a slice.
    #[test]
    fn a_handle_that_has_promised_a_barrier_is_watched() {
        let (_producer, mut consumer) = crate::pair().unwrap();
        let waiter = Waiter::new();
        let vigil = consumer.end().lend_vigil(None);
        let word = &vigil.own_signals().sleeping;
        word.store(PROMISED, Ordering::Relaxed); // one thread
        lock(&waiter.state).vigil = Some(vigil);
        let look = waiter.look(false, false, &mut Vec::new());
        assert!(matches!(look, Look::Watch(_)), "{look:?}");
    }

    /// Found in review: an async sleep did not reset the count of waits without a
    /// sleep. Blocking calls after it did not promise an asymmetric fence again.
    #[cfg(feature = "async")]
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
            let vigil = end.lend_vigil(None);
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
