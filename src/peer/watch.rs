//! Watching whether the peer lives.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::claim::Claim;
use super::liveness::attached;
use crate::error::{Corruption, Rule};
use crate::role::Role;
use crate::segment::layout::{Header, WAKES};
use crate::segment::mapping::Mapping;
use crate::segment::record::{Holder, is_of, last_holder, release_owner};
use crate::segment::state::{LifeCycleKind, State, Tenure};
use crate::sync::Ordering;
use crate::sys::process::{Liveness, Process, Watch};

/// What is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The peer lives, or nothing proves its death.
    Present,
    /// No process holds the role: not yet, or no longer.
    Absent,
    /// The peer is dead.
    Dead { pid: u32 },
    /// No process holds the role, and no process is left that could take it.
    NeverCame,
}

/// Watches the peer of one claim.
#[derive(Debug, Default)]
pub(crate) struct PeerWatch {
    /// The watch of a holder, with the holder's owner word and process.
    watch: Option<(u64, Process, Watch)>,
    /// The child that is to take the role, until some process holds the role. A watch
    /// and the watch lent from it share the child, and only one of the two is used at
    /// a time.
    child: Option<Arc<Mutex<Watch>>>,
    /// Whether the last check found a living holder whose record says that it wakes
    /// its peer.
    peer_wakes: bool,
}

impl PeerWatch {
    /// From now on expects only the child `pid` to take the peer's role. The child
    /// must not have been reaped.
    pub(crate) fn expect_child(&mut self, pid: u32) {
        let mut watch = Watch::new(Process::of_child(pid));
        // The first check happens while the pid is sure to be the child's. Later
        // checks rely on the pidfd.
        watch.check();
        self.child = Some(Arc::new(Mutex::new(watch)));
    }

    /// Lends the watch to a thread that waits for the handle. The watch that stays still
    /// expects the child, since a handle that is dropped during the loan waits for its child.
    pub(crate) fn lend(&mut self) -> PeerWatch {
        let child = self.child.clone();
        let stays = PeerWatch {
            child,
            ..PeerWatch::default()
        };
        mem::replace(self, stays)
    }

    /// Whether the expected child has not been seen to take the role.
    pub(crate) fn expects_child(&self) -> bool {
        self.child.is_some()
    }

    /// Whether the peer is sure to wake a sleeper, as of the last check.
    pub(crate) fn peer_wakes(&self) -> bool {
        self.peer_wakes
    }

    /// Checks whether the peer of `claim` lives. `id_shared` says that the segment's
    /// id was given to another process, which may attach the ring at any time.
    pub(crate) fn check(
        &mut self,
        mapping: &Mapping,
        claim: &Claim,
        id_shared: bool,
    ) -> Result<Verdict, Corruption> {
        self.peer_wakes = false;
        let header = mapping.header();
        let now = header.state();
        check_own_role(header, claim, now)?;
        let role = claim.role.peer();
        let record = header.record(role);
        let holder = Holder::read(record);
        let verdict = match now.tenure(role) {
            Some(Tenure::Held) => {
                self.child = None;
                match self.is_dead(mapping, claim, holder) {
                    true => Verdict::Dead {
                        // The owner word may be that of a claimer that found the
                        // holder dead.
                        pid: last_holder(record, now.generation(role)),
                    },
                    false => Verdict::Present,
                }
            }
            Some(Tenure::Free)
                if mapping.geometry().kind == LifeCycleKind::Anonymous || self.child.is_some() =>
            {
                self.check_newcomer(mapping, claim, holder, id_shared)
            }
            Some(Tenure::Free | Tenure::Left) => Verdict::Absent,
            Some(Tenure::Lost) => Verdict::Dead {
                pid: last_holder(record, now.generation(role)),
            },
            None => return Err(Corruption::new(Rule::StateWord, now.0, State::OPEN.0)),
        };
        // The evidence is about one holder only if no other has claimed meanwhile.
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        if header.state() != now || owner != holder.map_or(0, |holder| holder.owner) {
            return Ok(Verdict::Present);
        }
        let wakes = holder.is_some_and(|holder| holder.capabilities() & WAKES != 0);
        self.peer_wakes = verdict == Verdict::Present && wakes;
        if mapping.geometry().kind.persists() {
            if let Verdict::Dead { .. } = verdict {
                declare_lost(header, now, role, owner);
            }
            // A process died in the middle of a claim or of leaving. The next claimer
            // may be unable to prove that, since this side's attachment counts as well.
            let is_free = matches!(now.tenure(role), Some(Tenure::Free | Tenure::Lost));
            if is_free && owner != 0 && self.is_dead(mapping, claim, holder) {
                release_owner(record, owner);
            }
        }
        Ok(verdict)
    }

    /// Whether the peer is proven dead. The peer holds the role, or only its owner
    /// word.
    fn is_dead(&mut self, mapping: &Mapping, claim: &Claim, holder: Option<Holder>) -> bool {
        let Some(holder) = holder else {
            return false;
        };
        // The least attach count while both sides live. The holder may be this
        // process: the two roles of a split ring can share one mapping.
        let fewest = if holder.process.may_be(&Process::current()) {
            claim.views.max(holder.views)
        } else {
            claim.views + holder.views
        };
        let fewest = u64::from(fewest);
        self.is_gone(&holder) || attached(mapping).is_some_and(|count| count < fewest)
    }

    /// Judges whether a process can still take the peer's role, which is free. The
    /// ring is anonymous, or a child is to take the role. `half_done` is a claimer
    /// in the middle of its claim.
    fn check_newcomer(
        &mut self,
        mapping: &Mapping,
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
        let alone = || attached(mapping).is_some_and(|count| count <= u64::from(claim.views));
        let is_nobody_left = match &mut self.child {
            Some(child) => {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                half_done.is_none() && child.check() == Liveness::Gone
            }
            None => !id_shared && alone(),
        };
        if is_nobody_left {
            return Verdict::NeverCame;
        }
        Verdict::Absent
    }

    fn is_gone(&mut self, holder: &Holder) -> bool {
        // A claimer that has changed since the last check gets a new watch.
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

/// Declares in the segment that the holder of `role` is dead. The next opener of
/// the ring may be unable to prove the death.
pub(crate) fn declare_lost(header: &Header, seen: State, role: Role, owner: u64) {
    let lost = header.transition(|state| {
        if state == seen {
            state.lose(role).ok_or(())
        } else {
            Err(())
        }
    });
    // The process that declared the death frees the owner word. If that process
    // died first, another process that finds the declaration frees the word.
    let declared = lost.is_ok() || seen.tenure(role) == Some(Tenure::Lost);
    if declared && is_of(owner, seen.generation(role)) {
        release_owner(header.record(role), owner);
    }
}
