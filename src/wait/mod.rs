//! Waiting for the peer: an eventcount over a shared futex. A side spins for a while, then parks; a
//! side that publishes unparks its peer.
//!
//! # The handshake (P5)
//!
//! ```text
//! sleeper                              waker
//! wanted = position                    position or closed = new value
//! sleeping = 1                         fence(SeqCst)
//! fence(SeqCst)                        sleeping != 1? done
//! new value? then sleeping = 0         compare-and-swap sleeping from 1 to 0
//! FUTEX_WAIT(sleeping == 1, slice)     swapped? then FUTEX_WAKE(sleeping)
//! ```
//!
//! Of two threads that each store, fence and load the other's word, at least one sees the other's
//! store. So the waker sees `sleeping == 1`, or the sleeper sees the new value.
//!
//! In the first case the waker changes the word *before* it wakes. A sleeper that has not yet
//! entered the kernel then finds an unexpected value there, and returns at once.
//!
//! | `sleeping` | means |
//! |---|---|
//! | 0 | awake, or woken |
//! | 1 | asleep, or about to be; whoever clears it owes a wake |
//! | 2 | awake, and promises a barrier before the next sleep |
//!
//! `wanted` prevents needless wakes: a sleeping writer wants a quarter of the ring, not one byte.
//! The waker never reads a `wanted` that is too old. A sleeper that misses the new value has fenced
//! before the waker. The waker loads `wanted` after its own fence, and so sees what the sleeper
//! stored before its fence. A lying peer may write any `wanted`; the sleeper looks again after each
//! slice in any case.
//!
//! A set of handles is one sleeper towards each of its peers, with one fence for all words:
//! `set/sleep.rs` has the argument.
//!
//! # The asymmetric fence: no fence on the busy side
//!
//! The waker's fence is the one costly step of a short operation, and it serves a sleep that rarely
//! comes. An asymmetric fence moves the cost to the sleeper. A side stores 2, its *promise*: before
//! its next sleep it runs a memory barrier on every processor that runs the peer
//! (`sys/membarrier.rs`).
//!
//! A side promises when it takes its role, and again after some time without a sleep. That time is
//! several waits or calls, several fences, or many bytes found without a wait (`tuning.rs`). A
//! waker that reads 2, and has registered for such barriers, omits its fence:
//!
//! ```text
//! sleeper, having promised             waker, registered
//! wanted = position                    position or closed = new value
//! sleeping = 1                         sleeping == 2? done
//! barrier everywhere                   else as above
//! new value? then sleeping = 0
//! FUTEX_WAIT(sleeping == 1, slice)
//! ```
//!
//! Why no wake-up is lost: the kernel's barrier takes effect at some point between two instructions
//! of the waker's thread. There are two cases for the waker's load of `sleeping`.
//!
//! - The load comes before that point. Then so does the store of the position: the store precedes
//!   the load in the program, and the compiler may not reorder the two. The barrier makes the store
//!   visible before the sleeper's call returns. The sleeper looks after that, sees the new
//!   position, and does not sleep.
//! - The load comes after that point. Then the load sees the 1 stored before the call, or a later
//!   value, and never the old 2. From there on the handshake above applies.
//!
//! The barrier ends the promise: after it no waker can read the old 2. So later sleeps need only a
//! fence, until 2 is stored again. The promise itself needs no ordering: it concerns later sleeps of
//! the same thread.
//!
//! Each side decides by its own abilities alone. A waker that could not register keeps its fence,
//! whatever it reads. A sleeper that could not register never promises. If the kernel refuses a
//! promised barrier after all, the sleeper uses slices of one millisecond from then on. A new
//! holder of a role revokes its predecessor's promise by a barrier (`peer/claim.rs`). A peer that
//! breaks its promise can lose only its own wake-up.
//!
//! # A peer that lies, or dies
//!
//! A sleep is cut into slices of [`SLICE`]. After each slice the sleeper looks again and asks
//! whether the peer lives. The slices of an idle reader are longer ([`IDLE_SLICE`]) if its peer
//! wakes it. A peer that sends many false wakes is ignored for the rest of the slice: the sleeper
//! then sleeps on no futex.
//!
//! [`IDLE_SLICE`]: crate::tuning::IDLE_SLICE

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

