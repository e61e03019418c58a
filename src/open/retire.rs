//! Removing a ring that exists.

use super::find::attach_live;
use crate::error::OpenError;
use crate::peer;
use crate::segment::identity::Geometry;
use crate::segment::state::State;
use crate::sync::failpoint::failpoint;
use crate::sys::sysv::{self, SegmentId};

/// Removes a ring that was found in the state `seen`. Returns whether the ring is
/// gone: `false` if its state has changed.
pub(crate) fn retire(id: SegmentId, geometry: &Geometry, seen: State) -> Result<bool, OpenError> {
    let mapping = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(true),
        attached => attached?,
    };
    if !peer::give_up(mapping.header(), seen) {
        return Ok(false);
    }
    failpoint!(OrphanTaken);
    sysv::remove_if_there(id)?;
    Ok(true)
}

/// Removes a ring whatever its holders do meanwhile. The life-cycle word of a
/// paired ring stays as it is, for its holders.
pub(crate) fn retire_by_force(id: SegmentId, geometry: &Geometry) -> Result<(), OpenError> {
    let mapping = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(()),
        attached => attached?,
    };
    peer::leave_unpaired(mapping.header());
    Ok(sysv::remove_if_there(id)?)
}
