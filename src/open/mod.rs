//! How a ring is made, found, paired and removed.
//!
//! | kind | found by | removed |
//! |---|---|---|
//! | anonymous | fork; id | right after the first attachment (`IPC_RMID`) |
//! | named | key, until paired | when both roles are claimed; otherwise by the last handle's drop |
//! | persistent | key | only on purpose |
//! | placed | the caller's memory | never: there is no segment |
//!
//! On Linux a segment that is marked for removal can still be attached by id while
//! some process has it attached. Its key is free at once. So an opener resolves a
//! key only once and then uses the id, which its attachment keeps from being
//! reused.
//!
//! A process removes a segment only while attached, and only after the life-cycle
//! word says that the ring ended. The process that swapped that word may die before
//! it removes the segment. The next process that sees the word then removes the
//! segment.

mod await_peer;
mod claim;
pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod find;
mod join;
pub(crate) mod keyfile;
mod make;
mod name;
mod retire;

use self::await_peer::await_peer;
use self::config::OpenConfig;
use self::join::join;
use crate::error::OpenError;
use crate::peer::Claim;
use crate::role::Role;
use crate::segment::mapping::Mapping;
use crate::wait::deadline::Deadline;

pub(crate) use self::await_peer::nobody_came;
pub(crate) use self::claim::claim;
pub(crate) use self::find::attach;
pub(crate) use self::make::{create_anonymous, nonce, publish};
pub(crate) use self::name::Name;
pub(crate) use self::retire::{retire, retire_by_force};

/// A ring and a claimed role in it.
pub(crate) type Joined = (Mapping, Claim);

/// Creates or finds the ring of `name`, and claims `role` in the ring. Waits for
/// the peer of a named ring if the options say so. One time limit holds for the
/// whole call, without the time for populating pages.
pub(crate) fn open(
    name: &Name,
    role: Role,
    config: &OpenConfig,
    deadline: &mut Deadline,
) -> Result<Joined, OpenError> {
    if config.persistent && forced_removal() {
        return Err(OpenError::CannotPersist);
    }
    loop {
        let joined = join(name, role, config, deadline)?;
        if config.persistent || !config.waits_for_peer() {
            return Ok(joined);
        }
        match await_peer(name, joined, config, deadline)? {
            Some(joined) => return Ok(joined),
            None => continue, // the ring was given up for another ring
        }
    }
}

/// Whether the kernel removes segments that nobody has attached.
/// <https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html>
fn forced_removal() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced")
        .is_ok_and(|value| value.trim() == "1")
}
