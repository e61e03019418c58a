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
//! do a barrier on every processor that runs my peer* (`barrier.rs`). A waker that
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
//! barrier (`roles.rs`). A peer that promises and does not keep it has its own
//! sleep to lose.
//!
//! # A peer that lies, or dies
//!
//! A sleep is cut into slices of [`SLICE`]. After each one the sleeper looks
//! again and asks whether the peer lives. A peer that wakes it again and again
//! for nothing gets it to sleep its slices where no wake reaches it.

use std::time::{Duration, Instant};

use crate::barrier;
use crate::futex;
use crate::layout::Signals;
use crate::pace;
use crate::steps::step;
use crate::sync::{Ordering, compiler_fence, fence, now, spin_loop};

/// `Signals::sleeping`; see the module's head.
pub(crate) const AWAKE: u32 = 0;
pub(crate) const ASLEEP: u32 = 1;
pub(crate) const PROMISED: u32 = 2;

/// No value of `sleeping`, but of a peer that has its own wakes to lose.
const NOTHING: u32 = u32::MAX;

/// Waits without a sleep after which a side promises barriers.
const WAITS_AWAKE: u32 = 16;
/// Bytes found without a wait that are worth as much as one of those.
const BYTES_AWAKE: u64 = 16 << 10;
/// Fences for a wake, after which it does too: of two sides that keep pace
/// neither waits.
const FENCES_AWAKE: u32 = 64;

/// How long a sleeper sleeps before it looks whether its peer lives.
pub(crate) const SLICE: Duration = Duration::from_millis(10);
/// The same for one whose promised barrier was refused.
const SHORT_SLICE: Duration = Duration::from_millis(1);
/// How long a waiter spins before it sleeps, by default: about the cost of a
/// wake, so that waiting costs at most twice what knowing the future would.
const SPIN: Duration = Duration::from_micros(30);
/// The same for one whose last sleeps all ended within this time of waiting:
/// the processor time of a sleep and its wake, on both sides, is not much less.
const LONG_SPIN: Duration = Duration::from_micros(100);
/// How many sleeps that must have been.
const SHORT_SLEEPS: u32 = 4;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Looks again and again and never sleeps: the lowest latency, for a
    /// processor. Where both sides may use one processor only, the same one,
    /// this is slow.
    Spin,
    /// Looks again and again for so long, at most ten milliseconds, then
    /// sleeps; sleeps at once where both sides may use one processor only.
    SpinThenPark(Duration),
    /// The same for about the cost of a wake, 30 microseconds; while waits end
    /// soon after that time, again and again, for 100 microseconds. One wait
    /// that takes longer ends this.
    #[default]
    Adaptive,
    /// Sleeps at once: the least processor time.
    Park,
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
    /// The word of the peer's that makes a fence needless here: [`PROMISED`],
    /// or [`NOTHING`] if the barriers of others do not reach this process.
    believed: u32,
    /// Waits and calls since the last sleep, and what they found, in
    /// [`BYTES_AWAKE`]; up to [`WAITS_AWAKE`].
    awake: u32,
    /// Sleeps in a row that a longer spin would have spared.
    short_sleeps: u32,
    /// Fences for a wake since the last sleep.
    fences: u32,
    /// Whether a promised barrier was refused.
    refused: bool,
}

impl Effort {
    /// For a side that promises nothing, and fences.
    pub(crate) fn new() -> Effort {
        Effort {
            stats: Stats::default(),
            asked: now(),
            believed: NOTHING,
            awake: 0,
            short_sleeps: 0,
            fences: 0,
            refused: false,
        }
    }

    /// For a side of a process that is reached by barriers, if the kernel has
    /// them.
    pub(crate) fn with_barriers() -> Effort {
        Effort {
            believed: if barrier::register() {
                PROMISED
            } else {
                NOTHING
            },
            ..Effort::new()
        }
    }

    /// Counts a wait, or a call, that needed no sleep; `found` bytes were there without
    /// any wait. A side that goes on like this will need no sleep soon, which is
    /// worth a promise: without one its peer fences at each publication. One that
    /// sleeps nevertheless has a barrier to do first.
    #[inline]
    pub(crate) fn stayed_awake(&mut self, own: &Signals, found: u64) {
        if self.awake < WAITS_AWAKE {
            let worth = 1 + found / BYTES_AWAKE; // at most a ring of those
            self.awake = self.awake.saturating_add(worth as u32);
            if self.awake >= WAITS_AWAKE {
                self.promise(own);
            }
        }
    }

    /// Counts a fence that was for nothing but the peer's sleep.
    #[inline]
    fn fenced(&mut self, own: &Signals) {
        self.fences = self.fences.saturating_add(1);
        if self.fences == FENCES_AWAKE {
            self.promise(own);
        }
    }

    /// Promises barriers, if the kernel has them. A new holder does: it may
    /// never have to wait, and then its peer is never to fence. A sleep that is
    /// announced stays so: an async wait goes on while its handle is used.
    pub(crate) fn promise(&self, own: &Signals) {
        if self.believed == PROMISED {
            let word = &own.sleeping;
            let _ = word.compare_exchange(AWAKE, PROMISED, Ordering::Relaxed, Ordering::Relaxed); // P5: orders nothing
        }
    }

    /// How long to spin, if that is left to experience.
    pub(crate) fn spin(&self) -> Duration {
        if self.short_sleeps < SHORT_SLEEPS {
            SPIN
        } else {
            LONG_SPIN
        }
    }

    /// Counts a wait that came to sleep, and ended after `waited` in all.
    pub(crate) fn slept(&mut self, waited: Duration) {
        self.short_sleeps = if waited < LONG_SPIN {
            self.short_sleeps.saturating_add(1)
        } else {
            0
        };
    }

