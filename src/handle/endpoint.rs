//! What the two handles have in common: whose they are, waiting for the peer,
//! and leaving.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::error::{Broken, Corruption, Place, Span, WaitError};
use crate::handle::config::HandleConfig;
use crate::peer::{self, Claim, Occupant, PeerWatch, Verdict};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::Signals;
use crate::segment::record::Holder;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life, Tenure};
use crate::sync::Ordering;
use crate::sys::affinity;
use crate::sys::fork::Epoch;
use crate::sys::sysv::SegmentId;
use crate::wait::deadline;
use crate::wait::{self, Effort, Spinning, Stats, WaitPolicy, Waited};

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
    handed_over: Cell<bool>,
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

/// All that a wait needs to know of a handle that is not at hand.
#[cfg(feature = "async")]
#[derive(Debug)]
pub(crate) struct Vigil {
    region: MappedRegion,
    claim: Claim,
    handed_over: bool,
    needs_peer: bool,
    cancel: Option<Arc<AtomicBool>>,
    watch: PeerWatch,
}

#[cfg(feature = "async")]
impl Vigil {
    pub(crate) fn own_signals(&self) -> &Signals {
        &self.region.header().side(self.claim.role).signals
    }

    /// Asks what a wait asks once in a slice: whether the handle had better
    /// look for itself.
    pub(crate) fn has_news(&mut self) -> bool {
        if deadline::is_set(self.cancel.as_ref()) {
            return true;
        }
        let expected_child = self.watch.expects_child();
        let verdict = self
            .watch
            .check(&self.region, &self.claim, self.handed_over);
        match verdict {
            Ok(Verdict::Present | Verdict::Absent) => expected_child && !self.watch.expects_child(),
            Ok(Verdict::Dead { .. } | Verdict::NeverCame) => self.needs_peer,
            Err(_) => true,
        }
    }
}

/// How the short way of a call went, which makes no calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Done,
    /// The peer may have to be woken yet.
    DoneUnspared,
    /// Nothing has happened.
    Not,
}

impl Short {
    /// Ends a call of `handle`: with `done`, once the peer is woken if need be, or if
    /// nothing has happened yet, with what `otherwise` makes of it.
    #[inline(always)]
    pub(crate) fn end<H, T>(
        self,
        handle: &mut H,
        done: T,
        wake_after: impl FnOnce(&mut H, T) -> T,
        otherwise: impl FnOnce(&mut H) -> T,
    ) -> T {
        match self {
            Short::Done => done,
            Short::DoneUnspared => wake_after(handle, done),
            Short::Not => otherwise(handle),
        }
    }
}

/// How much is worth the end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// What the call can go on with.
    Least,
    /// What lets it go on for a while.
    Plenty,
}

/// Why a blocking call gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    TimedOut,
    Cancelled,
    Broken(Broken),
}

impl From<Blocked> for WaitError {
    fn from(blocked: Blocked) -> WaitError {
        match blocked {
            Blocked::TimedOut => WaitError::TimedOut,
            Blocked::Cancelled => WaitError::Cancelled,
            Blocked::Broken(broken) => WaitError::Broken(broken),
        }
    }
}

impl From<Broken> for Blocked {
    fn from(broken: Broken) -> Blocked {
        Blocked::Broken(broken)
    }
}

impl From<Corruption> for Blocked {
    fn from(corruption: Corruption) -> Blocked {
        Blocked::Broken(corruption.into())
    }
}

