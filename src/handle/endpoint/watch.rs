//! Whether the peer has come, lives, or has left.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::{Blocked, Endpoint};
use crate::error::Broken;
use crate::peer::Claim;
use crate::peer::{self, Occupant, PeerWatch, Verdict};
use crate::role::Role;
use crate::segment::layout::{Side, Signals};
use crate::segment::mapping::Mapping;
use crate::segment::state::Tenure;
use crate::sync::Ordering;
use crate::sys::sysv::SegmentId;
use crate::wait::{self, deadline};

/// What the reactor needs to know of a handle during a wait by the reactor.
#[derive(Debug)]
pub(crate) struct Vigil {
    mapping: Mapping,
    claim: Claim,
    id_shared: bool,
    needs_peer: bool,
    cancel: Option<Arc<AtomicBool>>,
    watch: PeerWatch,
    /// The generation of a peer whose death was returned.
    returned_death: Option<u16>,
    /// Whether this side may have promised a barrier before this sleep.
    may_have_promised: bool,
    /// What the peer had published before the last look.
    began_at: Published,
    /// The position of the peer that the handle waits for. `None` if any progress ends the wait.
    wanted: Option<u64>,
}

/// What a peer has published that can end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Published {
    position: u64,
    closed: u64,
    /// Marks of a producer. Those of a consumer count acknowledgements, which end no such wait.
    marks: u64,
}

impl Published {
    fn by(mapping: &Mapping, role: Role) -> Published {
        let Side {
            position, signals, ..
        } = mapping.header().side(role);
        let marks = match role {
            Role::Producer => signals.marks.load(Ordering::Relaxed), // compared only
            Role::Consumer => 0,
        };
        Published {
            position: position.load(Ordering::Relaxed), // compared only
            closed: signals.closed.load(Ordering::Relaxed), // compared only
            marks,
        }
    }
}

impl Vigil {
    pub(crate) fn own_signals(&self) -> &Signals {
        &self.mapping.header().side(self.claim.role).signals
    }

    /// Prepares to park until the peer's position is `wanted`: see [`wait::prepare_park`].
    pub(crate) fn prepare_park(&self, wanted: u64) -> bool {
        wait::prepare_park(self.own_signals(), wanted, self.may_have_promised)
    }

    /// Checks the cancel flag and the peer, as a blocking wait does once in a slice.
    /// Returns whether the handle should look for itself.
    pub(crate) fn has_news(&mut self) -> bool {
        if deadline::is_set(self.cancel.as_ref()) {
            return true;
        }
        let expected_child = self.watch.expects_child();
        let generation = || {
            let state = self.mapping.header().state();
            state.generation(self.claim.role.peer())
        };
        let before = generation();
        self.returned_death.take_if(|returned| *returned != before); // generations wrap
        let verdict = self.watch.check(&self.mapping, &self.claim, self.id_shared);
        match verdict {
            Ok(Verdict::Present | Verdict::Absent) => expected_child && !self.watch.expects_child(),
            Ok(Verdict::Dead { .. } | Verdict::NeverCame) => {
                self.needs_peer && self.returned_death != Some(generation())
            }
            Err(_) => true,
        }
    }

    /// Whether the peer has published something since the last look that may end the wait. A peer
    /// wakes nobody if it dies or stops between publishing and waking, or if it has
    /// published less than this side waits for.
    pub(crate) fn has_moved(&self) -> bool {
        let (before, now) = (
            self.began_at,
            Published::by(&self.mapping, self.claim.role.peer()),
        );
        let is_reached = |wanted| now.position.wrapping_sub(wanted) <= u64::MAX / 2;
        (before.closed, before.marks) != (now.closed, now.marks)
            || before.position != now.position && self.wanted.is_none_or(is_reached)
    }
}

impl Endpoint {
    /// Returns the id, for giving it to another process. From now on a process may
    /// attach the ring at any time.
    pub(crate) fn share_id(&self) -> Option<SegmentId> {
        self.id_shared.set(true);
        self.mapping.id()
    }

    /// Expects a child to take the other role. The child must not have been reaped.
    /// In a persistent ring any process may take the role, so nothing is
    /// expected.
    pub(crate) fn expect_child(&mut self, pid: u32) {
        if !self.mapping.geometry().kind.persists() {
            self.watch.expect_child(pid);
        }
    }

    /// Waits until `deadline` for an expected child to take the other role, and so
    /// to have the segment attached. Returns `true` if no child is missing.
    pub(crate) fn await_child(&mut self, deadline: Option<Instant>) -> bool {
        let Some(has_come) = self.child_to_come() else {
            return true;
        };
        // No position ends this wait.
        self.wait(u64::MAX, deadline, has_come).is_ok()
    }

    /// The condition that ends the wait for an expected child: that the child has
    /// taken the other role. `None` without such a child.
    pub(crate) fn child_to_come(
        &self,
    ) -> Option<impl FnMut() -> Result<Option<()>, Blocked> + use<>> {
        let (mapping, role) = (self.mapping.clone(), self.claim.role.peer());
        self.watch.expects_child().then_some(move || {
            let is_taken = mapping.header().state().tenure(role) != Some(Tenure::Free);
            Ok(is_taken.then_some(()))
        })
    }

