//! What a side learns from its waits: how long to spin, and whether to promise barriers.

use std::time::{Duration, Instant};

use super::{ASLEEP, AWAKE, PROMISED, Sleep, SpinBudget, Stats, prepare_park, slice_len, unpark};
use crate::segment::layout::Signals;
use crate::sync::{Ordering, compiler_fence, fence, now};
use crate::sys::membarrier;
use crate::tuning::{
    BYTES_AWAKE, FENCES_AWAKE, IDLE, IDLE_SLICE, LONG_SPIN, MOST_CREDIT, MOST_PARKS, SHORT_SLEEPS,
    SHORT_SLICE, SPARED, SPIN, WAITS_AWAKE,
};

/// A value that an honest peer's `sleeping` never has. It stands for a process that receives no
/// membarriers, and so always fences.
const NEVER: u32 = u32::MAX;

/// Experience that a side keeps from one wait to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) stats: Stats,
    /// When the side last asked whether there is still a reason to wait.
    pub(super) last_slice: Instant,
    /// When the side first slept after a wait or a call last succeeded.
    pub(super) idle_since: Option<Instant>,
    /// The value of the peer's `sleeping` with which this side needs no fence: [`PROMISED`], or
    /// [`NEVER`] if membarriers do not reach this process.
    pub(super) fenceless: u32,
    /// Waits and calls since the last sleep, plus the bytes they found in units of [`BYTES_AWAKE`].
    /// Counted up to [`WAITS_AWAKE`].
    awake: u32,
    /// Consecutive sleeps that a longer spin would have avoided.
    short_sleeps: u32,
    /// What successful spins have spared, less what failed ones have cost, in units of [`SPARED`].
    credit: u32,
    /// Waits left that park at once, since spinning did not pay.
    parks: u32,
    /// The number that `parks` started from; 0 while spinning pays.
    backoff: u32,
    /// Fences of [`fence_and_wake`](Self::fence_and_wake) since this side's last sleep.
    fences: u32,
    /// Whether the kernel has refused a promised barrier.
    pub(super) refused: bool,
}

impl Effort {
    /// For a side that always fences and never promises.
    pub(crate) fn new() -> Effort {
        Effort {
            stats: Stats::default(),
            last_slice: now(),
            idle_since: None,
            fenceless: NEVER,
            awake: 0,
            short_sleeps: 0,
            credit: 0,
            parks: 0,
            backoff: 0,
            fences: 0,
            refused: false,
        }
    }

    /// For a side whose process receives membarriers, if the kernel supports them.
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

    /// For a new holder, which promises at once: while the holder does not sleep, its peer then need
    /// not fence.
    pub(crate) fn of_new_holder(own: &Signals) -> Effort {
        let effort = Effort {
            awake: WAITS_AWAKE,
            ..Effort::with_barriers()
        };
        effort.promise(own);
        effort
    }

    /// Counts a wait or a call that needed no sleep. `found` are the bytes that were there at once. A
    /// side that continues like this will not sleep soon, which is worth a promise. Without a promise
    /// the peer fences at each publication. With one, the next sleep costs a barrier first.
    #[inline]
    pub(crate) fn stayed_awake(&mut self, own: &Signals, found: u64) {
        self.idle_since = None;
        if self.awake < WAITS_AWAKE {
            let worth = 1 + found / BYTES_AWAKE; // at most one ring's worth
            self.awake = self.awake.saturating_add(worth as u32);
            if self.awake >= WAITS_AWAKE {
                self.promise(own);
            }
        }
    }

    /// Counts a fence that a promise of the peer would have spared. After [`FENCES_AWAKE`] of them
    /// this side has not slept either, so it promises, which spares the peer's fences.
    #[inline]
    pub(super) fn fenced(&mut self, own: &Signals) {
        self.fences = self.fences.saturating_add(1);
        if self.fences == FENCES_AWAKE {
            self.promise(own);
        }
    }

    /// Promises barriers, if the kernel supports them. A prepared park stays in place, since an async
    /// wait continues while its handle is in use.
    fn promise(&self, own: &Signals) {
        if self.fenceless == PROMISED {
            let word = &own.sleeping;
            let _ = word.compare_exchange(AWAKE, PROMISED, Ordering::Relaxed, Ordering::Relaxed); // P5: orders nothing
        }
    }

    /// The spin budget under [`WaitPolicy::Adaptive`](super::WaitPolicy::Adaptive).
    pub(crate) fn spin_budget(&self) -> SpinBudget {
        if self.parks > 0 {
            SpinBudget::None
        } else if self.short_sleeps < SHORT_SLEEPS {
            SpinBudget::For(SPIN)
        } else {
            SpinBudget::For(LONG_SPIN)
        }
    }

