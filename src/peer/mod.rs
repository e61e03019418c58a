//! Who holds a role, and whether its holder lives.
//!
//! # Proof of death
//!
//! Either the kernel says that the process exited (`sys/process`), or the segment
//! is attached fewer times than the living would have it. Each claim records
//! how many attachments its mapping has. Two claims of one process may share a
//! mapping, those of two processes do not. A count at or above the expected one
//! proves nothing, since a fork adds to it. What cannot be known counts as
//! alive.

mod claim;
mod liveness;
mod occupant;
mod watch;

pub(crate) use claim::{Claim, ClaimError, claim, give_up, leave, leave_unpaired};
#[cfg(loom)]
pub(crate) use claim::{Claimer, claim_as};
pub use occupant::Occupant;
pub(crate) use occupant::occupant;
#[cfg(loom)]
pub(crate) use watch::declare_lost;
pub(crate) use watch::{PeerWatch, Verdict};
