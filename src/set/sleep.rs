//! The blocking wait of a set.
//!
//! # No wake is lost
//!
//! The set is the sleeper of P5 (`wait/mod.rs`) towards each peer, with one fence for all:
//!
//! ```text
//! for each member: wanted = position, sleeping = 1
//! one membarrier if a member had promised one (wait/mod.rs), then one fence
//! look at each member
//! FUTEX_WAITV(each sleeping == 1)
//! for each member: sleeping = 0
//! ```
//!
//! For one member alone these are the steps of P5 in their order: its word is set, then the fence,
//! then the look. The steps in between concern other words. So the peer sees the word, or the look
//! sees what the peer published. The kernel compares a word and queues the sleeper on it under one
//! lock, which the wake of that word takes, too. A peer that clears the word before the comparison
//! makes it fail, and the sleep ends at once. A peer that clears the word later wakes a sleeper
//! that is in the queue, even while the kernel goes through the other words.
//!
//! A wake on a word that is left out reaches nobody. A word is left out if it is beyond the 128 of
//! one call, or if its peer floods. Its member is looked at after the sleep. The sleep lasts a slice
//! at most, and less if there are too many words.
//!
//! # What bounds a wait
//!
//! Each round looks at the clock. A peer can end a sleep early, but cannot prolong one. It cannot
//! keep the set from looking at the clock either: a round makes one pass over the members. After
//! the deadline there is exactly one more look.
//!
//! # Peers that flood
//!
//! A member that was woken, and is not ready, has got a false wake. After [`FALSE_WAKES`] of them
//! the set does not sleep on its word for the rest of the slice. If sleeps keep ending early and no
//! member is known to be the cause, the set sleeps on no word. It then sleeps for a millisecond at
//! a time.

use std::time::{Duration, Instant};

use super::WaitSet;
use super::member::{AsEnd, Member};
use crate::error::WaitError;
use crate::sync::{now, spin_loop};
use crate::sys::futex::{self, FutexWait, MOST_WORDS, Woken};
use crate::tuning::{
    ASKED_PER_SLICE, FALSE_WAKES, FRUITLESS, IDLE, IDLE_SLICE, NAP, SHORT_SLICE, SPINS_PER_LOOK,
};
use crate::wait::{self, ASLEEP, Effort, SpinBudget, WaitPolicy, slice_len};

/// What a set keeps from one wait to the next.
#[derive(Debug)]
pub(super) struct Sleeper {
    pub(super) policy: WaitPolicy,
    effort: Effort,
    /// When the set last asked whether peers live.
    last_slice: Instant,
    /// When the set first slept after it last found a member.
    pub(super) idle_since: Option<Instant>,
    /// The slot at which the next questions begin.
    asked: usize,
    /// The word at which the next sleep begins, if there are more words than one sleep takes.
    first: usize,
    /// Sleeps of this slice that ended early with no member ready.
    fruitless: u32,
    /// Whether the kernel has refused a promised barrier.
    has_refused: bool,
    /// Whether the kernel has FUTEX_WAITV.
    has_waitv: bool,
    /// Whether a peer can run only on the processor of this thread.
    shares_processor: bool,
    /// The words of a sleep, and their slots. Kept for their memory.
    words: Vec<FutexWait>,
    slots: Vec<usize>,
}

impl Sleeper {
    pub(super) fn new() -> Sleeper {
        Sleeper {
            policy: WaitPolicy::default(),
            effort: Effort::new(),
            last_slice: now(),
            idle_since: None,
            asked: 0,
            first: 0,
            fruitless: 0,
            has_refused: false,
            has_waitv: true,
            shares_processor: false,
            words: Vec::new(),
            slots: Vec::new(),
        }
    }

    fn spinning(&self) -> SpinBudget {
        match self.policy {
            WaitPolicy::Spin => SpinBudget::Always,
            WaitPolicy::Park => SpinBudget::None,
            _ if self.shares_processor => SpinBudget::None,
            WaitPolicy::SpinThenPark(time) => SpinBudget::For(time.min(slice_len())),
            WaitPolicy::Adaptive => self.effort.spin_budget(),
        }
    }
}

/// Members whose `sleeping` is set while the fence is still due. If the code of a member panics
/// now, the drop runs the fence and the promised barrier. Their words stay at 1, which costs each
/// peer a needless wake.
struct Parks {
    promised: bool,
}

impl Parks {
    /// Orders the parks: see [`wait::order_parks`].
    fn order(self) -> bool {
        let promised = self.promised;
        std::mem::forget(self);
        wait::order_parks(promised)
    }
}

impl Drop for Parks {
    fn drop(&mut self) {
        wait::order_parks(self.promised);
    }
}

