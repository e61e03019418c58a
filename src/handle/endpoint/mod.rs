//! What the two handles have in common: whose they are, waiting for the peer,
//! and leaving.

mod waiting;
mod watch;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::Broken;
use crate::handle::config::HandleConfig;
use crate::peer::{self, Claim, PeerWatch};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::Signals;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life};
use crate::sys::fork::Epoch;
use crate::wait::{Effort, Stats, WaitPolicy};

pub(crate) use self::waiting::{Blocked, Need};
#[cfg(feature = "async")]
pub(crate) use self::watch::Vigil;

/// One side of a ring, held by one process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    region: MappedRegion,
    claim: Claim,
    epoch: Epoch,
    /// The same while the handle is of use.
    usable: Epoch,
    watch: PeerWatch,
    /// Why the handle is of no further use, once it is.
    latched: Option<Broken>,
    /// Whether the id was given to a process that may come at any time.
    id_shared: Cell<bool>,
    /// Whether a peer that died ends the waits of this side. Else another one
    /// is waited for.
    needs_peer: bool,
    /// Whether a drop breaks off, in place of finishing.
    aborts_on_drop: bool,
    /// Whether the handle has left in order.
    has_closed: bool,
    timeout: Option<Duration>,
    cancel: Option<Arc<AtomicBool>>,
    effort: Effort,
    policy: WaitPolicy,
    /// Whether the peer needs this very processor, and the owner word of the
    /// peer for which that was found out.
    shares_processor: Option<(u64, bool)>,
}

/// How the short way of a call went, which makes no calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastPath {
    Done,
    /// The peer may have to be woken yet.
    DoneMustWake,
    /// Nothing has happened.
    Miss,
}

