//! Waiting for the peer: spin for a while, then sleep; and waking a peer that
//! sleeps.
//!
//! # The handshake (P5)
//!
//! ```text
//! sleeper                              waker
//! wanted = position                    position or closed = new value
//! sleeping = 1                         fence(SeqCst)
//! fence(SeqCst)                        sleeping != 1? done
//! is it there? then sleeping = 0       sleeping from 1 to 0; was 1?
//! FUTEX_WAIT(sleeping == 1, slice)     FUTEX_WAKE(sleeping)
//! ```
//!
//! Of two threads that each store, fence and load the other's word, at least
//! one sees the other's store. So either the waker sees `sleeping == 1`, or
//! the sleeper sees the new value. In the first case the waker changes the
//! word *before* it wakes: a sleeper that has not yet entered the kernel finds
//! another value there than it expects, and returns at once.
//!
//! | `sleeping` | means |
//! |---|---|
//! | 0 | awake, or woken |
//! | 1 | asleep, or about to be; whoever clears it owes a wake |
//! | 2 | awake, and promises a barrier before the next sleep |
//!
//! `wanted` keeps a waker from waking for nothing: a sleeping writer wants a
//! quarter of the ring, not one byte. It is never too old: a sleeper that misses
//! the new value has fenced first, so the waker, which loads `wanted` after its
//! own fence, sees what was stored before the sleeper's. It may be a lie; the
//! sleeper looks again after each slice whatever happens.
//!
//! # The promise: no fence on the busy side
//!
//! The waker's fence is the one costly step of a short operation, and it is
//! there for a sleep that hardly ever comes. So a side that is new, or that has
//! waited, gone on or fenced for its peer's sake several times without a sleep, or
//! found plenty without a wait, stores 2: *before I sleep next, I have the kernel
//! do a barrier on every processor that runs my peer* (`sys/membarrier.rs`). A waker that
//! reads 2, and has registered for such barriers, leaves its fence out:
//!
//! ```text
//! sleeper, having promised             waker, registered
//! wanted = position                    position or closed = new value
//! sleeping = 1                         sleeping == 2? done
//! barrier everywhere                   else as above
//! is it there? then sleeping = 0
//! FUTEX_WAIT(sleeping == 1, slice)
//! ```
//!
//! Why no wake-up is lost. The kernel's barrier takes effect in the waker's
//! thread at some point between two of its instructions. Take the waker's load
//! of `sleeping`.
//!
//! - It comes before that point: so does the store of the position, which is
//!   before the load in the program and which the compiler may not move behind
//!   it. The barrier makes the store visible before the sleeper's call returns,
//!   and the sleeper, who looks after that, sees it and does not sleep.
//! - It comes after that point: it sees the 1 that was stored before the call,
//!   or a later value, never the 2 again. What follows is the handshake above.
//!
//! The barrier ends the promise: the next sleep is announced over a 1 that no
//! waker can read as the old 2, so it needs a fence only, until 2 is stored
//! anew. To promise needs no order at all: what is promised is about sleeps
//! that come later in the same thread.
//!
//! Who must do what is decided by each side for itself, from what it knows of
//! itself: a waker that could not register keeps its fence whatever it reads; a
//! sleeper that could not register promises nothing. Should a promised barrier
//! be refused after all, the sleeper sleeps in slices of a millisecond from
//! then on. A new holder of a role takes its predecessor's promise back by a
//! barrier (`peer/claim.rs`). A peer that promises and does not keep it has its own
//! sleep to lose.
//!
//! # A peer that lies, or dies
//!
//! A sleep is cut into slices of [`SLICE`]. After each one the sleeper looks
//! again and asks whether the peer lives. A peer that wakes it again and again
//! for nothing gets it to sleep its slices where no wake reaches it.

pub(crate) mod coalesce;
pub(crate) mod deadline;
mod effort;
mod policy;

pub(crate) use effort::Effort;
pub(crate) use policy::SpinBudget;
pub use policy::{Stats, WaitPolicy};

use std::time::{Duration, Instant};

use crate::segment::layout::Signals;
use crate::sync::failpoint::failpoint;
use crate::sync::{Ordering, fence, now, spin_loop};
use crate::sys::futex;
use crate::sys::membarrier;
use crate::tuning::{FALSE_WAKES, SLICE, SPINS_PER_LOOK};

/// `Signals::sleeping`; see the module's head.
pub(crate) const AWAKE: u32 = 0;
pub(crate) const ASLEEP: u32 = 1;
pub(crate) const PROMISED: u32 = 2;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// What was waited for is there.
    Ready(T),
    /// The deadline passed first.
    TimedOut,
}

