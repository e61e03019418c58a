//! How a ring is made, found, paired and removed.
//!
//! | kind | found by | removed |
//! |---|---|---|
//! | anonymous | fork; id | at birth: `IPC_RMID` right after the first attach |
//! | named | key, until paired | when both roles are claimed; else by the last handle's drop |
//! | persistent | key | on purpose only |
//! | placed | its memory, which is the caller's | never: there is no segment |
//!
//! On Linux a segment marked for removal can still be attached by id while
//! somebody has it attached, and its key is free at once. So nothing here
//! resolves a key twice: what is held is the id, kept alive by an attachment.
//!
//! A segment is removed only by a process that has it attached and has won,
//! or has seen somebody win, the swap of the life-cycle word that says so. A
//! winner may die before it removes: whoever sees the word next does it.

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
use crate::segment::region::mapped::MappedRegion;
use crate::wait::deadline::Deadline;

pub(crate) use self::await_peer::nobody_came;
pub(crate) use self::claim::claim;
pub(crate) use self::find::attach;
pub(crate) use self::make::{create_anonymous, nonce, publish};
pub(crate) use self::name::Name;
pub(crate) use self::retire::{retire, retire_by_force};

/// A ring and a role in it.
pub(crate) type Joined = (MappedRegion, Claim);

/// Makes or finds the ring that `name` leads to, and claims `role` in it.
/// Waits for the peer of a named ring where the options say so. One limit holds for all of it,
/// in which the time for having pages be there does not count.
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
            None => continue, // the ring was given up for another one
        }
    }
}

/// Whether the kernel removes what nobody has attached.
/// <https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html>
fn forced_removal() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced")
        .is_ok_and(|value| value.trim() == "1")
}
