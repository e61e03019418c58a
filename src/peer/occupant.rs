//! Who has a role, for whoever asks.

use crate::role::Role;
use crate::segment::layout::Header;
use crate::segment::record::{Holder, last_holder};
use crate::segment::state::{State, Tenure};
use crate::sys::process::Liveness;

/// Who has a role.
///
/// # Examples
///
/// ```
/// use shmpipe::{Occupant, Options};
///
/// let ring = Options::new().create_anonymous()?;
/// let producer = ring.into_producer()?;
/// assert_eq!(producer.peer(), Occupant::Nobody);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Occupant {
    /// Nobody has had it yet, or it is free again.
    Nobody,
    /// This process, in its own pid namespace. It lives, or nothing proves
    /// that it does not.
    Process(u32),
    /// This process had it and is dead.
    Dead(u32),
    /// Whoever had it has left.
    Left,
}

impl std::fmt::Display for Occupant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Occupant::Nobody => f.write_str("nobody"),
            Occupant::Process(0) => f.write_str("a process"), // not known which
            Occupant::Process(pid) => write!(f, "process {pid}"),
            Occupant::Dead(0) => f.write_str("a process (dead)"),
            Occupant::Dead(pid) => write!(f, "process {pid} (dead)"),
            Occupant::Left => f.write_str("left"),
        }
    }
}

/// Who has `role`, by the life-cycle word `state`.
pub(crate) fn occupant(header: &Header, state: State, role: Role) -> Occupant {
    let record = header.record(role);
    let last = || last_holder(record, state.generation(role));
    match state.tenure(role) {
        Some(Tenure::Held) => match Holder::read(record) {
            Some(holder) if holder.liveness() == Liveness::Gone => Occupant::Dead(last()),
            Some(holder) => Occupant::Process(holder.process.pid),
            None => Occupant::Process(0),
        },
        Some(Tenure::Lost) => Occupant::Dead(last()),
        Some(Tenure::Left) => Occupant::Left,
        Some(Tenure::Free) | None => Occupant::Nobody,
    }
}
