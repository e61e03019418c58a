//! The algorithm: one writer, one reader, two positions.
//!
//! # Who owns what
//!
//! - `tail` is written by the writer alone, `head` by the reader alone. Each side keeps its own
//!   position in private memory and never reads it back.
//! - The bytes from `head` to `tail` belong to the reader, all others to the writer. Neither side
//!   touches the other's bytes.
//! - Each side keeps the last position that it accepted from its peer. It loads a new one only when
//!   the kept one shows too few bytes or too little room.
//!
//! # Ordering
//!
//! | pair | store | load | what it carries |
//! |---|---|---|---|
//! | P1 | `tail`, Release | `tail`, Acquire | the bytes before `tail` |
//! | P2 | `head`, Release | `head`, Acquire | the reader has done with the bytes before `head` |
//! | P3 | state word, Release | state word, Acquire | the identity line |
//! | P4 | `closed`, Release | `closed`, Acquire | the last `tail` (or `head`) before it |
//! | P5 | position or `closed`, then `sleeping` | `sleeping`, then position or `closed` | no wake-up is lost; see `wait/mod.rs` |
//! | P6 | `owner`, `complete`, state word | the same | who holds a role; see `peer/claim.rs` |
//! | P7 | `end`, then the inline message | the inline message, then `end` | the copied message is the one before this tail; see `ring/inline.rs` |
//! | P8 | count of marks, Release | count of marks, Acquire | the mark, and a tail at or after the mark; see `ring/marks.rs` |
//! | P9 | acknowledged, Release | acknowledged, Acquire | the consumer has done with the place; see `ring/marks.rs` |
//!
//! A reader that finds the ring empty and `closed` set loads `tail` once more before it reports the
//! end. By P4 that load sees the last tail. In a ring that outlives its writers, marks tell where
//! streams end, and the writer's `closed` means nothing (`ring/marks.rs`).
//!
//! # A peer that lies
//!
//! Each look at a word of the peer loads the word once into a local. The local is checked by
//! `segment/position.rs`. A failed check is an error, and the caller gives the ring up. A lie that
//! passes the checks does no more harm than a slow peer or wrong bytes. The copied spans are
//! bounded by the capacity and by this side's private state.

mod distance;
pub(crate) mod inline;
pub(crate) mod marks;
mod reader;
mod writer;

use crate::error::{Corruption, Rule};
use crate::role::Role;
use crate::segment::position::Fault;
use crate::segment::region::Region;
use crate::sync::Ordering;

pub(crate) use reader::{Reader, Readiness};
pub(crate) use writer::{Departures, Writer};

/// The positions that a side finds when it takes its role: its own, then the peer's.
fn adopt<R: Region>(region: &R, role: Role) -> (u64, u64) {
    let header = region.header();
    // Acquire on both: a new holder continues where a dead or departed one stopped, so its own word
    // was stored by another process too.
    let own = header.side(role).position.load(Ordering::Acquire); // P1, P2
    let peer = header.side(role.peer()).position.load(Ordering::Acquire); // P1, P2
    (own, peer)
}

/// The corruption by a `fault` in the position of `role`, the peer. `found` is that position,
/// `known` the last accepted one, and `own` the position of this side.
fn corrupt(fault: Fault, role: Role, own: u64, known: u64, found: u64) -> Corruption {
    match (fault, role) {
        (Fault::OutOfRange, Role::Producer) => Corruption::new(Rule::TailOutOfRange, found, own),
        (Fault::OutOfRange, Role::Consumer) => Corruption::new(Rule::HeadOutOfRange, found, own),
        (Fault::MovedBack, Role::Producer) => Corruption::new(Rule::TailMovedBack, found, known),
        (Fault::MovedBack, Role::Consumer) => Corruption::new(Rule::HeadMovedBack, found, known),
    }
}

#[cfg(all(test, not(loom)))]
mod order;
#[cfg(all(test, not(loom)))]
mod tests;
