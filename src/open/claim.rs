//! Claiming a role in a ring that is attached.

use std::time::Instant;

use super::config::OpenConfig;
use super::find::gone;
use crate::error::{OpenError, Place};
use crate::peer::{self, Claim, ClaimError};
use crate::ring::marks::{self, NoPlace};
use crate::role::Role;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life, Tenure};
use crate::sync::steps::step;
use crate::tuning::{HALF_DONE, SLICE};
use crate::wait;
use crate::wait::deadline::Deadline;

/// Claims `role` of a ring that no path's lock is held for. Has its pages be
/// there first, where that was asked for, and waits for places if need be.
pub(crate) fn claim(
    region: &MappedRegion,
    role: Role,
    config: &OpenConfig,
) -> Result<Claim, OpenError> {
    if config.prefault {
        region.populate()?;
    }
    let deadline = config.deadline();
    loop {
        match take(region, role, config, deadline.at_most(HALF_DONE)) {
            Err(OpenError::TooManyEnds { unread, .. }) => await_places(region, &deadline, unread)?,
            taken => return taken,
        }
    }
}

/// Claims `role`; a ring that is thereby paired is removed from its key, and
/// its other side told. Waits until `latest` for one who is half way through.
pub(super) fn take(
    region: &MappedRegion,
    role: Role,
    config: &OpenConfig,
    latest: Instant,
) -> Result<Claim, OpenError> {
    let claim = loop {
        match peer::claim(region, role, config.resume) {
            Ok(claim) => break claim,
            Err(ClaimError::Gone) => return Err(gone(region)),
            Err(ClaimError::TooManyEnds { unread }) => return Err(too_many_ends(region, unread)),
            Err(ClaimError::Corrupt(corruption)) => return Err(corruption.into()),
            // Somebody is half way through leaving, through a claim, or through
            // saying that the holder is dead.
            Err(ClaimError::Taken { .. })
                if matches!(
                    region.header().state().tenure(role),
                    Some(Tenure::Free | Tenure::Lost)
                ) && Instant::now() < latest =>
            {
                std::thread::yield_now();
            }
            Err(ClaimError::Taken { pid }) => {
                let at = Place::segment(region.id()).with_role(role);
                return Err(OpenError::RoleTaken { at, role, pid });
            }
        }
    };
    if region.header().state().life() == Some(Life::Paired) {
        if region.geometry().kind == Kind::Named {
            region.unlink()?;
        }
        step!(KeyRemoved);
    }
    // A side may wait for whoever comes.
    wait::wake_always(&region.header().side(role.peer()).signals);
    Ok(claim)
}

/// Waits until a producer finds places for the ends of its streams.
pub(super) fn await_places(
    region: &MappedRegion,
    deadline: &Deadline,
    mut unread: u64,
) -> Result<(), OpenError> {
    let header = region.header();
    loop {
        match deadline.check("") {
            Err(OpenError::TimedOut { .. }) => return Err(too_many_ends(region, unread)),
            checked => checked?,
        }
        // A ring that is removed takes nobody: the caller finds out.
        if !matches!(header.state().life(), Some(Life::Open | Life::Paired)) {
            return Ok(());
        }
        let prepared = marks::prepare_wait(header);
        match marks::check_places(header) {
            Err(NoPlace::TooMany(now)) => unread = now,
            // Somebody else may have the role, and leave ends that are acknowledged
            // between the two looks: whoever has it judges, which is the claim.
            Ok(()) | Err(NoPlace::Corrupt(_)) => return Ok(()),
        }
        let now = Instant::now();
        let left = deadline.at().map(|at| at.saturating_duration_since(now));
        marks::wait(header, prepared, left.unwrap_or(SLICE).min(SLICE));
    }
}

fn too_many_ends(region: &MappedRegion, unread: u64) -> OpenError {
    OpenError::TooManyEnds {
        at: Place::segment(region.id()).with_role(Role::Producer),
        unread,
    }
}