    /// Announces a sleep.
    fn announce(&mut self, own: &Signals, wanted: u64) {
        self.sleeps();
        if !announce(own, wanted) {
            self.believed = NOTHING;
            self.refused = true;
        }
    }

    /// A sleep, whoever announces it, ends a promise: what is worth the next
    /// one is counted anew.
    pub(crate) fn sleeps(&mut self) {
        self.awake = 0;
        self.fences = 0;
    }

    /// How long a sleep is at most.
    fn slice(&self) -> Duration {
        if self.refused {
            SHORT_SLICE
        } else {
            slice_len()
        }
    }

    /// Whether the peer does the barrier before it sleeps, so that what the
    /// caller has just published needs no wake of it.
    #[inline(always)]
    pub(crate) fn is_spared(&self, peer: &Signals) -> bool {
        // In the program, the position is stored before `sleeping` is loaded.
        compiler_fence(Ordering::SeqCst); // P5
        peer.sleeping.load(Ordering::Relaxed) == self.believed // P5: the peer does the barrier
    }

    /// Wakes the peer if it sleeps and waits for no more than `position`, which
    /// the caller has just published.
    #[inline]
    pub(crate) fn wake(&mut self, own: &Signals, peer: &Signals, position: u64) {
        if !self.is_spared(peer) {
            self.wake_unspared(own, peer, position);
        }
    }

    /// As [`wake`](Self::wake) of a peer that does no barrier.
    #[inline]
    pub(crate) fn wake_unspared(&mut self, own: &Signals, peer: &Signals, position: u64) {
        fence(Ordering::SeqCst); // P5
        self.fenced(own);
        if peer.sleeping.load(Ordering::Relaxed) == ASLEEP {
            self.wake_sleeper(peer, position); // P5
        }
    }

    #[cold]
    fn wake_sleeper(&mut self, peer: &Signals, position: u64) {
        let wanted = peer.wanted.load(Ordering::Relaxed); // P5: ordered by the fence
        // Positions wrap, so "not yet there" is a distance of half the range.
        if position.wrapping_sub(wanted) <= u64::MAX / 2 {
            self.stats.wakes += u64::from(rouse(peer));
        }
    }

    /// Wakes the peer if it is seen to sleep, whatever it waits for. Without
    /// an order: what is not seen yet is left to [`wake_always`].
    #[inline]
    pub(crate) fn wake_if_seen(&mut self, peer: &Signals) {
        if peer.sleeping.load(Ordering::Relaxed) == ASLEEP {
            self.stats.wakes += u64::from(rouse(peer)); // P5: a look ahead
        }
    }
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
    spinning: Spinning,
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
        let asks = now - effort.asked >= slice_len();
        if asks {
            effort.asked = now;
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

        if spinning == Spinning::Always {
            let until = Some(now + nap);
            if let Some(value) = spin(spinning, Duration::ZERO, until, &mut ready)? {
                return Ok(Waited::Ready(value));
            }
        } else if naps > FALSE_WAKES {
            effort.stats.sleeps += 1;
            std::thread::sleep(nap); // out of the peer's reach
        } else {
            effort.announce(own, wanted); // P5
            let value = ready();
            if matches!(value, Ok(None)) {
                effort.stats.sleeps += 1;
                step!(SleepNow);
                futex::wait(&own.sleeping, ASLEEP, nap);
                step!(Slept);
            }
            retract(own);
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
pub(crate) fn announce(own: &Signals, wanted: u64) -> bool {
    own.wanted.store(wanted, Ordering::Relaxed); // P5: ordered by the fence
    let before = own.sleeping.swap(ASLEEP, Ordering::Relaxed); // P5: ordered by the fence
    step!(SleepSet);
    // The word says so if a promise stands, or else the peer has overwritten
    // it, which it has no business to: such a one need not wake us at all.
    let kept = before != PROMISED || barrier::everywhere();
    fence(Ordering::SeqCst); // P5
    kept
}

/// Takes that back.
pub(crate) fn retract(own: &Signals) {
    // Nobody owes a wake. Swapped, so that it comes after a waker's swap also
    // for loom, which lets a store come in between.
    own.sleeping.swap(AWAKE, Ordering::Relaxed); // P5: orders nothing
}

/// [`SLICE`], unless a test has made slices so long that a missed wake shows.
#[inline]
fn slice_len() -> Duration {
    #[cfg(feature = "__failpoints")]
    if let Some(len) = crate::steps::slice() {
        return len;
    }
    SLICE
}

/// Looks again and again, for as long as it is told and at most a slice, with
/// at least `rest` between two looks.
#[inline]
pub(crate) fn spin<T, E>(
    spinning: Spinning,
    rest: Duration,
    deadline: Option<Instant>,
    ready: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let most = match spinning {
        Spinning::Not => return Ok(None),
        Spinning::For(time) => time.min(SLICE),
        Spinning::Always => SLICE,
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
                pace::rest(rest);
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
    peer.sleeping.load(Ordering::Relaxed) == ASLEEP && rouse(peer) // P5: ordered by the fence
}

#[cold]
fn rouse(peer: &Signals) -> bool {
    // The word changes before the wake: see the module's head.
    step!(WakeSeen);
    let slept = peer
        .sleeping
        .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed) // P5: ordered by the fence
        .is_ok();
    if slept {
        step!(WakeCleared);
        futex::wake(&peer.sleeping);
        step!(Woken);
    }
    slept
}

#[cfg(all(test, not(loom)))]
mod tests;
