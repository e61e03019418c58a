//! Keeping an eye on the peer.

use super::claim::Claim;
use super::liveness::attached;
use crate::error::{Corruption, Rule};
use crate::role::Role;
use crate::segment::layout::Header;
use crate::segment::record::{Holder, is_of, last_holder, release_owner};
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, State, Tenure};
use crate::sync::Ordering;
use crate::sys::process::{Liveness, Process, Watch};

/// What a side is told of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It lives, or nothing proves that it does not.
    Present,
    /// Nobody has the role: not yet, or not any more.
    Absent,
    /// It is dead.
    Dead { pid: u32 },
    /// Nobody has the role, and nobody who could take it is left.
    NeverCame,
}

/// Keeps an eye on the peer of one claim.
#[derive(Debug, Default)]
pub(crate) struct PeerWatch {
    /// The watch, and the owner word and the process that it is of.
    watch: Option<(u64, Process, Watch)>,
    /// The child that the role was handed to, until somebody has the role.
    child: Option<Watch>,
}

impl PeerWatch {
    /// Expects this child, not yet waited for, to take the peer's role; and
    /// nobody else.
    pub(crate) fn expect_child(&mut self, pid: u32) {
        let mut watch = Watch::new(Process::of_child(pid));
        // Now, while the pid is sure to be the child's; the answer comes again.
        watch.check();
        self.child = Some(watch);
    }

    /// Whether a child was expected that was not seen to come.
    pub(crate) fn expects_child(&self) -> bool {
        self.child.is_some()
    }

    /// Asks whether the peer of `claim` lives. `id_shared` says that the
    /// segment's id was given to a process that may come at any time.
    pub(crate) fn check(
        &mut self,
        region: &MappedRegion,
        claim: &Claim,
        id_shared: bool,
    ) -> Result<Verdict, Corruption> {
        let header = region.header();
        let now = header.state();
        check_own_role(header, claim, now)?;
        let role = claim.role.peer();
        let record = header.record(role);
        let holder = Holder::read(record);
        let verdict = match now.tenure(role) {
            Some(Tenure::Held) => {
                self.child = None;
                match self.is_dead(region, claim, holder) {
                    true => Verdict::Dead {
                        // The owner word may be that of one who found it dead.
                        pid: last_holder(record, now.generation(role)),
                    },
                    false => Verdict::Present,
                }
            }
            Some(Tenure::Free)
                if region.geometry().kind == Kind::Anonymous || self.child.is_some() =>
            {
                self.check_newcomer(region, claim, holder, id_shared)
            }
            Some(Tenure::Free | Tenure::Left) => Verdict::Absent,
            Some(Tenure::Lost) => Verdict::Dead {
                pid: last_holder(record, now.generation(role)),
            },
            None => return Err(Corruption::new(Rule::StateWord, now.0, State::OPEN.0)),
        };
        // The evidence is of one holder only if no other has come meanwhile.
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        if header.state() != now || owner != holder.map_or(0, |holder| holder.owner) {
            return Ok(Verdict::Present);
        }
        if region.geometry().kind.persists() {
            match (now.tenure(role), verdict) {
                (Some(Tenure::Held), Verdict::Dead { .. }) => {
                    declare_lost(header, now, role, owner);
                }
                // A claimer or leaver who died half way. The next claimer may not
                // be able to prove that: the attachments are counted here alone.
                (Some(Tenure::Free | Tenure::Lost), _)
                    if owner != 0 && self.is_dead(region, claim, holder) =>
                {
                    release_owner(record, owner);
                }
                _ => {}
            }
        }
        Ok(verdict)
    }

    /// Whether the peer, which has the role or its owner word, is proven dead.
    fn is_dead(&mut self, region: &MappedRegion, claim: &Claim, holder: Option<Holder>) -> bool {
        let Some(holder) = holder else {
            return false;
        };
        // Of one process it may be the other half of a split.
        let fewest = if holder.process.may_be(&Process::current()) {
            claim.views.max(holder.views)
        } else {
            claim.views + holder.views
        };
        let fewest = u64::from(fewest);
        self.is_gone(&holder) || attached(region).is_some_and(|count| count < fewest)
    }

    /// Nobody has the role of an anonymous ring, or of one that was handed to a
    /// child: may somebody come yet?
    fn check_newcomer(
        &mut self,
        region: &MappedRegion,
        claim: &Claim,
        half_done: Option<Holder>,
        id_shared: bool,
    ) -> Verdict {
        if let Some(holder) = half_done
            && self.is_gone(&holder)
        {
            return Verdict::Dead {
                pid: holder.process.pid,
            };
        }
        let alone = || attached(region).is_some_and(|count| count <= u64::from(claim.views));
        let is_nobody_left = match &mut self.child {
            Some(child) => half_done.is_none() && child.check() == Liveness::Gone,
            None => !id_shared && alone(),
        };
        if is_nobody_left {
            return Verdict::NeverCame;
        }
        Verdict::Absent
    }

    fn is_gone(&mut self, holder: &Holder) -> bool {
        // A claimer that has gone on since the last look is watched anew.
        let watch = match &mut self.watch {
            Some((owner, process, watch))
                if (*owner, *process) == (holder.owner, holder.process) =>
            {
                watch
            }
            other => {
                let watch = (holder.owner, holder.process, holder.watch());
                &mut other.insert(watch).2
            }
        };
        watch.check() == Liveness::Gone
    }
}

/// Checks that no other process has overwritten the role of `claim`.
fn check_own_role(header: &Header, claim: &Claim, now: State) -> Result<(), Corruption> {
    let own = header.record(claim.role).owner.load(Ordering::Relaxed); // compared only
    if own != claim.owner {
        return Err(Corruption::new(Rule::OwnRole, own, claim.owner));
    }
    if !claim.is_held_in(now) {
        let expected = now.with_holder(claim.role, claim.generation);
        return Err(Corruption::new(Rule::OwnRole, now.0, expected.0));
    }
    Ok(())
}

/// Says in the segment that the holder of `role` is dead: whoever opens the
/// ring next may not be able to prove it.
pub(crate) fn declare_lost(header: &Header, seen: State, role: Role, owner: u64) {
    let lost = header.transition(|state| {
        if state == seen {
            state.lose(role).ok_or(())
        } else {
            Err(())
        }
    });
    // The word is freed by whoever has declared it, or finds it declared by a
    // process that died before it could.
    let declared = lost.is_ok() || seen.tenure(role) == Some(Tenure::Lost);
    if declared && is_of(owner, seen.generation(role)) {
        release_owner(header.record(role), owner);
    }
}
