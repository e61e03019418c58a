//! Creating the ring that a name leads to, or joining the existing one.

use std::time::Instant;

use super::claim::{await_places, place, take};
use super::classify::{Class, Found, Requirements, classify};
use super::config::OpenConfig;
use super::find::{attach_live, half_made};
use super::keyfile::PathLock;
use super::make::{create_named, populate_own};
use super::retire::retire;
use super::{Joined, Name};
use crate::error::OpenError;
use crate::role::Role;
use crate::segment::identity::Geometry;
use crate::segment::mapping::Mapping;
use crate::segment::state::LifeCycleKind;
use crate::sys::events;
use crate::sys::sysv::{self, Attachment, SegmentId, SysvErrorKind};
use crate::tuning::{CLAIM_PATIENCE, MAKING_LIMIT, NAMESPACE_PATIENCE, UNCHECKED_TRIES};
use crate::wait;
use crate::wait::deadline::Deadline;

/// Creates the ring or joins the existing one. Makes at least one try after the
/// deadline, and another one after removing a leftover.
pub(super) fn join(
    name: &Name,
    role: Role,
    config: &OpenConfig,
    deadline: &mut Deadline,
) -> Result<Joined, OpenError> {
    let mut joining = Joining {
        required: name.required(config),
        name,
        role,
        config,
        deadline,
        absent_since: None,
        newborn_since: None,
    };
    let mut tries = 0;
    loop {
        joining.deadline.check_cancelled()?;
        if tries >= UNCHECKED_TRIES {
            let met = "each try met a ring that was being made or removed";
            joining.deadline.check(met)?;
        }
        tries += 1;
        if let Some(joined) = joining.try_once()? {
            return Ok(joined);
        }
    }
}

/// The lock of the path, if the name is a path.
type Lock<'a> = Option<PathLock<'a>>;

/// What the tries of one opener share. A try that returns `None` is to be repeated.
struct Joining<'a> {
    name: &'a Name,
    role: Role,
    config: &'a OpenConfig,
    deadline: &'a mut Deadline,
    required: Requirements,
    /// When this opener first found no ring, but a waiting process in another IPC
    /// namespace.
    absent_since: Option<Instant>,
    /// When this opener first found the ring in the making.
    newborn_since: Option<Instant>,
}

impl<'a> Joining<'a> {
    fn try_once(&mut self) -> Result<Option<Joined>, OpenError> {
        let file = self.name.file();
        let lock = file.map(|file| file.lock(self.deadline)).transpose()?;
        let id = match sysv::open(self.name.key()) {
            Ok(id) => id,
            Err(error) if error.kind() == SysvErrorKind::NotFound => return self.make(lock),
            Err(error) => return Err(error.into()),
        };
        let Found {
            class,
            state,
            attachment,
            ..
        } = classify(id, &self.required, self.deadline)?;
        match class {
            Class::Absent => return self.make(lock),
            Class::Live(geometry) => return self.join_live(id, &geometry, attachment, lock),
            Class::Newborn => self.await_birth(id, lock)?,
            Class::Stillborn if lock.is_none() => return Err(half_made(id)),
            // The segment is removed by its id. `attachment` keeps the id from being
            // reused, here and in the two arms below.
            Class::Stillborn => {
                sysv::remove_if_there(id)?;
                events::reclaimed(Some(id), "its maker died");
            }
            Class::Spent => self.remove_spent(id, lock)?,
            Class::Orphan(geometry) => {
                if retire(id, &geometry, state)? {
                    events::reclaimed(Some(id), "its processes died");
                }
            }
            class => return Err(class.refusal(id).unwrap_or(OpenError::removed(id))),
        }
        Ok(None)
    }

    /// Creates a ring where none was found. Waits first if a process in another IPC
    /// namespace waits on the path.
    fn make(&mut self, lock: Lock<'a>) -> Result<Option<Joined>, OpenError> {
        if let Some(file) = self.name.file()
            && file.waited_for_elsewhere()
        {
            let since = *self.absent_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= NAMESPACE_PATIENCE {
                let path = file.path().to_owned();
                return Err(OpenError::OtherNamespace { path });
            }
            drop(lock);
            let waited = "a process waits in another IPC namespace";
            self.deadline.pause(waited)?;
            return Ok(None);
        }
        let made = create_named(self.name, self.role, self.config, self.deadline);
        let (mapping, claim) = match made {
            Err(OpenError::System(error)) if is_race(error.kind()) => return Ok(None),
            made => made?,
        };
        drop(lock);
        if self.config.prefault {
            populate_own(&mapping, &claim, self.deadline)?;
        }
        Ok(Some((mapping, claim)))
    }