    /// Lends the reactor what it needs to know during a wait by the reactor, while no call
    /// is in progress. [`return_vigil`](Self::return_vigil) ends the loan. A drop of the
    /// handle ends it too, and still waits for an expected child. The wait is for the peer's
    /// position `wanted`, or for any progress. The caller looks once more after this call.
    pub(crate) fn lend_vigil(&mut self, wanted: Option<u64>) -> Vigil {
        let may_have_promised = self.effort.sleep_begins();
        Vigil {
            may_have_promised,
            mapping: self.mapping.clone(),
            claim: self.claim.clone(),
            id_shared: self.id_shared.get(),
            needs_peer: self.needs_peer,
            cancel: self.cancel.clone(),
            watch: self.watch.lend(),
            // Only sets skip a death that was returned before; async calls return it again.
            returned_death: self.returned_death().filter(|_| wanted.is_none()),
            began_at: Published::by(&self.mapping, self.claim.role.peer()),
            wanted,
        }
    }

    /// Ends the loan of [`lend_vigil`](Self::lend_vigil). A member of a set may return another
    /// handle than before, against its contract. The other handle must not get the first one's
    /// watch.
    pub(crate) fn return_vigil(&mut self, vigil: &mut Vigil) {
        let watch = std::mem::take(&mut vigil.watch);
        if std::ptr::eq(self.own_signals(), vigil.own_signals()) {
            self.watch = watch;
        }
    }

    /// Checks the cancel flag and the peer now.
    #[cfg(feature = "async")]
    pub(crate) fn ask(&mut self) -> Result<(), Blocked> {
        let mut watch = std::mem::take(&mut self.watch);
        let verdict = self.check_between_sleeps(&mut watch);
        self.watch = watch;
        verdict.map(drop)
    }

    #[cfg(feature = "async")]
    pub(crate) fn count_sleep(&mut self) {
        self.effort.stats.waits += 1;
        self.effort.stats.sleeps += 1;
    }

    /// Asks the kernel whether the peer lives, and fails if the peer is dead. Bytes
    /// may be left to read, so only a wait makes that error final.
    pub(crate) fn peer_verdict(&mut self) -> Result<(), Broken> {
        let mut watch = std::mem::take(&mut self.watch);
        let verdict = self.peer(&mut watch);
        self.watch = watch;
        match verdict {
            Err(Broken::Corrupted(corruption)) => Err(self.latch(corruption.into())),
            Err(broken) => {
                self.log_event(&broken);
                Err(broken)
            }
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn peer(&self, watch: &mut PeerWatch) -> Result<(), Broken> {
        let role = self.claim.role.peer();
        match watch.check(&self.mapping, &self.claim, self.id_shared.get())? {
            Verdict::Present | Verdict::Absent => Ok(()),
            Verdict::Dead { pid } => Err(Broken::Died { role, pid }),
            Verdict::NeverCame => Err(Broken::NeverCame { role }),
        }
    }

    /// The occupant of the other role.
    pub(crate) fn peer_occupant(&self) -> Occupant {
        let header = self.mapping.header();
        peer::occupant(header, header.state(), self.claim.role.peer())
    }

    /// Whether a process holds the other role and is not about to leave.
    fn is_peer_here(&self) -> bool {
        let header = self.mapping.header();
        let role = self.claim.role.peer();
        let is_leaving = || {
            let closed = &header.side(role).signals.closed;
            // A side that sees what `last_act` of `leave` wrote also sees `closed`: P8, P4.
            closed.load(Ordering::Relaxed) != 0
        };
        header.state().tenure(role) == Some(Tenure::Held) && !is_leaving()
    }

    /// Waits until a process holds the other role, or has held the other role since
    /// this call began. Also ends when `ready` returns `true`.
    pub(crate) fn await_peer(
        &mut self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> Result<bool, Blocked>,
    ) -> Result<(), Blocked> {
        let role = self.claim.role.peer();
        let mapping = self.mapping.clone();
        let persists = mapping.geometry().kind.persists();
        let claims = || {
            let side = mapping.header().side(role);
            side.signals.claims.load(Ordering::Relaxed) // compared only
        };
        // If no second peer can come, a peer that has come and left is enough.
        let before = if persists { claims() } else { 0 };
        let verdict = self.peer_verdict();
        // What the peer published before its end counts first.
        if ready().map_err(|blocked| self.latch_blocked(blocked))? {
            return Ok(());
        }
        match verdict {
            Ok(()) if self.is_peer_here() => return Ok(()),
            Err(Broken::Died { .. } | Broken::NeverCame { .. }) if persists => {}
            verdict => verdict.map_err(|broken| self.latch(broken))?,
        }
        let needed = std::mem::replace(&mut self.needs_peer, !persists);
        // No position ends this wait.
        let waited = self.wait(u64::MAX, deadline, || {
            Ok((claims() != before || ready()?).then_some(()))
        });
        self.needs_peer = needed;
        waited
    }
}