impl FastPath {
    /// Ends a call of `handle`: with `done`, once the peer is woken if need be, or if
    /// nothing has happened yet, with what `otherwise` makes of it.
    #[inline(always)]
    pub(crate) fn finish<H, T>(
        self,
        handle: &mut H,
        done: T,
        wake_after: impl FnOnce(&mut H, T) -> T,
        otherwise: impl FnOnce(&mut H) -> T,
    ) -> T {
        match self {
            FastPath::Done => done,
            FastPath::DoneMustWake => wake_after(handle, done),
            FastPath::Miss => otherwise(handle),
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
        id_shared: bool,
    ) -> Endpoint {
        let kind = region.geometry().kind;
        let needs_peer = claim.role == Role::Consumer || config.needs_consumer(kind);
        let effort = Effort::with_barriers();
        effort.promise(&region.header().side(claim.role).signals);
        let epoch = Epoch::current();
        Endpoint {
            region,
            claim,
            epoch,
            usable: epoch,
            watch: PeerWatch::default(),
            latched: None,
            id_shared: Cell::new(id_shared),
            needs_peer,
            aborts_on_drop: config.abort_on_drop,
            has_closed: false,
            timeout: config.timeout,
            cancel: config.cancel.clone(),
            effort,
            policy: config.policy,
            shares_processor: None,
        }
    }

    pub(crate) fn region(&self) -> &MappedRegion {
        &self.region
    }

    pub(crate) fn stats(&self) -> Stats {
        self.effort.stats
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn set_timeout(&mut self, limit: Option<Duration>) {
        self.timeout = limit;
    }

    pub(crate) fn policy(&self) -> WaitPolicy {
        self.policy
    }

    pub(crate) fn set_policy(&mut self, policy: WaitPolicy) {
        self.policy = policy;
    }

    /// Whether the handle can be used, by this process.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.is_current()
    }

    /// As [`is_usable`](Self::is_usable), and if not, why.
    #[inline]
    pub(crate) fn usable(&self) -> Result<(), Broken> {
        if self.is_usable() {
            return Ok(());
        }
        Err(self.reason())
    }

    /// Whether this handle was closed, by this process and in order: closing it once
    /// more has nothing left to do.
    pub(crate) fn has_closed(&self) -> bool {
        self.has_closed && self.epoch.is_current()
    }

    /// Why the handle cannot be used.
    #[cold]
    fn reason(&self) -> Broken {
        match &self.latched {
            Some(broken) if self.epoch.is_current() => broken.clone(),
            _ => Broken::Inherited,
        }
    }

    /// Makes what cannot be undone the answer to every later call.
    #[cold]
    pub(crate) fn latch(&mut self, broken: Broken) -> Broken {
        let persists = self.region.geometry().kind.persists();
        let is_final = match broken {
            Broken::Corrupted(_) | Broken::Closed => true,
            // With a ring that persists somebody may come and take over.
            Broken::Died { .. } | Broken::NeverCame { .. } => !persists,
            _ => false,
        };
        if is_final {
            self.give_up(broken.clone());
        }
        broken
    }

    fn give_up(&mut self, why: Broken) {
        self.latched = Some(why);
        self.usable = Epoch::never();
    }

    pub(crate) fn own_signals(&self) -> &Signals {
        &self.region.header().side(self.claim.role).signals
    }

    fn peer_signals(&self) -> &Signals {
        &self.region.header().side(self.claim.role.peer()).signals
    }

    /// Wakes the peer, whose signals these are, if it sleeps and wants no more
    /// than `position`.
    #[inline]
    pub(crate) fn wake(&mut self, peer: &Signals, position: u64) {
        let own = &self.region.header().side(self.claim.role).signals;
        self.effort.wake(own, peer, position);
    }

    /// What became of a short call that has published: done, unless a
    /// [`wake`](Self::wake) may be needed.
    #[inline(always)]
    pub(crate) fn fast_path_done(&self, peer: &Signals) -> FastPath {
        if self.effort.is_spared(peer) {
            FastPath::Done
        } else {
            FastPath::DoneMustWake
        }
    }

    /// As [`wake`](Self::wake), where it is needed.
    pub(crate) fn wake_slow(&mut self, peer: &Signals, position: u64) {
        let own = &self.region.header().side(self.claim.role).signals;
        self.effort.wake_unspared(own, peer, position);
    }

    /// Counts a call that went on without a sleep; `bytes` are those that it found
    /// without any wait.
    #[inline]
    pub(crate) fn stayed_awake(&mut self, bytes: u64) {
        let own = &self.region.header().side(self.claim.role).signals;
        self.effort.stayed_awake(own, bytes);
    }

    /// Whether a drop breaks off, in place of finishing.
    pub(crate) fn aborts_on_drop(&self) -> bool {
        self.aborts_on_drop || std::thread::panicking()
    }

    pub(crate) fn set_abort_on_drop(&mut self, abort: bool) {
        self.aborts_on_drop = abort;
    }

    /// Leaves the ring. Nothing happens the second time, or in a process that
    /// only inherited the handle. Calls `last_act` while the role is still held.
    pub(crate) fn leave(&mut self, departure: Departure, last_act: impl FnOnce()) -> Left {
        if !self.epoch.is_current() || self.latched == Some(Broken::Closed) {
            return Left::InOrder;
        }
        self.give_up(Broken::Closed);
        self.has_closed = departure == Departure::Finished;
        let kind = self.region.geometry().kind;
        let left = peer::leave(&self.region, kind, &self.claim, departure, last_act);
        let Some((before, _)) = left else {
            return Left::InOrder;
        };
        if kind != Kind::Named {
            return Left::InOrder;
        }
        // Nobody is there to tell of a failure; the last to detach, or the
        // next to open, sees the state word and removes it.
        let _ = self.region.unlink();
        match before.life() {
            Some(Life::Open) => Left::Alone,
            _ => Left::InOrder,
        }
    }
}

/// What leaving has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    InOrder,
    /// A named ring that nobody had joined, and nobody can join any more.
    Alone,
}
