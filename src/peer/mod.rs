//! Who holds a role, and whether the holder lives.
//!
//! # Proof of death
//!
//! There are two proofs. Either the kernel says that the process exited
//! (`sys/process`), or the attach count is lower than with all holders alive. Each
//! claim records how many attachments its mapping has. Two claims of one process
//! may share a mapping; claims of two processes do not. A count at or above the
//! expected count proves nothing, since a fork adds attachments. A holder that
//! cannot be judged counts as alive.

mod claim;
mod liveness;
mod occupant;
mod watch;

pub(crate) use claim::{Claim, ClaimError, abandon, claim, give_up, leave, leave_unpaired};
#[cfg(any(test, loom))]
pub(crate) use claim::{Claimer, claim_as};
pub use occupant::Occupant;
pub(crate) use occupant::occupant;
#[cfg(loom)]
pub(crate) use watch::declare_lost;
pub(crate) use watch::{PeerWatch, Verdict};
