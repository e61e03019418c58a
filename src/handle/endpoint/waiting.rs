//! How a blocking call waits for its peer.

use std::io;
use std::time::{Duration, Instant};

use super::Endpoint;
use crate::error::{Broken, Corruption, Place, Span, WaitError};
use crate::peer::{Occupant, PeerWatch};
use crate::role::Role;
use crate::segment::record::Holder;
use crate::sync::Ordering;
use crate::sys::affinity;
use crate::wait::deadline;
use crate::wait::{self, Sleep, SpinBudget, WaitPolicy, Waited};

/// How much room, or how many bytes, end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Enough for the call to continue.
    Least,
    /// Enough for the call to continue for a while without another wait.
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
    /// The deadline of a blocking call that starts now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout
            .and_then(|limit| Instant::now().checked_add(limit))
    }

    /// The error of a blocking call after its time limit. `limit` is the handle's
    /// limit, or `None` for a deadline.
    #[cold]
    pub(crate) fn timed_out(&self, limit: Option<Duration>) -> io::Error {
        let role = self.claim.role;
        let place = Place::segment(self.mapping.id()).with_role(role);
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

    /// The error of a blocking call with the handle's time limit.
    #[cold]
    pub(crate) fn io_error(&self, blocked: Blocked) -> io::Error {
        match blocked {
            Blocked::TimedOut => self.timed_out(self.timeout),
            Blocked::Cancelled => WaitError::Cancelled.into(),
            Blocked::Broken(broken) => broken.into(),
        }
    }

    /// Waits until `ready` returns a value. `wanted` is the peer position from which
    /// on a wake is useful.
    #[inline]
    pub(crate) fn wait<T>(
        &mut self,
        wanted: u64,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        self.wait_for_plenty(wanted, Duration::ZERO, deadline, |_| ready())
    }

    /// Waits as [`wait`](Self::wait) does, for the first bytes of an empty ring. An
    /// idle reader sleeps for longer, if its peer is sure to wake it.
    #[inline]
    pub(crate) fn wait_while_empty<T>(
        &mut self,
        wanted: u64,
        deadline: Option<Instant>,
        ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        self.sleeps_long = true;
        let waited = self.wait(wanted, deadline, ready);
        self.sleeps_long = false;
        waited
    }

    /// Waits as [`wait`](Self::wait) does, but looks at the peer's cache line at
    /// most once per `pause`. Spins for [`Need::Plenty`] before sleeping, then accepts
    /// [`Need::Least`].
    #[inline]
    pub(crate) fn wait_for_plenty<T>(
        &mut self,
        wanted: u64,
        pause: Duration,
        deadline: Option<Instant>,
        mut ready: impl FnMut(Need) -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        if deadline::is_past(deadline) {
            // `sleep` looks once. There is no spin, and no wait to count.
            return self.sleep(wanted, SpinBudget::None, deadline, || ready(Need::Least));
        }
        self.effort.stats.waits += 1;
        let spinning = self.spinning();
        let need = match spinning {
            SpinBudget::For(_) => Need::Plenty,
            SpinBudget::None | SpinBudget::Always => Need::Least,
        };
        // Before the spin, only a peer that is seen to sleep is woken. Before the
        // sleep, the peer is woken in any case.
        let role = self.claim.role;
        let header = self.mapping.header();
        self.effort.wake_if_seen(&header.side(role.peer()).signals);
        let mut found = wait::spin(spinning, pause, deadline, &mut || ready(need));
        if need == Need::Plenty && matches!(found, Ok(None)) {
            found = ready(Need::Least);
        }
        match found {
            Ok(Some(value)) => {
                self.effort.spin_paid();
                self.stayed_awake(0);
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
        spinning: SpinBudget,
        deadline: Option<Instant>,
        ready: impl FnMut() -> Result<Option<T>, Blocked>,
    ) -> Result<T, Blocked> {
        self.wake_before_waiting();
        let mut effort = self.effort;
        let mut watch = std::mem::take(&mut self.watch);
        let adapts = self.policy == WaitPolicy::Adaptive;
        let started = adapts.then(Instant::now);
        let waited = wait::wait(
            self.own_signals(),
            wanted,
            spinning,
            deadline,
            &mut effort,
            ready,
            || self.check_between_sleeps(&mut watch),
        );
        self.watch = watch;
        self.effort = effort;
        if let Some(started) = started {
            let spun = match spinning {
                SpinBudget::For(spun) => spun,
                SpinBudget::None | SpinBudget::Always => Duration::ZERO,
            };
            self.effort.slept(spun, spun + started.elapsed());
        }
        match waited {
            Ok(Waited::Ready(value)) => Ok(value),
            Ok(Waited::TimedOut) => Err(Blocked::TimedOut),
            Err(blocked) => Err(self.latch_blocked(blocked)),
        }
    }

    #[cold]
    pub(super) fn latch_blocked(&mut self, blocked: Blocked) -> Blocked {
        match blocked {
            Blocked::Broken(broken) => Blocked::Broken(self.latch(broken)),
            Blocked::TimedOut | Blocked::Cancelled => blocked,
        }
    }

    /// Wakes the peer, which may sleep until a position that this side cannot reach
    /// while it waits.
    pub(crate) fn wake_before_waiting(&mut self) {
        if wait::wake_always(self.peer_signals()) {
            self.effort.stats.wakes += 1;
        }
    }

    /// Between two sleeps: fails if there is no reason to wait any longer.
    pub(super) fn check_between_sleeps(&self, watch: &mut PeerWatch) -> Result<Sleep, Blocked> {
        if deadline::is_set(self.cancel.as_ref()) {
            return Err(Blocked::Cancelled);
        }
        match self.peer(watch) {
            Ok(()) if self.sleeps_long && watch.peer_wakes() => Ok(Sleep::Long),
            Err(Broken::Died { .. } | Broken::NeverCame { .. }) if !self.needs_peer => {
                Ok(Sleep::Slice)
            }
            verdict => verdict.map(|()| Sleep::Slice).map_err(Blocked::Broken),
        }
    }

    /// Whether and how a wait spins.
    pub(crate) fn spinning(&mut self) -> SpinBudget {
        let policy = self.policy;
        match policy {
            WaitPolicy::Spin => SpinBudget::Always,
            WaitPolicy::SpinThenPark(Duration::ZERO) => SpinBudget::None,
            WaitPolicy::SpinThenPark(time) if !self.shares_processor() => SpinBudget::For(time),
            WaitPolicy::Adaptive if !self.shares_processor() => self.effort.spin_budget(),
            WaitPolicy::SpinThenPark(_) | WaitPolicy::Adaptive | WaitPolicy::Park => {
                SpinBudget::None
            }
        }
    }

    /// Whether spinning keeps the peer from running. Determined once for each peer.
    pub(crate) fn shares_processor(&mut self) -> bool {
        let record = self.mapping.header().record(self.claim.role.peer());
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        match self.shares_processor {
            Some((known, shares)) if known == owner => shares,
            _ => {
                let peer = Holder::read(record).map(|holder| holder.process.pid);
                let shares = affinity::share_one_processor(peer);
                self.shares_processor = Some((owner, shares));
                shares
            }
        }
    }
}