    /// Counts a spin that ended a wait.
    #[inline]
    pub(crate) fn spin_paid(&mut self) {
        if self.credit < MOST_CREDIT {
            self.credit += 1;
            if self.credit == MOST_CREDIT {
                self.backoff = 0;
            }
        }
    }

    /// Counts a wait that slept after a spin of `spun`. `waited` is the whole length of the wait.
    ///
    /// On a busy machine the peer often does not run while this side spins, so spins fail. They
    /// also use up the processor time that the scheduler grants to this side. Once failures have
    /// cost more than successes have spared, some waits park at once. Then one spins again, and if
    /// that fails too, twice as many park.
    pub(crate) fn slept(&mut self, spun: Duration, waited: Duration) {
        self.short_sleeps = if waited < LONG_SPIN {
            self.short_sleeps.saturating_add(1)
        } else {
            0
        };
        if self.parks > 0 {
            self.parks -= 1;
            return;
        }
        let cost = (spun.as_nanos() / SPARED.as_nanos()) as u32; // at most a slice
        match self.credit.checked_sub(cost) {
            Some(left) => self.credit = left,
            None => {
                self.credit = 0;
                self.backoff = (2 * self.backoff + 1).min(MOST_PARKS);
                self.parks = self.backoff;
                if spun >= LONG_SPIN {
                    self.short_sleeps = 0; // a longer spin does not avoid them
                }
            }
        }
    }

    /// Prepares to park: see [`prepare_park`].
    pub(super) fn prepare_park(&mut self, own: &Signals, wanted: u64) {
        let may_have_promised = self.sleep_begins();
        if !prepare_park(own, wanted, may_have_promised) {
            self.fenceless = NEVER;
            self.refused = true;
        }
    }

    /// Records that the park of a blocking or an async wait ends the promise. The counts that lead
    /// to the next promise start anew. Returns whether this side may have promised since its last
    /// park.
    pub(crate) fn sleep_begins(&mut self) -> bool {
        let may_have_promised = self.awake >= WAITS_AWAKE || self.fences >= FENCES_AWAKE;
        self.awake = 0;
        self.fences = 0;
        may_have_promised
    }

    /// The longest sleep that may begin now.
    pub(super) fn slice(&mut self, sleep: Sleep, now: Instant) -> Duration {
        if self.refused {
            return SHORT_SLICE;
        }
        let since = *self.idle_since.get_or_insert(now);
        match sleep {
            Sleep::Long if now.saturating_duration_since(since) >= IDLE => {
                IDLE_SLICE.max(slice_len())
            }
            Sleep::Long | Sleep::Slice => slice_len(),
        }
    }

    /// Whether the peer is awake and has promised a barrier before its next sleep. The caller's
    /// publication then needs no fence and no wake.
    #[inline(always)]
    pub(crate) fn skips_fence(&self, peer: &Signals) -> bool {
        // Program order: the position is stored before `sleeping` is loaded.
        compiler_fence(Ordering::SeqCst); // P5
        peer.sleeping.load(Ordering::Relaxed) == self.fenceless // P5: the peer runs the barrier
    }

    /// Unparks the peer if it sleeps and waits for at most `position`, which the caller has just
    /// published.
    #[inline]
    pub(crate) fn wake(&mut self, own: &Signals, peer: &Signals, position: u64) {
        if !self.skips_fence(peer) {
            self.fence_and_wake(own, peer, position);
        }
    }

    /// Fences, then unparks the peer as [`wake`](Self::wake) does. For a peer without a promise.
    #[inline]
    pub(crate) fn fence_and_wake(&mut self, own: &Signals, peer: &Signals, position: u64) {
        fence(Ordering::SeqCst); // P5
        self.fenced(own);
        // P5: ordered by the fence
        if peer.sleeping.load(Ordering::Relaxed) == ASLEEP {
            self.wake_sleeper(peer, position);
        }
    }

    #[cold]
    fn wake_sleeper(&mut self, peer: &Signals, position: u64) {
        let wanted = peer.wanted.load(Ordering::Relaxed); // P5: ordered by the fence
        // Positions wrap, so "not yet reached" is a distance of more than half the range.
        if position.wrapping_sub(wanted) <= u64::MAX / 2 {
            self.stats.wakes += u64::from(unpark(peer));
        }
    }

    /// Unparks the peer if it is seen to sleep, whatever it waits for. Makes no fence: a sleep that
    /// is not visible yet is left to [`wake_always`].
    #[inline]
    pub(crate) fn wake_if_seen(&mut self, peer: &Signals) {
        // P5: without the fence, so it may miss a sleep
        if peer.sleeping.load(Ordering::Relaxed) == ASLEEP {
            self.stats.wakes += u64::from(unpark(peer));
        }
    }
}