/// Values of `Signals::sleeping`; see the table at the head of this module.
pub(crate) const AWAKE: u32 = 0;
pub(crate) const ASLEEP: u32 = 1;
pub(crate) const PROMISED: u32 = 2;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// The awaited value is there.
    Ready(T),
    /// The deadline passed first.
    TimedOut,
}

/// How long a sleep may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// A slice.
    Slice,
    /// `IDLE_SLICE`, once nothing has come for `IDLE` (`tuning.rs`). For a sleeper that is sure to
    /// be woken.
    Long,
}

/// Sleeps until `ready` returns a value or an error, or the deadline passes. The caller has already
/// spun for its spin budget. A caller that never sleeps ([`SpinBudget::Always`]) goes on spinning
/// here.
///
/// `own` are the caller's signals, and `wanted` is the peer position from which on a wake is
/// useful. Calls the closure `check` at most once per [`SLICE`] of time, even across several short
/// waits. The closure says whether to go on, and how long the next sleeps may be. The answer holds
/// until the next one, within this call. A value that has become ready in the meantime takes
/// precedence over an error of the closure. After the deadline there is exactly one more look.
pub(crate) fn wait<T, E>(
    own: &Signals,
    wanted: u64,
    spinning: SpinBudget,
    deadline: Option<Instant>,
    effort: &mut Effort,
    mut ready: impl FnMut() -> Result<Option<T>, E>,
    mut check: impl FnMut() -> Result<Sleep, E>,
) -> Result<Waited<T>, E> {
    let mut naps = 0;
    let mut sleep = Sleep::Slice;
    let mut has_slept = false;
    loop {
        let now = now();
        let is_over = deadline.is_some_and(|deadline| now >= deadline);
        let mut verdict = Ok(sleep);
        let asks = now - effort.last_slice >= slice_len();
        if asks {
            effort.last_slice = now;
            naps = 0;
            verdict = check();
        }
        if has_slept || asks || is_over {
            // The peer may have published after the last look, and ended then. Published values
            // count first.
            if let Some(value) = ready()? {
                effort.idle_since = None;
                return Ok(Waited::Ready(value));
            }
            sleep = verdict?;
        }
        if is_over {
            return Ok(Waited::TimedOut);
        }
        let most = effort.slice(sleep, now);
        let nap = deadline.map_or(most, |deadline| most.min(deadline - now));
        naps += 1;

        if spinning == SpinBudget::Always {
            let until = Some(now + nap);
            if let Some(value) = spin(spinning, Duration::ZERO, until, &mut ready)? {
                return Ok(Waited::Ready(value));
            }
        } else if naps > FALSE_WAKES {
            effort.stats.sleeps += 1;
            std::thread::sleep(nap.min(SLICE)); // the peer cannot wake this
        } else if let Some(value) = park(own, wanted, nap, effort, &mut ready)? {
            effort.idle_since = None;
            return Ok(Waited::Ready(value));
        }
        has_slept = true;
    }
}

/// Parks for `nap` at most, until the peer's position is `wanted`. Returns the value if it is ready
/// before the sleep.
fn park<T, E>(
    own: &Signals,
    wanted: u64,
    nap: Duration,
    effort: &mut Effort,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    effort.prepare_park(own, wanted); // P5
    let value = ready();
    if matches!(value, Ok(None)) {
        effort.stats.sleeps += 1;
        failpoint!(SleepNow);
        futex::wait(&own.sleeping, ASLEEP, nap);
        failpoint!(Slept);
    }
    cancel_park(own);
    value
}

