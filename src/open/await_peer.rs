//! Waiting, while opening, until the other role is claimed.

use super::claim::report;
use super::config::OpenConfig;
use super::keyfile::KeyFile;
use super::{Joined, Name};
use crate::error::{OpenError, Place};
use crate::peer;
use crate::role::Role;
use crate::segment::state::Life;
use crate::sync::failpoint::failpoint;
use crate::sys::{events, sysv};
use crate::wait::deadline::{self, Deadline};
use crate::wait::{self, Effort, Sleep, SpinBudget, Waited};

/// Why waiting for the peer ended early.
enum Stop {
    Cancelled,
    /// The key or the path no longer leads to this ring.
    Unfindable,
}

/// Waits until both roles are claimed. `None` if the ring was replaced or removed,
/// and another ring is to be made.
pub(super) fn await_peer(
    name: &Name,
    (mapping, claim): Joined,
    config: &OpenConfig,
    deadline: &Deadline,
) -> Result<Option<Joined>, OpenError> {
    let header = mapping.header();
    let life = || header.state().life();
    let file = name.file();
    let is_there = || {
        let stat = mapping.id().and_then(|id| sysv::stat(id).ok());
        stat.is_some_and(|stat| !stat.marked_for_removal)
    };
    let on_path = || file.is_none_or(KeyFile::is_current);
    let has_waited = life() == Some(Life::Open);
    let waited = if has_waited {
        file.inspect(|file| file.lock_as_waiter());
        failpoint!(Announced);
        let waited = wait::wait(
            &header.side(claim.role).signals,
            u64::MAX, // no position ends this wait
            SpinBudget::None,
            deadline.at(),
            &mut Effort::new(),
            || Ok(life().filter(|&life| life != Life::Open)),
            || {
                if deadline::is_set(config.cancel.as_ref()) {
                    Err(Stop::Cancelled)
                } else if on_path() && is_there() {
                    Ok(Sleep::Slice)
                } else {
                    Err(Stop::Unfindable)
                }
            },
        );
        file.inspect(|file| file.unlock_as_waiter());
        waited
    } else {
        Ok(Waited::Ready(Life::Paired))
    };
    // If a peer joined at the last moment, the ring is paired after all.
    if !matches!(waited, Ok(Waited::Ready(_))) && peer::leave_unpaired(mapping.header()) {
        mapping.unlink()?;
        return match waited {
            Err(Stop::Cancelled) => Err(OpenError::Cancelled),
            Err(Stop::Unfindable) if on_path() => Ok(None),
            Err(Stop::Unfindable) => Err(OpenError::FileGone {
                at: Place::default(),
            }),
            Ok(_) => Err(deadline.timed_out(nobody_came(claim.role))),
        };
    }
    // Each process that sees the end of this wait removes the key. The process that
    // ended the wait may have died before doing so.
    mapping.unlink()?;
    if life() != Some(Life::Paired) {
        return Ok(None);
    }
    if has_waited {
        report(&mapping, &claim, || {
            events::paired(mapping.id(), claim.role)
        });
    }
    Ok(Some((mapping, claim)))
}

/// The text of the error after the holder of `role` has waited in vain.
pub(crate) fn nobody_came(role: Role) -> &'static str {
    match role {
        Role::Producer => "no consumer opened the other end",
        Role::Consumer => "no producer opened the other end",
    }
}
