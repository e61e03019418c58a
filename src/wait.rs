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
use crate::layout::Signals;
use crate::steps::step;
use crate::sync::{Ordering, fence, now, spin_loop};

/// How long a sleeper sleeps before it looks whether its peer lives.
pub(crate) const SLICE: Duration = Duration::from_millis(10);
/// How long a waiter spins before it sleeps, by default: about the cost of a
/// wake, so that waiting costs at most twice what knowing the future would.
const SPIN: Duration = Duration::from_micros(30);
/// Spins between two looks at the clock.
const SPINS_PER_LOOK: u32 = 64;
/// Wakes within one slice that a peer is allowed.
pub(crate) const FALSE_WAKES: u32 = 16;

/// How a blocking call waits for the peer.
///
/// Whatever the policy, a peer that dies and a cancel flag are noticed within
/// about ten milliseconds.
///
/// # Examples
///
/// ```
/// use shmpipe::WaitPolicy;
///
/// let (mut producer, _consumer) = shmpipe::pair()?;
/// assert_eq!(producer.wait_policy(), WaitPolicy::default());
/// producer.set_wait_policy(WaitPolicy::Park);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Looks again and again and never sleeps: the lowest latency, for a
    /// processor. Where both sides may use one processor only, the same one,
    /// this is slow.
    Spin,
    /// Looks again and again for so long, at most ten milliseconds, then
    /// sleeps; sleeps at once where both sides may use one processor only. The
    /// default is 30 microseconds, about the cost of a wake.
    SpinThenPark(Duration),
    /// Sleeps at once: the least processor time.
    Park,
}

impl Default for WaitPolicy {
    fn default() -> WaitPolicy {
        WaitPolicy::SpinThenPark(SPIN)
    }
}

/// How long a wait spins before it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spinning {
    Not,
    For(Duration),
    Always,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// What was waited for is there.
    Ready(T),
    /// The deadline passed first.
    TimedOut,
}

/// What waiting and waking have cost.
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use std::time::Duration;
///
/// let (_producer, mut consumer) = shmpipe::pair()?;
/// consumer.set_timeout(Some(Duration::from_millis(1)));
/// consumer.set_wait_policy(shmpipe::WaitPolicy::Park);
/// assert!(consumer.read(&mut [0]).is_err()); // timed out
/// assert!(consumer.stats().sleeps > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How often this side went to sleep: one system call each. Of an async
    /// handle, how often a call was pending.
    pub sleeps: u64,
    /// How often this side woke its peer: one system call each.
    pub wakes: u64,
}

/// What a side keeps from one wait to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) stats: Stats,
    /// When it last asked whether there is a reason to wait.
    asked: Instant,
}

impl Effort {
    pub(crate) fn new() -> Effort {
        Effort {
            stats: Stats::default(),
            asked: now(),
        }
    }
}

/// Waits until `ready` gives a value, or an error, or the deadline passes.
///
/// `own` is the caller's and `wanted` the position of the peer that would be
/// worth a wake. `slice` is called once in a slice, however short the waits
/// are; what has become ready meanwhile counts before an error from it.
pub(crate) fn wait<T, E>(
    own: &Signals,
    wanted: u64,
    spinning: Spinning,
    deadline: Option<Instant>,
    effort: &mut Effort,
    mut ready: impl FnMut() -> Result<Option<T>, E>,
    mut slice: impl FnMut() -> Result<(), E>,
) -> Result<Waited<T>, E> {
    if spinning != Spinning::Not
        && let Some(value) = spin(spinning, deadline, &mut ready)?
    {
        return Ok(Waited::Ready(value));
    }
    let mut naps = 0;
    loop {
        let now = now();
        if now - effort.asked >= slice_len() {
            effort.asked = now;
            naps = 0;
            let verdict = slice();
            // The peer may have published between the last look and its end,
            // and what it published counts first.
            if let Some(value) = ready()? {
                return Ok(Waited::Ready(value));
            }
            verdict?;
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(Waited::TimedOut);
        }
        let most = slice_len();
        let nap = deadline.map_or(most, |deadline| most.min(deadline - now));
        naps += 1;

        if spinning == Spinning::Always {
            let until = Some(now + nap);
            if let Some(value) = spin(spinning, until, &mut ready)? {
                return Ok(Waited::Ready(value));
            }
        } else if naps > FALSE_WAKES {
            effort.stats.sleeps += 1;
            std::thread::sleep(nap); // out of the peer's reach
        } else {
            announce(own, wanted);
            let value = ready();
            if matches!(value, Ok(None)) {
                effort.stats.sleeps += 1;
                step!(SleepNow);
                futex::wait(&own.sleeping, 1, nap);
                step!(Slept);
            }
            retract(own);
            if let Some(value) = value? {
                return Ok(Waited::Ready(value));
            }
        }
        if let Some(value) = ready()? {
            return Ok(Waited::Ready(value));
        }
    }
}

/// Says that this side is about to sleep until the peer's position is
/// `wanted`. The caller looks once more before it does.
pub(crate) fn announce(own: &Signals, wanted: u64) {
    own.wanted.store(wanted, Ordering::Relaxed); // P5: before `sleeping`
    own.sleeping.store(1, Ordering::Release); // P5
    step!(SleepSet);
    fence(Ordering::SeqCst); // P5
}

/// Takes that back.
pub(crate) fn retract(own: &Signals) {
    // Nobody owes a wake. Swapped, so that it comes after a waker's swap also
    // for loom, which lets a store come in between.
    own.sleeping.swap(0, Ordering::Relaxed); // P5: orders nothing
}

/// [`SLICE`], unless a test has made slices so long that a missed wake shows.
#[inline]
fn slice_len() -> Duration {
    #[cfg(feature = "kill-points")]
    if let Some(len) = crate::steps::slice() {
        return len;
    }
    SLICE
}

/// Looks again and again, for as long as it is told and at most a slice.
fn spin<T, E>(
    spinning: Spinning,
    deadline: Option<Instant>,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    if let Some(value) = ready()? {
        return Ok(Some(value));
    }
    let most = match spinning {
        Spinning::For(time) => time.min(SLICE),
        Spinning::Always | Spinning::Not => SLICE,
    };
    let mut until = now() + most;
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
        if now() >= until {
            return Ok(None);
        }
    }
}

/// Wakes the peer if it sleeps and waits for no more than `position`, which
/// the caller has just published. Returns whether it did.
#[inline]
pub(crate) fn wake(peer: &Signals, position: u64) -> bool {
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
pub(crate) fn wake_always(peer: &Signals) -> bool {
    fence(Ordering::SeqCst); // P5
    peer.sleeping.load(Ordering::Relaxed) != 0 && rouse(peer) // P5: ordered by the fence
}

#[cold]
fn rouse(peer: &Signals) -> bool {
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