impl<H: AsEnd> WaitSet<H> {
    /// Waits until a member is ready, and returns its key. `None` if there is no member.
    pub(super) fn wait_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<usize>, WaitError> {
        self.check_process()?;
        if let Some(key) = self.find_while_busy() {
            return Ok(Some(key));
        }
        if self.is_empty() {
            return Ok(None);
        }
        self.disarm();
        let started = now();
        // Without this check, a set whose spins always succeed would never check its peers.
        if self.slice_has_passed(started) {
            self.begin_slice(started);
            if let Some(key) = self.find() {
                return Ok(Some(key));
            }
            if self.is_cancelled() {
                return Err(WaitError::Cancelled);
            }
        }
        let is_over = deadline.is_some_and(|deadline| started >= deadline);
        let spinning = match self.sleeper.spinning() {
            SpinBudget::For(_) if is_over => SpinBudget::None,
            spinning => spinning,
        };
        if let SpinBudget::For(time) = spinning {
            let until = deadline.map_or(started + time, |deadline| deadline.min(started + time));
            if let Some(key) = self.spin(until) {
                self.sleeper.effort.spin_paid();
                return Ok(Some(key));
            }
        }
        let slept = self.sleep(spinning, deadline);
        if self.sleeper.policy == WaitPolicy::Adaptive {
            let spun = match spinning {
                SpinBudget::For(spun) => spun,
                SpinBudget::None | SpinBudget::Always => Duration::ZERO,
            };
            self.sleeper.effort.slept(spun, now() - started);
        }
        slept.map(Some)
    }

    /// Looks at all members. If a member is ready again and again and its handle makes no progress,
    /// begins a slice now and then. Otherwise an incomplete record would keep the handle ready and
    /// hide the writer's death.
    pub(super) fn find_while_busy(&mut self) -> Option<usize> {
        let key = self.find()?;
        let times = self.members[key].as_mut().map_or(0, Member::note_returned);
        if times > 0 && times.is_multiple_of(SPINS_PER_LOOK) {
            let now = now();
            if self.slice_has_passed(now) {
                self.begin_slice(now);
            }
        }
        Some(key)
    }

