//! What the attach count of a segment proves.

use crate::role::Role;
use crate::segment::mapping::Mapping;
use crate::segment::record::Holder;
use crate::sys::process::Liveness;
use crate::sys::sysv::{self, DoubleView};

/// The attach count of the segment. `None` when the kernel does not say, or when
/// there is no segment. Also `None` when the id means another segment here, because
/// this process has moved to another IPC namespace.
pub(super) fn attached(mapping: &Mapping) -> Option<u64> {
    let stat = sysv::stat(mapping.known_id()?).ok()?;
    Some(stat.attached)
}

/// Whether the process of the owner word `found` is proven dead. The caller must
/// hold no role, and have the segment attached once, in two views.
pub(super) fn holder_is_dead(mapping: &Mapping, role: Role, found: u64) -> bool {
    let holder = Holder::read(mapping.header().record(role));
    let gone = |holder: Holder| holder.owner == found && holder.liveness() == Liveness::Gone;
    if holder.is_some_and(gone) {
        return true;
    }
    // A process that holds a role, or is in the middle of a claim, has the segment
    // attached. If only this process has the segment attached, no such process
    // exists.
    attached(mapping).is_some_and(|count| count <= DoubleView::VIEWS)
}
