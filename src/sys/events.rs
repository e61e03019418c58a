//! Events for `tracing`, with the feature of that name. Without the feature, these functions do
//! nothing.
//!
//! The functions are called where a ring is opened or breaks, never where bytes move, and after the
//! change that they report. A subscriber is foreign code: it may take its time, and may panic. So
//! a claim that no handle has yet is reported by `report` of `open/claim.rs`, which gives the claim up
//! then.

use std::fmt::Display;

use crate::role::Role;
use crate::sys::sysv::SegmentId;

/// The target of all events.
#[cfg(feature = "tracing")]
const TARGET: &str = "shmpipe";

macro_rules! events {
    ($($(#[$doc:meta])* $level:ident $name:ident($($arg:ident: $type:ty),*) $text:literal;)*) => {$(
        $(#[$doc])*
        #[cold]
        pub(crate) fn $name(id: Option<SegmentId>, $($arg: $type),*) {
            #[cfg(feature = "tracing")]
            tracing::$level!(
                target: TARGET,
                segment = id.map(|id| tracing::field::display(id)),
                $($arg = %$arg,)*
                $text
            );
            #[cfg(not(feature = "tracing"))]
            let _ = (id, $($arg),*);
        }
    )*};
}

events! {
    /// A ring was made.
    debug made(capacity: usize) "made a ring";
    /// A call that opens a ring by path or key is about to return a handle.
    info opened(place: &dyn Display) "opened a ring";
    /// This process took a role.
    debug claimed(role: Role) "took a role";
    /// Both roles are held.
    debug paired(role: Role) "both ends are there";
    /// The leftover of dead processes was removed.
    info reclaimed(why: &str) "removed a leftover";
    /// The holder of `role` learnt that its peer is gone for good.
    warn lost_peer(role: Role, why: &dyn Display) "the peer is gone";
    /// The holder of `role` found the protocol broken.
    error corrupted(role: Role, why: &dyn Display) "the ring is corrupt";
}
