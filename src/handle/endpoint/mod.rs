//! What both handles have in common: their process, waiting for the peer, and
//! leaving.

mod verdict;
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
use crate::segment::mapping::Mapping;
use crate::segment::state::{Life, LifeCycleKind};
use crate::sys::events;
use crate::sys::fork::Epoch;
use crate::wait::{Effort, Stats, WaitPolicy};

use self::verdict::Finding;
pub(crate) use self::waiting::{Blocked, Need};
pub(crate) use self::watch::Vigil;

/// One side of a ring, held by one process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Shared with the window's region, which alone copies bytes. A wait borrows both the endpoint
    /// and the window.
    mapping: Mapping,
    claim: Claim,
    epoch: Epoch,
    /// Equals `epoch` while the handle is usable.
    usable: Epoch,
    watch: PeerWatch,
    /// Why the handle is no longer usable, if so.
    latched: Option<Broken>,
    /// What a wait for several handles has found out about the peer, for the next call that finds
    /// nothing to do.
    verdict: Option<Finding>,
    /// The generation of the peer whose death such a call has returned.
    returned_death: Option<u16>,
    /// The last death or corruption that was reported as an event.
    reported: Option<Broken>,
    /// Whether the segment's id was given to another process, which may attach the
    /// ring at any time.
    id_shared: Cell<bool>,
    /// Whether the death of a peer ends the waits of this side. Otherwise waits
    /// continue for the next peer.
    needs_peer: bool,
    /// Whether a drop breaks the stream off instead of finishing it.
    aborts_on_drop: bool,
    /// Whether the handle was closed in order.
    has_closed: bool,
    timeout: Option<Duration>,
    cancel: Option<Arc<AtomicBool>>,
    effort: Effort,
    policy: WaitPolicy,
    /// Whether the wait in progress may sleep for longer than a slice.
    sleeps_long: bool,
    /// For the peer with this owner word: whether it can only run on the processor
    /// of this thread.
    shares_processor: Option<(u64, bool)>,
}

/// The result of a fast path, whose short copies are inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastPath {
    Done,
    /// Done, but the peer may have to be woken.
    DoneMustWake,
    /// Nothing was done: the call has to continue on a slower path.
    Miss,
}

