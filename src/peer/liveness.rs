//! What the count of attachments proves.

use crate::role::Role;
use crate::segment::record::Holder;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::sys::process::Liveness;
use crate::sys::sysv::{self, DoubleView};

/// How often the segment is attached; `None` when the kernel does not say,
/// when its id means another segment here (this process has moved to another
/// IPC namespace), or when there is none.
pub(super) fn attached(region: &MappedRegion) -> Option<u64> {
    let stat = sysv::stat(region.known_id()?).ok()?;
    Some(stat.attached)
}

/// Whether the process of the owner word `found` is proven dead, asked by a
/// process that holds no role and has the segment attached once, in two views.
pub(super) fn holder_is_dead(region: &MappedRegion, role: Role, found: u64) -> bool {
    let holder = Holder::read(region.header().record(role));
    let gone = |holder: Holder| holder.owner == found && holder.liveness() == Liveness::Gone;
    if holder.is_some_and(gone) {
        return true;
    }
    // Whoever holds a role, or is half way through a claim, has the segment
    // attached. If nobody but us has, nobody does.
    attached(region).is_some_and(|count| count <= DoubleView::VIEWS)
}
