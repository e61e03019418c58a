//! Taking a ring away.

use super::find::attach_live;
use crate::error::OpenError;
use crate::peer;
use crate::segment::identity::Geometry;
use crate::segment::state::State;
use crate::sync::steps::step;
use crate::sys::sysv::{self, SegmentId};

/// Takes away a ring that was found in the state `seen`, unless it has moved
/// on since; says whether it was taken away.
pub(crate) fn retire(id: SegmentId, geometry: &Geometry, seen: State) -> Result<bool, OpenError> {
    let region = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(true),
        attached => attached?,
    };
    if !peer::give_up(&region, seen) {
        return Ok(false);
    }
    step!(OrphanTaken);
    sysv::remove_if_there(id)?;
    Ok(true)
}

/// Takes away a ring, whatever its holders do meanwhile. One that is paired is
/// so for good: that word is left to those who go by it.
pub(crate) fn retire_by_force(id: SegmentId, geometry: &Geometry) -> Result<(), OpenError> {
    let region = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(()),
        attached => attached?,
    };
    peer::leave_unpaired(&region);
    Ok(sysv::remove_if_there(id)?)
}