impl FastPath {
    /// Ends a call of `handle`. Returns `done`, after waking the peer if necessary.
    /// After a miss, returns the result of `otherwise`.
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
        mapping: Mapping,
        claim: Claim,
        config: &HandleConfig,
        id_shared: bool,
    ) -> Endpoint {
        let kind = mapping.geometry().kind;
        let needs_peer = claim.role == Role::Consumer || config.needs_consumer(kind);
        let effort = Effort::of_new_holder(&mapping.header().side(claim.role).signals);
        let epoch = Epoch::current();
        Endpoint {
            mapping,
            claim,
            epoch,
            usable: epoch,
            watch: PeerWatch::default(),
            latched: None,
            verdict: None,
            returned_death: None,
            reported: None,
            id_shared: Cell::new(id_shared),
            needs_peer,
            aborts_on_drop: config.abort_on_drop,
            has_closed: false,
            timeout: config.timeout,
            cancel: config.cancel.clone(),
            effort,
            policy: config.policy,
            sleeps_long: false,
            shares_processor: None,
        }
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
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

    pub(crate) fn cancel_flag(&self) -> Option<&Arc<AtomicBool>> {
        self.cancel.as_ref()
    }

    pub(crate) fn policy(&self) -> WaitPolicy {
        self.policy
    }

    pub(crate) fn set_policy(&mut self, policy: WaitPolicy) {
        self.policy = policy;
    }

    /// Whether this process can use the handle.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.is_current()
    }

    /// Fails with the reason if this process cannot use the handle.
    #[inline]
    pub(crate) fn usable(&self) -> Result<(), Broken> {
        if self.is_usable() {
            return Ok(());
        }
        Err(self.reason())
    }

    /// Whether this process closed the handle in order, so that closing again has
    /// no effect.
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

    /// Makes `broken` the result of every later call, if `broken` is final.
    #[cold]
    pub(crate) fn latch(&mut self, broken: Broken) -> Broken {
        let persists = self.mapping.geometry().kind.persists();
        let is_final = match broken {
            Broken::Corrupted(_) | Broken::Closed => true,
            // In a persistent ring another process may take over the role.
            Broken::Died { .. } | Broken::NeverCame { .. } => !persists,
            _ => false,
        };
        if is_final {
            self.give_up(broken.clone());
        } else {
            self.note_returned_death(&broken);
        }
        self.log_event(&broken);
        broken
    }

    /// Reports a death or a corruption as an event, once.
    #[cold]
    fn log_event(&mut self, broken: &Broken) {
        if self.reported.as_ref() == Some(broken) {
            return;
        }
        let (id, role) = (self.mapping.id(), self.claim.role);
        match broken {
            Broken::Died { .. } | Broken::NeverCame { .. } => {
                self.reported = Some(broken.clone());
                events::lost_peer(id, role, broken);
            }
            Broken::Corrupted(_) => {
                self.reported = Some(broken.clone());
                events::corrupted(id, role, broken);
            }
            _ => {}
        }
    }

    fn give_up(&mut self, why: Broken) {
        self.latched = Some(why);
        self.usable = Epoch::never();
    }

    pub(crate) fn own_signals(&self) -> &Signals {
        &self.mapping.header().side(self.claim.role).signals
    }

    fn peer_signals(&self) -> &Signals {
        &self.mapping.header().side(self.claim.role.peer()).signals
    }

    /// Wakes the peer if it sleeps and `position` reaches the position that it waits
    /// for. `peer` are its signals.
    #[inline]
    pub(crate) fn wake(&mut self, peer: &Signals, position: u64) {
        let own = &self.mapping.header().side(self.claim.role).signals;
        self.effort.wake(own, peer, position);
    }

    /// The result of a fast path that has published: whether the peer may have to
    /// be [woken](Self::wake).
    #[inline(always)]
    pub(crate) fn fast_path_done(&self, peer: &Signals) -> FastPath {
        if self.effort.skips_fence(peer) {
            FastPath::Done
        } else {
            FastPath::DoneMustWake
        }
    }

    /// The slow case of [`wake`](Self::wake), after a fast path that ended with
    /// [`FastPath::DoneMustWake`].
    pub(crate) fn wake_slow(&mut self, peer: &Signals, position: u64) {
        let own = &self.mapping.header().side(self.claim.role).signals;
        self.effort.fence_and_wake(own, peer, position);
    }

    /// Counts a call that continued without sleeping. `bytes` are those found
    /// without waiting.
    #[inline]
    pub(crate) fn stayed_awake(&mut self, bytes: u64) {
        let own = &self.mapping.header().side(self.claim.role).signals;
        self.effort.stayed_awake(own, bytes);
    }

    /// Whether a drop breaks the stream off instead of finishing it.
    pub(crate) fn aborts_on_drop(&self) -> bool {
        self.aborts_on_drop || std::thread::panicking()
    }

    pub(crate) fn set_abort_on_drop(&mut self, abort: bool) {
        self.aborts_on_drop = abort;
    }

    /// Leaves a persistent ring as if this process had died. Has no effect the second
    /// time, or in a process that inherited the handle.
    pub(crate) fn abandon(&mut self) {
        if self.epoch.is_current() && self.latched != Some(Broken::Closed) {
            self.give_up(Broken::Closed);
            peer::abandon(self.mapping.header(), &self.claim);
        }
    }

    /// Leaves the ring. Has no effect the second time, or in a process that
    /// inherited the handle. Calls `last_act` while the role is still held.
    pub(crate) fn leave(&mut self, departure: Departure, last_act: impl FnOnce()) -> Left {
        if !self.epoch.is_current() || self.latched == Some(Broken::Closed) {
            return Left::Done;
        }
        self.give_up(Broken::Closed);
        self.has_closed = departure == Departure::Finished;
        let kind = self.mapping.geometry().kind;
        let left = peer::leave(
            self.mapping.header(),
            kind,
            &self.claim,
            departure,
            last_act,
        );
        let Some((before, _)) = left else {
            return Left::Done;
        };
        if kind != LifeCycleKind::Named {
            return Left::Done;
        }
        // A failure is not reported. The next process that opens the ring sees the
        // life-cycle word and removes the segment.
        let _ = self.mapping.unlink();
        match before.life() {
            Some(Life::Open) => Left::Alone,
            _ => Left::Done,
        }
    }
}

/// How a side left its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The role is given up, or was given up before.
    Done,
    /// A named ring that nobody had joined, and nobody can join any more.
    Alone,
}
