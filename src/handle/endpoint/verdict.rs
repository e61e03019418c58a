//! What a wait for several handles finds out about one peer. The wait returns a key and no error. So
//! the endpoint keeps the error for the handle's next call that finds nothing to do.

use super::{Blocked, Endpoint};
use crate::error::Broken;
use crate::segment::record::last_holder;
use crate::segment::state::Tenure;
use crate::wait::{self, Sleep};

/// A verdict about the peer of this generation.
#[derive(Debug)]
pub(super) struct Finding {
    broken: Broken,
    generation: u16,
}

impl Endpoint {
    /// Asks whether the peer lives, as a blocking wait does once in a slice, and keeps the answer
    /// for [`take_verdict`](Self::take_verdict). The death of one peer is kept once: in a persistent
    /// ring, the next wait is for its successor. Returns whether this side may sleep for longer than
    /// a slice, which only a side that `waits_for_bytes` may.
    pub(crate) fn examine_peer(&mut self, waits_for_bytes: bool) -> bool {
        if !self.is_usable() {
            return false;
        }
        // Before the look: a successor that comes meanwhile makes the verdict stale.
        let generation = self.peer_generation();
        let returned_death = self.returned_death();
        let mut watch = std::mem::take(&mut self.watch);
        self.sleeps_long = waits_for_bytes;
        let answer = self.check_between_sleeps(&mut watch);
        self.sleeps_long = false;
        self.watch = watch;
        match answer {
            Ok(sleep) => return sleep == Sleep::Long,
            Err(Blocked::Broken(broken @ Broken::Corrupted(_))) => {
                self.latch(broken);
            }
            Err(Blocked::Broken(_)) if returned_death == Some(generation) => {}
            Err(Blocked::Broken(broken)) => self.verdict = Some(Finding { broken, generation }),
            Err(Blocked::TimedOut | Blocked::Cancelled) => {} // the caller looks at the flag itself
        }
        false
    }

    /// Whether a verdict is kept. Forgets one about a peer that has a successor.
    #[inline]
    pub(crate) fn has_verdict(&mut self) -> bool {
        self.verdict.is_some() && self.is_verdict_current()
    }

    #[cold]
    fn is_verdict_current(&mut self) -> bool {
        let generation = self.peer_generation();
        self.verdict.take_if(|kept| kept.generation != generation);
        self.verdict.is_some()
    }

    /// Returns the kept verdict, for a call that found nothing to do. A final verdict makes the
    /// handle unusable.
    #[inline]
    pub(crate) fn take_verdict(&mut self) -> Option<Broken> {
        if !self.has_verdict() {
            return None;
        }
        let Finding { broken, generation } = self.verdict.take()?;
        self.returned_death = Some(generation);
        Some(self.latch(broken))
    }

    /// Returns the kept verdict, for a call that wants more bytes than the dead peer left in the
    /// ring. Leaves the verdict in place where nobody can follow, since the bytes can still be
    /// read. Elsewhere a successor may bring the rest, and the death is returned once.
    pub(crate) fn verdict(&mut self) -> Option<Broken> {
        if !self.has_verdict() {
            return None;
        }
        if self.mapping().geometry().kind.persists() {
            return self.take_verdict();
        }
        self.verdict.as_ref().map(|kept| kept.broken.clone())
    }

    /// Notes that a call returns a death in a ring that persists, so that a set does not return it
    /// again. The death may be that of a peer that has a successor by now.
    pub(super) fn note_returned_death(&mut self, broken: &Broken) {
        let Broken::Died { pid, .. } = *broken else {
            return;
        };
        let (header, role) = (self.mapping().header(), self.claim.role.peer());
        let state = header.state();
        let generation = state.generation(role);
        let is_lost = state.tenure(role) == Some(Tenure::Lost);
        if is_lost && last_holder(header.record(role), generation) == pid {
            self.returned_death = Some(generation);
            self.verdict = None;
        }
    }

    /// The generation whose death was returned, if no successor came. Otherwise forgets it, since
    /// generations wrap.
    pub(super) fn returned_death(&mut self) -> Option<u16> {
        let generation = self.peer_generation();
        self.returned_death
            .take_if(|returned| *returned != generation);
        self.returned_death
    }

    pub(super) fn peer_generation(&self) -> u16 {
        let state = self.mapping().header().state();
        state.generation(self.claim.role.peer())
    }

    /// Announces a park until the peer's position is `wanted`: see [`wait::announce_park`]. Returns
    /// whether this side still promised a barrier.
    pub(crate) fn announce_park(&mut self, wanted: u64) -> bool {
        let may_have_promised = self.effort.sleep_begins();
        wait::announce_park(self.own_signals(), wanted, may_have_promised)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    /// Found in review: a generation whose death was returned was kept for ever. After 65,536
    /// claims, the death of a later peer with the same generation was not returned.
    #[test]
    fn a_generation_is_forgotten_once_another_has_come() {
        let (_producer, mut consumer) = crate::pair().unwrap();
        let end = consumer.end();
        let generation = end.peer_generation();
        end.returned_death = Some(generation.wrapping_sub(1));
        end.examine_peer(true);
        assert_eq!(end.returned_death, None);
        end.returned_death = Some(generation);
        end.examine_peer(true);
        assert_eq!(end.returned_death, Some(generation));
    }
}