    fn slice_has_passed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.sleeper.last_slice) >= slice_len()
    }

    /// Looks at all members until `until`.
    fn spin(&mut self, until: Instant) -> Option<usize> {
        // A look at the clock costs as much as several looks at members.
        let rounds = (SPINS_PER_LOOK as usize / self.len()).max(1);
        loop {
            for _ in 0..rounds {
                if let Some(key) = self.find() {
                    return Some(key);
                }
                spin_loop();
            }
            if now() >= until {
                return None;
            }
        }
    }

    fn sleep(
        &mut self,
        spinning: SpinBudget,
        deadline: Option<Instant>,
    ) -> Result<usize, WaitError> {
        // A peer may sleep until a position that this side cannot reach while it waits.
        for member in self.members.iter_mut().flatten() {
            member.end().wake_before_waiting();
        }
        let mut has_slept = false;
        loop {
            let now = now();
            let is_over = deadline.is_some_and(|deadline| now >= deadline);
            let asks = self.slice_has_passed(now);
            if asks {
                self.begin_slice(now);
            }
            if (has_slept || asks || is_over)
                && let Some(key) = self.find()
            {
                return Ok(key);
            }
            if self.is_cancelled() {
                return Err(WaitError::Cancelled);
            }
            if is_over {
                return Err(WaitError::TimedOut);
            }
            let most = self.longest_sleep(now);
            let nap = deadline.map_or(most, |deadline| most.min(deadline - now));
            let found = match spinning {
                SpinBudget::Always => self.spin(now + nap),
                SpinBudget::None | SpinBudget::For(_) => self.park(nap),
            };
            if let Some(key) = found {
                return Ok(key);
            }
            has_slept = true;
        }
    }

    /// Forgets false wakes, and asks whether peers live. Asks all of them only if sleeps are long.
    fn begin_slice(&mut self, now: Instant) {
        self.sleeper.last_slice = now;
        self.sleeper.fruitless = 0;
        let slots = self.members.len();
        let mut left = match self.may_sleep_long() {
            true => slots,
            false => ASKED_PER_SLICE,
        };
        for _ in 0..slots {
            let slot = self.sleeper.asked % slots;
            self.sleeper.asked = slot + 1;
            if let Some(member) = &mut self.members[slot] {
                member.examine_peer();
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        let mut shares_processor = false;
        for member in self.members.iter_mut().flatten() {
            member.false_wakes = 0;
            shares_processor |= member.shares_processor;
        }
        self.sleeper.shares_processor = shares_processor;
    }

    /// Whether each peer is sure to wake this side, and one sleep takes all words.
    fn may_sleep_long(&self) -> bool {
        let mut members = self.members.iter().flatten();
        self.len() <= MOST_WORDS
            && self.sleeper.has_waitv
            && members.all(|member| member.sleeps_long && member.false_wakes == 0)
    }

    /// The longest sleep that may begin now.
    fn longest_sleep(&mut self, now: Instant) -> Duration {
        if self.sleeper.has_refused {
            return SHORT_SLICE;
        }
        let since = *self.sleeper.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= IDLE && self.may_sleep_long() {
            return IDLE_SLICE.max(slice_len());
        }
        slice_len()
    }

    /// Parks for `nap` at most. Returns the key of a member that is ready before the sleep.
    fn park(&mut self, nap: Duration) -> Option<usize> {
        let mut parks = Parks { promised: false };
        for member in self.members.iter_mut().flatten() {
            let (end, wanted) = member.parts();
            parks.promised |= end.announce_park(wanted); // P5, for each member
        }
        if !parks.order() {
            self.sleeper.has_refused = true;
        }
        let found = self.find();
        let woken = match found {
            Some(_) => Woken::TimedOut,
            None => self.sleep_on_words(nap),
        };
        let by = match woken {
            Woken::Word(index) => self.sleeper.slots.get(index).copied(),
            _ => None,
        };
        let mut is_useful = false;
        for (slot, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            let is_asleep = wait::cancel_park(member.end().own_signals());
            if is_asleep && by != Some(slot) {
                continue;
            }
            match member.is_ready() {
                true => is_useful = true,
                false => member.false_wakes += 1,
            }
        }
        if woken.is_early() && !is_useful {
            self.sleeper.fruitless += 1;
        }
        found
    }

    /// Sleeps on the words of the members for `nap` at most.
    fn sleep_on_words(&mut self, nap: Duration) -> Woken {
        let sleeper = &mut self.sleeper;
        sleeper.words.clear();
        sleeper.slots.clear();
        for (slot, member) in self.members.iter_mut().enumerate() {
            let Some(member) = member else { continue };
            if member.false_wakes <= FALSE_WAKES {
                let word = &member.end().own_signals().sleeping;
                sleeper.words.push(FutexWait::new(word, ASLEEP));
                sleeper.slots.push(slot);
            }
        }
        if sleeper.words.is_empty() {
            std::thread::sleep(nap); // no peer can end this
            return Woken::TimedOut;
        }
        if sleeper.fruitless > FRUITLESS {
            std::thread::sleep(nap.min(NAP));
            return Woken::TimedOut;
        }
        let (words, slots) = (&mut sleeper.words, &mut sleeper.slots);
        let mut nap = nap;
        let most = if sleeper.has_waitv { MOST_WORDS } else { 1 };
        if words.len() > most {
            let sleeps = words.len().div_ceil(most) as u32; // fits: the words are in memory
            nap = nap.min(match sleeper.has_waitv {
                true => NAP.max(slice_len() / sleeps),
                false => NAP,
            });
            sleeper.first = (sleeper.first + most) % words.len();
            words.rotate_left(sleeper.first);
            slots.rotate_left(sleeper.first);
            words.truncate(most);
        }
        if sleeper.has_waitv {
            let woken = futex::wait_any(words, nap);
            sleeper.has_waitv = woken != Woken::Refused;
            return woken;
        }
        let slot = slots[0];
        if let Some(member) = &mut self.members[slot] {
            futex::wait(&member.end().own_signals().sleeping, ASLEEP, nap);
        }
        Woken::Early // a guess: a sleep that timed out counts as fruitless, which does no harm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: usize) -> (Vec<crate::Producer>, WaitSet) {
        let pair = || {
            crate::Options::new()
                .capacity(4096)
                .create_anonymous()?
                .split()
        };
        let pairs = (0..members).map(|_| pair().unwrap());
        let (producers, consumers): (Vec<_>, Vec<_>) = pairs.unzip();
        (producers, consumers.into_iter().collect())
    }

    #[test]
    fn a_member_that_floods_is_left_out_for_the_rest_of_the_slice() {
        let (_producers, mut set) = set(3);
        if let Some(member) = &mut set.members[1] {
            member.false_wakes = FALSE_WAKES + 1;
        }
        set.sleep_on_words(Duration::from_millis(1));
        assert_eq!(set.sleeper.slots, [0, 2]);
        set.begin_slice(now());
        set.sleep_on_words(Duration::from_millis(1));
        assert_eq!(set.sleeper.slots, [0, 1, 2]);
    }

    #[test]
    fn sleeps_on_more_words_than_one_call_takes_go_round() {
        let (_producers, mut set) = set(300);
        let mut slept_on = vec![false; 300];
        for _ in 0..3 {
            set.sleep_on_words(Duration::from_millis(1));
            let Sleeper { slots, words, .. } = &set.sleeper;
            for (&slot, word) in slots.iter().zip(words) {
                let member = set.members[slot].as_mut().unwrap();
                let own = FutexWait::new(&member.end().own_signals().sleeping, ASLEEP);
                assert_eq!(format!("{word:?}"), format!("{own:?}"));
                slept_on[slot] = true;
            }
        }
        assert!(slept_on.into_iter().all(|slept| slept));
    }
}
