//! The occupant of a role, as shown to callers.

use crate::role::Role;
use crate::segment::layout::Header;
use crate::segment::record::{Holder, last_holder};
use crate::segment::state::{State, Tenure};
use crate::sys::process::Liveness;

/// The occupant of a role.
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
    /// No process has held the role yet, or the role is free again.
    Nobody,
    /// The process with this id, in its own pid namespace. The process lives, or
    /// nothing proves its death. The id is 0 if unknown.
    Process(u32),
    /// The process with this id held the role and is dead. The id is 0 if unknown.
    Dead(u32),
    /// The last holder has left.
    Left,
}

impl std::fmt::Display for Occupant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Occupant::Nobody => f.write_str("nobody"),
            Occupant::Process(0) => f.write_str("a process"), // the process id is unknown
            Occupant::Process(pid) => write!(f, "process {pid}"),
            Occupant::Dead(0) => f.write_str("a process (dead)"),
            Occupant::Dead(pid) => write!(f, "process {pid} (dead)"),
            Occupant::Left => f.write_str("left"),
        }
    }
}

/// The occupant of `role`, according to the life-cycle word `state`.
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