/// Sleeps until `ready` gives a value, or an error, or the deadline passes.
/// The caller has spun for as long as its policy says; one that never sleeps
/// spins on here.
///
/// `own` is the caller's and `wanted` the position of the peer that would be
/// worth a wake. `slice` is called once in a slice, however short the waits
/// are; what has become ready meanwhile counts before an error from it. A
/// deadline that has passed leaves one look, and no more.
pub(crate) fn wait<T, E>(
    own: &Signals,
    wanted: u64,
    spinning: SpinBudget,
    deadline: Option<Instant>,
    effort: &mut Effort,
    mut ready: impl FnMut() -> Result<Option<T>, E>,
    mut slice: impl FnMut() -> Result<(), E>,
) -> Result<Waited<T>, E> {
    let mut naps = 0;
    let mut has_slept = false;
    loop {
        let now = now();
        let is_over = deadline.is_some_and(|deadline| now >= deadline);
        let mut verdict = Ok(());
        let asks = now - effort.last_slice >= slice_len();
        if asks {
            effort.last_slice = now;
            naps = 0;
            verdict = slice();
        }
        if has_slept || asks || is_over {
            // The peer may have published between the last look and its end,
            // and what it published counts first.
            if let Some(value) = ready()? {
                return Ok(Waited::Ready(value));
            }
            verdict?;
        }
        if is_over {
            return Ok(Waited::TimedOut);
        }
        let most = effort.slice();
        let nap = deadline.map_or(most, |deadline| most.min(deadline - now));
        naps += 1;

        if spinning == SpinBudget::Always {
            let until = Some(now + nap);
            if let Some(value) = spin(spinning, Duration::ZERO, until, &mut ready)? {
                return Ok(Waited::Ready(value));
            }
        } else if naps > FALSE_WAKES {
            effort.stats.sleeps += 1;
            std::thread::sleep(nap); // out of the peer's reach
        } else {
            effort.prepare_park(own, wanted); // P5
            let value = ready();
            if matches!(value, Ok(None)) {
                effort.stats.sleeps += 1;
                failpoint!(SleepNow);
                futex::wait(&own.sleeping, ASLEEP, nap);
                failpoint!(Slept);
            }
            cancel_park(own);
            if let Some(value) = value? {
                return Ok(Waited::Ready(value));
            }
        }
        has_slept = true;
    }
}

/// Says that this side is about to sleep until the peer's position is
/// `wanted`. The caller looks once more before it does. `false` if that look
/// may be too early, since a barrier that was promised was refused.
pub(crate) fn prepare_park(own: &Signals, wanted: u64) -> bool {
    own.wanted.store(wanted, Ordering::Relaxed); // P5: ordered by the fence
    let before = own.sleeping.swap(ASLEEP, Ordering::Relaxed); // P5: ordered by the fence
    failpoint!(SleepSet);
    // The word says so if a promise stands, or else the peer has overwritten
    // it, which it has no business to: such a one need not wake us at all.
    let kept = before != PROMISED || membarrier::everywhere();
    fence(Ordering::SeqCst); // P5
    kept
}

/// Takes that back.
pub(crate) fn cancel_park(own: &Signals) {
    // Nobody owes a wake. Swapped, so that it comes after a waker's swap also
    // for loom, which lets a store come in between.
    own.sleeping.swap(AWAKE, Ordering::Relaxed); // P5: orders nothing
}

/// [`SLICE`], unless a test has made slices so long that a missed wake shows.
#[inline]
fn slice_len() -> Duration {
    #[cfg(feature = "__failpoints")]
    if let Some(len) = crate::sync::failpoint::slice() {
        return len;
    }
    SLICE
}

/// Looks again and again, for as long as it is told and at most a slice, with
/// at least `rest` between two looks.
#[inline]
pub(crate) fn spin<T, E>(
    spinning: SpinBudget,
    rest: Duration,
    deadline: Option<Instant>,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let most = match spinning {
        SpinBudget::None => return Ok(None),
        SpinBudget::For(time) => time.min(SLICE),
        SpinBudget::Always => SLICE,
    };
    // The clock is looked at only by those who wait for longer.
    let looks = if rest.is_zero() { SPINS_PER_LOOK } else { 1 };
    let mut until = None;
    loop {
        for _ in 0..looks {
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            if rest.is_zero() {
                spin_loop();
            } else {
                coalesce::rest(rest);
            }
        }
        let now = now();
        let latest = *until.get_or_insert_with(|| {
            let until = now + most;
            deadline.map_or(until, |deadline| until.min(deadline))
        });
        if now >= latest {
            return Ok(None);
        }
    }
}

/// Wakes the peer if it sleeps, whatever it waits for: something has changed
/// that no position tells. Says whether it did.
pub(crate) fn wake_always(peer: &Signals) -> bool {
    fence(Ordering::SeqCst); // P5
    peer.sleeping.load(Ordering::Relaxed) == ASLEEP && unpark(peer) // P5: ordered by the fence
}

#[cold]
fn unpark(peer: &Signals) -> bool {
    // The word changes before the wake: see the module's head.
    failpoint!(WakeSeen);
    let slept = peer
        .sleeping
        .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed) // P5: ordered by the fence
        .is_ok();
    if slept {
        failpoint!(WakeCleared);
        futex::wake(&peer.sleeping);
        failpoint!(Woken);
    }
    slept
}

#[cfg(all(test, not(loom)))]
mod tests;
