//! Waiting for the peer: spin for a while, then sleep; and waking a peer that
//! sleeps.
//!
//! # The handshake (P5)
//!
//! ```text
//! sleeper                              waker
//! wanted = position                    position or closed = new value
//! sleeping = 1                         fence(SeqCst)
//! fence(SeqCst)                        sleeping == 0? done
//! is it there? then sleeping = 0       sleeping swapped to 0; was 1?
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
//!
//! `wanted` keeps a waker from waking for nothing: a sleeping writer wants a
//! quarter of the ring, not one byte. It may be stale or a lie; the sleeper
//! looks again after each slice whatever happens.
//!
//! # A peer that lies, or dies
//!
//! A sleep is cut into slices of [`SLICE`]. After each one the sleeper looks
//! again and asks whether the peer lives. A peer that wakes it again and again
//! for nothing gets it to sleep its slices where no wake reaches it.

use std::time::{Duration, Instant};

use crate::futex;
use crate::layout::Side;
use crate::steps::step;
use crate::sync::{Ordering, fence, spin_loop};

/// How long a sleeper sleeps before it looks whether its peer lives.
pub(crate) const SLICE: Duration = Duration::from_millis(10);
/// How long a waiter spins before it sleeps: about the cost of a wake, so
/// that waiting costs at most twice what knowing the future would.
const SPIN: Duration = Duration::from_micros(30);
/// Spins between two looks at the clock.
const SPINS_PER_LOOK: u32 = 64;
/// Wakes for nothing within one slice that a peer is allowed.
const FALSE_WAKES: u32 = 16;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// What was waited for is there.
    Ready(T),
    /// The deadline passed first.
    TimedOut,
}

/// What waiting and waking have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How often this side went to sleep: one system call each.
    pub sleeps: u64,
    /// How often this side woke its peer: one system call each.
    pub wakes: u64,
}

/// Waits until `ready` gives a value, or an error, or the deadline passes.
///
/// `own` is the caller's line and `wanted` the position of the peer that would
/// be worth a wake. `spins` says whether looking again and again can help;
/// it cannot where the peer needs this very processor. `slice` is called between two sleeps, with the clock; an
/// error from it, or from `ready`, ends the wait.
pub(crate) fn wait<T, E>(
    own: &Side,
    wanted: u64,
    spins: bool,
    deadline: Option<Instant>,
    stats: &mut Stats,
    mut ready: impl FnMut() -> Result<Option<T>, E>,
    mut slice: impl FnMut() -> Result<(), E>,
) -> Result<Waited<T>, E> {
    if spins && let Some(value) = spin(deadline, &mut ready)? {
        return Ok(Waited::Ready(value));
    }
    let mut asked = Instant::now();
    let mut false_wakes = 0;
    loop {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(Waited::TimedOut);
        }
        let nap = deadline.map_or(SLICE, |deadline| SLICE.min(deadline - now));

        own.wanted.store(wanted, Ordering::Relaxed); // P5: before `sleeping`
        own.sleeping.store(1, Ordering::Release); // P5
        step!(SleepSet);
        fence(Ordering::SeqCst); // P5
        match ready() {
            Ok(None) => {}
            ended => {
                own.sleeping.store(0, Ordering::Relaxed); // nobody owes a wake
                if let Some(value) = ended? {
                    return Ok(Waited::Ready(value));
                }
            }
        }
        stats.sleeps += 1;
        step!(SleepNow);
        if false_wakes < FALSE_WAKES {
            futex::wait(&own.sleeping, 1, nap);
            own.sleeping.store(0, Ordering::Relaxed); // nobody owes a wake
        } else {
            own.sleeping.store(0, Ordering::Relaxed); // out of the peer's reach
            std::thread::sleep(nap);
        }
        step!(Slept);

        if let Some(value) = ready()? {
            return Ok(Waited::Ready(value));
        }
        if asked.elapsed() < SLICE {
            false_wakes += 1;
        } else {
            false_wakes = 0;
            asked = Instant::now();
            let verdict = slice();
            // The peer may have published between the last look and its end,
            // and what it published counts first.
            if let Some(value) = ready()? {
                return Ok(Waited::Ready(value));
            }
            verdict?;
        }
    }
}

/// Looks again and again for [`SPIN`].
fn spin<T, E>(
    deadline: Option<Instant>,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    if let Some(value) = ready()? {
        return Ok(Some(value));
    }
    let mut until = Instant::now() + SPIN;
    if let Some(deadline) = deadline {
        until = until.min(deadline);
    }
    loop {
        for _ in 0..SPINS_PER_LOOK {
            if let Some(value) = ready()? {
                return Ok(Some(value));
            }
            spin_loop();
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

/// Wakes the peer if it sleeps and waits for no more than `position`, which
/// the caller has just published. Returns whether it did.
#[inline]
pub(crate) fn wake(peer: &Side, position: u64) -> bool {
    fence(Ordering::SeqCst); // P5
    if peer.sleeping.load(Ordering::Acquire) == 0 {
        // P5: `wanted` before it
        return false;
    }
    let wanted = peer.wanted.load(Ordering::Relaxed); // P5: after `sleeping`
    // Positions wrap, so "not yet there" is a distance of half the range.
    if position.wrapping_sub(wanted) > u64::MAX / 2 {
        return false;
    }
    rouse(peer)
}

/// Wakes the peer if it sleeps, whatever it waits for: something has changed
/// that no position tells.
pub(crate) fn wake_always(peer: &Side) -> bool {
    fence(Ordering::SeqCst); // P5
    rouse(peer)
}

#[cold]
fn rouse(peer: &Side) -> bool {
    // The word changes before the wake: see the module's head.
    step!(WakeSeen);
    let slept = peer.sleeping.swap(0, Ordering::Relaxed) == 1; // P5: ordered by the fence
    if slept {
        step!(WakeCleared);
        futex::wake(&peer.sleeping);
        step!(Woken);
    }
    slept
}