/// Prepares to park until the peer's position is `wanted`. The caller looks once more before it
/// sleeps. Returns `false` if that look may be too early, because the kernel refused a promised
/// barrier. For `may_have_promised`, see [`announce_park`].
pub(crate) fn prepare_park(own: &Signals, wanted: u64, may_have_promised: bool) -> bool {
    let promised = announce_park(own, wanted, may_have_promised);
    order_parks(promised)
}

/// The first half of [`prepare_park`], for a sleeper on several words. The sleeper announces each
/// park, then calls [`order_parks`] once for all. Returns whether this side still promised a
/// barrier. A side that cannot have promised since its last park does not believe the word.
/// Otherwise a peer that keeps storing 2 there would cost all processors of this process a barrier
/// each time.
pub(crate) fn announce_park(own: &Signals, wanted: u64, may_have_promised: bool) -> bool {
    own.wanted.store(wanted, Ordering::Relaxed); // P5: ordered by the fence
    let before = own.sleeping.swap(ASLEEP, Ordering::Relaxed); // P5: ordered by the fence
    failpoint!(SleepSet);
    // `before` tells whether a promise stands, unless the peer has overwritten the word against the
    // protocol. Such a peer could as well never wake this side.
    before == PROMISED && may_have_promised
}

/// The second half of [`prepare_park`]: orders the parks announced before against the looks that
/// follow. `promised` says whether this side still promised a barrier to any of these peers. One
/// fence and one barrier serve all words, since both order all earlier stores of this thread.
pub(crate) fn order_parks(promised: bool) -> bool {
    let kept = !promised || membarrier::everywhere();
    fence(Ordering::SeqCst); // P5
    kept
}

/// Cancels [`prepare_park`]. Returns whether the park still stood, so that no peer had woken it.
pub(crate) fn cancel_park(own: &Signals) -> bool {
    // Withdraws the request for a wake. A swap, since loom may order a plain store before a
    // waker's earlier swap.
    own.sleeping.swap(AWAKE, Ordering::Relaxed) == ASLEEP // P5: orders nothing
}

/// Whether the reactor must sleep on `value` of a sleeping word while the side does not wait
/// through the reactor: R1 in `reactor/mod.rs`. True of each value that this side stores. A
/// blocking wait leaves 1 there while it sleeps, and the side may arm after it.
pub(crate) fn is_watched_unarmed(value: u32) -> bool {
    matches!(value, AWAKE | ASLEEP | PROMISED)
}

/// The length of a slice: [`SLICE`], unless a test sets longer ones to expose missed wakes.
#[inline]
pub(crate) fn slice_len() -> Duration {
    #[cfg(feature = "__failpoints")]
    if let Some(len) = crate::sync::failpoint::slice() {
        return len;
    }
    SLICE
}

/// Polls `ready` for the spin budget, and for a slice at most. At least `pause` passes between two
/// polls.
#[inline]
pub(crate) fn spin<T, E>(
    spinning: SpinBudget,
    pause: Duration,
    deadline: Option<Instant>,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let most = match spinning {
        SpinBudget::None => return Ok(None),
        SpinBudget::For(time) => time.min(SLICE),
        SpinBudget::Always => SLICE,
    };
    // A wait that ends within the first polls reads no clock.
    let looks = if pause.is_zero() { SPINS_PER_LOOK } else { 1 };
    let mut until = None;
    loop {
        for _ in 0..looks {
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            if pause.is_zero() {
                spin_loop();
            } else {
                coalesce::pause(pause);
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

/// Unparks the peer if it sleeps, whatever it waits for. Used for a change that no position shows.
/// Returns whether the peer slept.
pub(crate) fn wake_always(peer: &Signals) -> bool {
    fence(Ordering::SeqCst); // P5
    peer.sleeping.load(Ordering::Relaxed) == ASLEEP && unpark(peer) // P5: ordered by the fence
}

#[cold]
fn unpark(peer: &Signals) -> bool {
    // The word changes before the wake; see the head of this module.
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
