//! Claiming a role in an attached ring.

use std::time::Instant;

use super::config::OpenConfig;
use super::find::gone;
use crate::error::{OpenError, Place};
use crate::peer::{self, Claim, ClaimError, Occupant};
use crate::ring::marks::{self, NoPlace};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::mapping::Mapping;
use crate::segment::state::{Life, LifeCycleKind, Tenure};
use crate::sync::failpoint::failpoint;
use crate::sys::events;
use crate::tuning::{CLAIM_PATIENCE, SLICE};
use crate::wait;
use crate::wait::deadline::Deadline;

/// Claims `role` of a ring without holding a path's lock. Populates the pages
/// first, if the options ask for that, and waits for places if necessary.
pub(crate) fn claim(
    mapping: &Mapping,
    role: Role,
    config: &OpenConfig,
) -> Result<Claim, OpenError> {
    if config.prefault {
        mapping.populate()?;
    }
    let deadline = config.deadline();
    loop {
        match take(mapping, role, config, deadline.at_most(CLAIM_PATIENCE)) {
            Err(OpenError::TooManyEnds { unread, .. }) => await_places(mapping, &deadline, unread)?,
            taken => return taken,
        }
    }
}

/// Claims `role`. If the ring is now paired, removes the ring from its key. Wakes
/// the other side. Waits until `latest` for a process in the middle of a claim.
pub(super) fn take(
    mapping: &Mapping,
    role: Role,
    config: &OpenConfig,
    latest: Instant,
) -> Result<Claim, OpenError> {
    let claim = loop {
        match peer::claim(mapping, role, config.resume) {
            Ok(claim) => break claim,
            Err(ClaimError::Gone) => return Err(gone(mapping)),
            Err(ClaimError::TooManyEnds { unread }) => return Err(too_many_ends(mapping, unread)),
            Err(ClaimError::Corrupt(corruption)) => return Err(corruption.into()),
            // Some process is in the middle of leaving, of a claim, or of declaring
            // the holder dead.
            Err(ClaimError::Taken { .. })
                if matches!(
                    mapping.header().state().tenure(role),
                    Some(Tenure::Free | Tenure::Lost)
                ) && Instant::now() < latest =>
            {
                std::thread::yield_now();
            }
            Err(ClaimError::Taken { pid }) => {
                let at = place(mapping, role);
                return Err(OpenError::RoleTaken { at, role, pid });
            }
        }
    };
    let state = mapping.header().state();
    if state.life() == Some(Life::Paired) {
        if mapping.geometry().kind == LifeCycleKind::Named {
            mapping.unlink()?;
        }
        failpoint!(KeyRemoved);
    }
    // The other side may be waiting for a peer.
    wait::wake_always(&mapping.header().side(role.peer()).signals);
    report(mapping, &claim, || {
        events::claimed(mapping.id(), role);
        if state.tenure(role.peer()) == Some(Tenure::Held) {
            events::paired(mapping.id(), role);
        }
    });
    Ok(claim)
}

/// Runs `events` about a claim that no handle has yet. If a subscriber panics, gives the role up:
/// nobody else would, as long as this process lives.
pub(super) fn report(mapping: &Mapping, claim: &Claim, events: impl FnOnce()) {
    let mut unheld = Unheld {
        mapping,
        claim,
        is_reported: false,
    };
    events();
    unheld.is_reported = true;
}

/// A claim while it is reported.
struct Unheld<'a> {
    mapping: &'a Mapping,
    claim: &'a Claim,
    is_reported: bool,
}

impl Drop for Unheld<'_> {
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        let kind = self.mapping.geometry().kind;
        peer::leave(
            self.mapping.header(),
            kind,
            self.claim,
            Departure::Aborted,
            || (),
        );
        if kind == LifeCycleKind::Named {
            // A failure is not reported, as for a handle that is dropped.
            let _ = self.mapping.unlink();
        }
    }
}

/// Waits until there are places for the ends of a producer's streams.
pub(super) fn await_places(
    mapping: &Mapping,
    deadline: &Deadline,
    mut unread: u64,
) -> Result<(), OpenError> {
    let header = mapping.header();
    loop {
        // The text is not used: TooManyEnds replaces the error.
        match deadline.check("") {
            Err(OpenError::TimedOut { .. }) => return Err(too_many_ends(mapping, unread)),
            checked => checked?,
        }
        // A removed ring takes no new holders: the caller's next claim fails.
        if !matches!(header.state().life(), Some(Life::Open | Life::Paired)) {
            return Ok(());
        }
        let prepared = marks::prepare_wait(header);
        match marks::check_places(header) {
            Err(NoPlace::TooMany(now)) => unread = now,
            // Another producer may hold the role, and its ends may be acknowledged
            // between the two reads. The claim judges such contradictions, not this
            // wait.
            Ok(()) | Err(NoPlace::Corrupt(_)) => return Ok(()),
        }
        let now = Instant::now();
        let left = deadline.at().map(|at| at.saturating_duration_since(now));
        marks::wait(header, prepared, left.unwrap_or(SLICE).min(SLICE));
    }
}

fn too_many_ends(mapping: &Mapping, unread: u64) -> OpenError {
    OpenError::TooManyEnds {
        at: place(mapping, Role::Producer),
        unread,
    }
}

/// The place of an error about `role`, with the holder of the other role.
pub(super) fn place(mapping: &Mapping, role: Role) -> Place {
    let place = Place::segment(mapping.id()).with_role(role);
    let header = mapping.header();
    match peer::occupant(header, header.state(), role.peer()) {
        Occupant::Process(pid) => place.with_peer(pid),
        _ => place,
    }
}