impl Endpoint {
    pub(crate) fn new(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
        handed_over: bool,
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
            handed_over: Cell::new(handed_over),
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

    /// The id, for a process that may come at any time.
    pub(crate) fn hand_over(&self) -> Option<SegmentId> {
        self.handed_over.set(true);
        self.region.id()
    }

    /// Expects a child, not yet waited for, to take the other role. Of a ring
    /// that persists anybody may, now or later.
    pub(crate) fn expect_child(&mut self, pid: u32) {
        if !self.region.geometry().kind.persists() {
            self.watch.expect_child(pid);
        }
    }

    /// Waits until the child that is expected, if one is, has taken the other
    /// role, and so has the segment attached; or until `deadline`. Says whether
    /// nobody is missing.
    pub(crate) fn await_child(&mut self, deadline: Option<Instant>) -> bool {
        let Some(has_come) = self.child_to_come() else {
            return true;
        };
        // No position ends this wait.
        self.wait(u64::MAX, deadline, has_come).is_ok()
    }

    /// What tells whether the child that is expected, if one is, has taken the
    /// other role.
    pub(crate) fn child_to_come(
        &self,
    ) -> Option<impl FnMut() -> Result<Option<()>, Blocked> + use<>> {
        let (region, role) = (self.region.clone(), self.claim.role.peer());
        self.watch.expects_child().then_some(move || {
            let is_taken = region.header().state().tenure(role) != Some(Tenure::Free);
            Ok(is_taken.then_some(()))
        })
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

    /// When a blocking call that starts now gives up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout
            .and_then(|limit| Instant::now().checked_add(limit))
    }

    /// The error of a blocking call whose time is over: the handle's limit, or
    /// a deadline where `limit` is none.
    #[cold]
    pub(crate) fn timed_out(&self, limit: Option<Duration>) -> io::Error {
        let role = self.claim.role;
        let place = Place::segment(self.region.id()).with_role(role);
        let span = limit.map(|limit| format!(" {}", Span(limit)));
        let span = span.unwrap_or_default();
        let missing = match role {
            Role::Producer => "no room for a byte",
            Role::Consumer => "no byte to read",
        };
        let peer = role.peer();
        let peer = match self.peer_occupant() {
            Occupant::Process(pid) | Occupant::Dead(pid) if pid != 0 => {
                format!("the {peer} is process {pid}")
            }
            Occupant::Process(_) | Occupant::Dead(_) => format!("there is a {peer}"),
            Occupant::Nobody => format!("there is no {peer}"),
            Occupant::Left => format!("the {peer} has left"),
        };
        let text = format!("{place}timed out{span}: {missing}, and {peer}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// The error of a blocking call that has the handle's limit.
    #[cold]
    pub(crate) fn io_error(&self, blocked: Blocked) -> io::Error {
        match blocked {
            Blocked::TimedOut => self.timed_out(self.timeout),
            Blocked::Cancelled => WaitError::Cancelled.into(),
            Blocked::Broken(broken) => broken.into(),
        }
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

    fn own_signals(&self) -> &Signals {
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
    pub(crate) fn spares(&self, peer: &Signals) -> Short {
        if self.effort.is_spared(peer) {
            Short::Done
        } else {
            Short::DoneUnspared
        }
    }

    /// As [`wake`](Self::wake), where it is needed.
    pub(crate) fn wake_unspared(&mut self, peer: &Signals, position: u64) {
        let own = &self.region.header().side(self.claim.role).signals;
        self.effort.wake_unspared(own, peer, position);
    }

    /// Counts a call that went on without a sleep; `bytes` are those that it found
    /// without any wait.
    #[inline]
    pub(crate) fn went_on(&mut self, bytes: u64) {
        let own = &self.region.header().side(self.claim.role).signals;
        self.effort.stayed_awake(own, bytes);
    }

    /// Waits until `ready` gives a value. `wanted` is the position of the peer
    /// that is worth a wake.
    #[inline]
    pub(crate) fn wait<T>(
        &mut self,
        wanted: u64,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        self.wait_for_plenty(wanted, Duration::ZERO, deadline, |_| ready())
    }

    /// The same for a caller that leaves the peer's line alone for `rest` between two
    /// looks. While it spins before a sleep, it waits for plenty; then it takes the
    /// least.
    #[inline]
    pub(crate) fn wait_for_plenty<T>(
        &mut self,
        wanted: u64,
        rest: Duration,
        deadline: Option<Instant>,
        mut ready: impl FnMut(Need) -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        if deadline::is_past(deadline) {
            // One look, by `sleep`, and none of a spin.
            return self.sleep(wanted, Spinning::Not, deadline, || ready(Need::Least));
        }
        let spinning = self.spinning();
        let need = match spinning {
            Spinning::For(_) => Need::Plenty,
            Spinning::Not | Spinning::Always => Need::Least,
        };
        // Before the spin, a peer that is seen to sleep; before the sleep, any.
        let role = self.claim.role;
        let header = self.region.header();
        self.effort.wake_if_seen(&header.side(role.peer()).signals);
        let mut found = wait::spin(spinning, rest, deadline, &mut || ready(need));
        if need == Need::Plenty && matches!(found, Ok(None)) {
            found = ready(Need::Least);
        }
        match found {
            Ok(Some(value)) => {
                self.went_on(0);
                Ok(value)
            }
            Ok(None) => self.sleep(wanted, spinning, deadline, || ready(Need::Least)),
            Err(blocked) => Err(self.latch_blocked(blocked)),
        }
    }

    #[cold]
    fn sleep<T>(
        &mut self,
        wanted: u64,
        spinning: Spinning,
        deadline: Option<Instant>,
        ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        self.wake_before_waiting();
        let mut effort = self.effort;
        let mut watch = std::mem::take(&mut self.watch);
        let started = matches!(spinning, Spinning::For(_)).then(Instant::now);
        let waited = wait::wait(
            self.own_signals(),
            wanted,
            spinning,
            deadline,
            &mut effort,
            ready,
            || self.slice(&mut watch),
        );
        self.watch = watch;
        self.effort = effort;
        if let (Spinning::For(spun), Some(started)) = (spinning, started) {
            self.effort.slept(spun.saturating_add(started.elapsed()));
        }
        match waited {
            Ok(Waited::Ready(value)) => Ok(value),
            Ok(Waited::TimedOut) => Err(Blocked::TimedOut),
            Err(blocked) => Err(self.latch_blocked(blocked)),
        }
    }

    #[cold]
    fn latch_blocked(&mut self, blocked: Blocked) -> Blocked {
        match blocked {
            Blocked::Broken(broken) => Blocked::Broken(self.latch(broken)),
            Blocked::TimedOut | Blocked::Cancelled => blocked,
        }
    }

    /// The peer may be asleep until more has happened than now ever will.
    pub(crate) fn wake_before_waiting(&mut self) {
        if wait::wake_always(self.peer_signals()) {
            self.effort.stats.wakes += 1;
        }
    }

    /// Between two sleeps: is there still a reason to wait?
    fn slice(&self, watch: &mut PeerWatch) -> Result<(), Blocked> {
        if deadline::is_set(self.cancel.as_ref()) {
            return Err(Blocked::Cancelled);
        }
        match self.peer(watch) {
            Err(Broken::Died { .. } | Broken::NeverCame { .. }) if !self.needs_peer => Ok(()),
            verdict => verdict.map_err(Blocked::Broken),
        }
    }

    /// For an async wait, which goes on while no call is in progress: what its
    /// reactor asks after. The watch comes back when the wait is over.
    #[cfg(feature = "async")]
    pub(crate) fn lend_vigil(&mut self) -> Vigil {
        self.effort.sleeps();
        Vigil {
            region: self.region.clone(),
            claim: self.claim.clone(),
            handed_over: self.handed_over.get(),
            needs_peer: self.needs_peer,
            cancel: self.cancel.clone(),
            watch: std::mem::take(&mut self.watch),
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn take_back(&mut self, vigil: &mut Vigil) {
        self.watch = std::mem::take(&mut vigil.watch);
    }

    /// What a wait asks once in a slice, asked now.
    #[cfg(feature = "async")]
    pub(crate) fn ask(&mut self) -> Result<(), Blocked> {
        let mut watch = std::mem::take(&mut self.watch);
        let verdict = self.slice(&mut watch);
        self.watch = watch;
        verdict
    }

    #[cfg(feature = "async")]
    pub(crate) fn count_sleep(&mut self) {
        self.effort.stats.sleeps += 1;
    }

    /// Asks the kernel whether the peer lives; an error says that it does not.
    /// Only a wait makes that the end: bytes may be left to read.
    pub(crate) fn peer_verdict(&mut self) -> Result<(), Broken> {
        let mut watch = std::mem::take(&mut self.watch);
        let verdict = self.peer(&mut watch);
        self.watch = watch;
        match verdict {
            Err(Broken::Corrupted(corruption)) => Err(self.latch(corruption.into())),
            verdict => verdict,
        }
    }

    fn peer(&self, watch: &mut PeerWatch) -> Result<(), Broken> {
        let role = self.claim.role.peer();
        match watch.check(&self.region, &self.claim, self.handed_over.get())? {
            Verdict::Present | Verdict::Absent => Ok(()),
            Verdict::Dead { pid } => Err(Broken::Died { role, pid }),
            Verdict::NeverCame => Err(Broken::NeverCame { role }),
        }
    }

    /// How a wait spins, and whether it does.
    pub(crate) fn spinning(&mut self) -> Spinning {
        let policy = self.policy;
        match policy {
            WaitPolicy::Spin => Spinning::Always,
            WaitPolicy::SpinThenPark(Duration::ZERO) => Spinning::Not,
            WaitPolicy::SpinThenPark(time) if !self.shares_processor() => Spinning::For(time),
            WaitPolicy::Adaptive if !self.shares_processor() => Spinning::For(self.effort.spin()),
            WaitPolicy::SpinThenPark(_) | WaitPolicy::Adaptive | WaitPolicy::Park => Spinning::Not,
        }
    }

    /// Whether spinning keeps the peer from running, found out once for each.
    fn shares_processor(&mut self) -> bool {
        let record = self.region.header().record(self.claim.role.peer());
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        match self.shares_processor {
            Some((known, shares)) if known == owner => shares,
            _ => {
                let peer = Holder::read(record).map(|holder| holder.process.pid);
                let shares = affinity::share_one(peer);
                self.shares_processor = Some((owner, shares));
                shares
            }
        }
    }

    /// Who has the other role.
    pub(crate) fn peer_occupant(&self) -> Occupant {
        let header = self.region.header();
        peer::occupant(header, header.state(), self.claim.role.peer())
    }

    /// Whether a drop breaks off, in place of finishing.
    pub(crate) fn aborts_on_drop(&self) -> bool {
        self.aborts_on_drop || std::thread::panicking()
    }

    pub(crate) fn set_abort_on_drop(&mut self, abort: bool) {
        self.aborts_on_drop = abort;
    }

    /// Whether somebody has the other role, and is not about to give it up.
    fn is_peer_here(&self) -> bool {
        let header = self.region.header();
        let role = self.claim.role.peer();
        let is_leaving = || {
            let closed = &header.side(role).signals.closed;
            // Whoever was told of an end sees this too: P8, P4.
            closed.load(Ordering::Relaxed) != 0
        };
        header.state().tenure(role) == Some(Tenure::Held) && !is_leaving()
    }

    /// Waits until somebody has the other role, or has had it since this call
    /// began; or until `ready` says that this is as good.
    pub(crate) fn await_peer(
        &mut self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> Result<bool, Blocked>,
    ) -> Result<(), Blocked> {
        let role = self.claim.role.peer();
        let region = self.region.clone();
        let persists = region.geometry().kind.persists();
        let claims = || {
            let side = region.header().side(role);
            side.signals.claims.load(Ordering::Relaxed) // compared only
        };
        // Where nobody follows, it is enough to have come.
        let before = if persists { claims() } else { 0 };
        let verdict = self.peer_verdict();
        // What it published before it ended counts first.
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
