//! What a side learns from its waits: how long to spin, and whether to promise barriers.

use std::time::{Duration, Instant};

use super::{ASLEEP, AWAKE, PROMISED, Stats, prepare_park, slice_len, unpark};
use crate::segment::layout::Signals;
use crate::sync::{Ordering, compiler_fence, fence, now};
use crate::sys::membarrier;
use crate::tuning::{
    BYTES_AWAKE, FENCES_AWAKE, LONG_SPIN, SHORT_SLEEPS, SHORT_SLICE, SPIN, WAITS_AWAKE,
};

/// No value of `sleeping`, but of a peer that has its own wakes to lose.
const NEVER: u32 = u32::MAX;

/// What a side keeps from one wait to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) stats: Stats,
    /// When it last asked whether there is a reason to wait.
    pub(super) last_slice: Instant,
    /// The word of the peer's that makes a fence needless here: [`PROMISED`],
    /// or [`NEVER`] if the barriers of others do not reach this process.
    pub(super) fenceless: u32,
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
            last_slice: now(),
            fenceless: NEVER,
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
            fenceless: if membarrier::register() {
                PROMISED
            } else {
                NEVER
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
    pub(super) fn fenced(&mut self, own: &Signals) {
        self.fences = self.fences.saturating_add(1);
        if self.fences == FENCES_AWAKE {
            self.promise(own);
        }
    }

    /// Promises barriers, if the kernel has them. A new holder does: it may
    /// never have to wait, and then its peer is never to fence. A sleep that is
    /// announced stays so: an async wait goes on while its handle is used.
    pub(crate) fn promise(&self, own: &Signals) {
        if self.fenceless == PROMISED {
            let word = &own.sleeping;
            let _ = word.compare_exchange(AWAKE, PROMISED, Ordering::Relaxed, Ordering::Relaxed); // P5: orders nothing
        }
    }

    /// How long to spin, if that is left to experience.
    pub(crate) fn spin_budget(&self) -> Duration {
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
    pub(super) fn prepare_park(&mut self, own: &Signals, wanted: u64) {
        self.sleeps();
        if !prepare_park(own, wanted) {
            self.fenceless = NEVER;
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
    pub(super) fn slice(&self) -> Duration {
        if self.refused {
            SHORT_SLICE
        } else {
            slice_len()
        }
    }

    /// Whether the peer does the barrier before it sleeps, so that what the
    /// caller has just published needs no wake of it.
    #[inline(always)]
    pub(crate) fn skips_fence(&self, peer: &Signals) -> bool {
        // In the program, the position is stored before `sleeping` is loaded.
        compiler_fence(Ordering::SeqCst); // P5
        peer.sleeping.load(Ordering::Relaxed) == self.fenceless // P5: the peer does the barrier
    }

    /// Wakes the peer if it sleeps and waits for no more than `position`, which
    /// the caller has just published.
    #[inline]
    pub(crate) fn wake(&mut self, own: &Signals, peer: &Signals, position: u64) {
        if !self.skips_fence(peer) {
            self.fence_and_wake(own, peer, position);
        }
    }

    /// As [`wake`](Self::wake) of a peer that does no barrier.
    #[inline]
    pub(crate) fn fence_and_wake(&mut self, own: &Signals, peer: &Signals, position: u64) {
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
            self.stats.wakes += u64::from(unpark(peer));
        }
    }

    /// Wakes the peer if it is seen to sleep, whatever it waits for. Without
    /// an order: what is not seen yet is left to [`wake_always`].
    #[inline]
    pub(crate) fn wake_if_seen(&mut self, peer: &Signals) {
        if peer.sleeping.load(Ordering::Relaxed) == ASLEEP {
            self.stats.wakes += u64::from(unpark(peer)); // P5: a look ahead
        }
    }
}
