//! Creating a ring.

use super::claim::take;
use super::config::OpenConfig;
use super::keyfile::KeyFile;
use super::{Joined, Name};
use crate::error::OpenError;
use crate::peer::{self, Claim};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::identity::{EXPLICIT_CAPACITY, Geometry, UNWAITED};
use crate::segment::layout::Header;
use crate::segment::mapping::Mapping;
use crate::segment::state::{Life, LifeCycleKind, State};
use crate::sync::failpoint::failpoint;
use crate::sys::events;
use crate::sys::random::random;
use crate::sys::sysv::{self, SegmentId, SysvError};
use crate::tuning::CLAIM_PATIENCE;
use crate::wait::deadline::Deadline;

/// Creates an anonymous ring.
pub(crate) fn create_anonymous(config: &OpenConfig) -> Result<Mapping, OpenError> {
    let geometry = Geometry::new(
        config.ring_bytes()?,
        LifeCycleKind::Anonymous,
        nonce(),
        None,
        0,
    );
    let id = sysv::create(None, geometry.ring_end(), config.mode)?;
    failpoint!(Created);
    let view = sysv::attach_double_own(id, geometry.ring_offset, geometry.ring_end());
    failpoint!(Attached);
    // The segment is removed whether or not the attachment succeeded. An attached
    // segment lives until its last detachment.
    let removed = match &view {
        Ok(_) => sysv::remove_if_there(id),
        Err(_) => remove_if_own(id, geometry.ring_end()),
    };
    failpoint!(Unkeyed);
    let mapping = Mapping::format(view?, geometry, &[]);
    removed?;
    publish(mapping.header());
    events::made(mapping.id(), mapping.geometry().capacity);
    Ok(mapping)
}

/// Creates a ring that others find by `name`, and claims `role` in the ring.
pub(super) fn create_named(
    name: &Name,
    role: Role,
    config: &OpenConfig,
    deadline: &Deadline,
) -> Result<Joined, OpenError> {
    let kind = if config.persistent {
        LifeCycleKind::Persistent
    } else {
        LifeCycleKind::Named
    };
    let flags = if config.capacity.is_some() {
        EXPLICIT_CAPACITY
    } else {
        0
    } | if config.wait_for_peer == Some(false) {
        UNWAITED
    } else {
        0
    };
    let file = name.file().map(KeyFile::identity);
    let geometry = Geometry::new(config.ring_bytes()?, kind, nonce(), file, flags);
    let id = sysv::create(Some(name.key()), geometry.ring_end(), config.mode)?;
    failpoint!(Created);
    let own = sysv::attach_double_own(id, geometry.ring_offset, geometry.ring_end());
    let view = match own {
        Ok(view) => view,
        Err(error) => {
            remove_if_own(id, geometry.ring_end())?;
            return Err(error.into());
        }
    };
    failpoint!(Attached);
    let path = name.file().map_or(&[][..], KeyFile::path_bytes);
    let mapping = Mapping::format(view, geometry, path);
    publish(mapping.header());
    events::made(mapping.id(), mapping.geometry().capacity);
    let claim = take(&mapping, role, config, deadline.at_most(CLAIM_PATIENCE))?;
    Ok((mapping, claim))
}

/// Populates all pages of a ring that was just made. The role is taken and the
/// path's lock is not held, so that the other side can join meanwhile. Without
/// enough memory the role is given up. The ring is then removed, unless another
/// process uses it by now.
pub(super) fn populate_own(
    mapping: &Mapping,
    claim: &Claim,
    deadline: &mut Deadline,
) -> Result<(), OpenError> {
    let Err(error) = deadline.exclude(|| mapping.populate()) else {
        return Ok(());
    };
    let kind = mapping.geometry().kind;
    let left = peer::leave(mapping.header(), kind, claim, Departure::Aborted, || ());
    let is_unused = match left {
        // A named ring ended when its only holder left. A persistent ring has to be
        // given up explicitly.
        Some((_, after)) if after.generation(claim.role.peer()) == 0 => {
            after.life() == Some(Life::Removed) || peer::give_up(mapping.header(), after)
        }
        _ => false,
    };
    if is_unused {
        mapping.unlink()?;
    }
    Err(error.into())
}

/// Publishes a formatted ring to other processes.
pub(crate) fn publish(header: &Header) {
    failpoint!(Formatted);
    let word = &header.state.word;
    word.store(State::OPEN.0, crate::sync::Ordering::Release); // P3
    failpoint!(Published);
}

/// Removes a segment of `len` bytes that this process has made and could not
/// attach. No attachment keeps the id from being reused, so its creator is checked
/// first.
fn remove_if_own(id: SegmentId, len: usize) -> Result<(), SysvError> {
    match sysv::stat(id) {
        Ok(stat) if stat.made_here() && stat.size == len => sysv::remove_if_there(id),
        _ => Ok(()),
    }
}

/// A random number that identifies a ring.
pub(crate) fn nonce() -> u64 {
    random()
}