    /// Claims the role in an existing ring, or replaces that ring by one of another
    /// capacity.
    fn join_live(
        &mut self,
        id: SegmentId,
        geometry: &Geometry,
        attachment: Option<Attachment>,
        lock: Lock<'a>,
    ) -> Result<Option<Joined>, OpenError> {
        let mapping = match attach_live(id, geometry) {
            Err(OpenError::Removed { .. }) => return Ok(None),
            attached => attached?,
        };
        // The region now keeps the id from being reused, and a claim must not count
        // the attachment of the inspection.
        drop(attachment);
        if give_way(&mapping, self.role, self.config)? {
            return Ok(None);
        }
        // The role is taken after populating, and the lock is not held meanwhile.
        // The region's attachment keeps the ring from looking like a leftover.
        let prefault = self.config.prefault;
        let lock = lock.filter(|_| !prefault);
        if prefault {
            self.deadline.exclude(|| mapping.populate())?;
        }
        let latest = self.deadline.at_most(CLAIM_PATIENCE);
        let claimed = take(&mapping, self.role, self.config, latest);
        drop(lock);
        match claimed {
            Err(OpenError::Removed { .. }) => Ok(None),
            Err(OpenError::TooManyEnds { unread, .. }) => {
                await_places(&mapping, self.deadline, unread)?;
                Ok(None)
            }
            claimed => Ok(Some((mapping, claimed?))),
        }
    }

    /// Waits while another process makes the ring.
    fn await_birth(&mut self, id: SegmentId, lock: Lock<'a>) -> Result<(), OpenError> {
        let since = *self.newborn_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= MAKING_LIMIT {
            return Err(half_made(id));
        }
        drop(lock);
        self.deadline.pause("the ring is being made")
    }

    /// Frees the key of a ring that takes no new holders.
    fn remove_spent(&mut self, id: SegmentId, lock: Lock<'a>) -> Result<(), OpenError> {
        match sysv::remove_if_there(id) {
            // The ring belongs to another user. The process that waits there
            // removes the ring.
            Err(error)
                if error.kind() == SysvErrorKind::PermissionDenied
                    && self.deadline.elapsed() < MAKING_LIMIT =>
            {
                drop(lock);
                self.deadline.pause("another user's ring is being removed")
            }
            removed => Ok(removed?),
        }
    }
}

/// Errors that result from a race with another opener or with a remover.
fn is_race(kind: SysvErrorKind) -> bool {
    matches!(
        kind,
        SysvErrorKind::AlreadyExists | SysvErrorKind::Removed | SysvErrorKind::NotFound
    )
}

/// Compares the existing ring with the options. Returns `true` if that ring was
/// given up, to be replaced by one of the capacity asked for.
fn give_way(mapping: &Mapping, role: Role, config: &OpenConfig) -> Result<bool, OpenError> {
    let geometry = mapping.geometry();
    let persistent = geometry.kind == LifeCycleKind::Persistent;
    if persistent != config.persistent {
        let at = place(mapping, role);
        return Err(OpenError::LifeCycleMismatch { at, persistent });
    }
    let asked = config.ring_bytes()?;
    if config.capacity.is_none() || asked == geometry.capacity {
        return Ok(false);
    }
    let mismatch = OpenError::CapacityMismatch {
        at: place(mapping, role),
        asked,
        found: geometry.capacity,
    };
    if persistent || geometry.explicit_capacity || geometry.unwaited {
        return Err(mismatch);
    }
    if mapping
        .header()
        .transition(|state| state.replace().ok_or(()))
        .is_err()
    {
        return Err(mismatch);
    }
    for role in [Role::Producer, Role::Consumer] {
        wait::wake_always(&mapping.header().side(role).signals);
    }
    mapping.unlink()?;
    Ok(true)
}
