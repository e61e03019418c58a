//! The kernel's part of ordering: a memory barrier that a sleeper has done on
//! the processors of everybody who registered for it, so that they need none
//! of their own (`wait/mod.rs`).
//!
//! `MEMBARRIER_CMD_GLOBAL_EXPEDITED` is the form between processes: whoever
//! calls it reaches the running threads of each process that registered;
//! threads that do not run pass a barrier before they run again.
//! <https://man7.org/linux/man-pages/man2/membarrier.2.html>
#![allow(unsafe_code)] // the only caller of SYS_membarrier

use std::ffi::{c_int, c_uint};
use std::sync::Mutex;

use crate::sys::fork::Epoch;

/// The commands, as `linux/membarrier.h` numbers them.
const GLOBAL_EXPEDITED: c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: c_int = 1 << 2;

/// Has this process reached by the barriers of others. `false` where the
/// kernel refuses.
///
/// The registration is the process's, until it execs, and is asked for once in
/// each. In a process with several threads that takes some milliseconds, for a
/// grace period of the kernel's.
pub(crate) fn register() -> bool {
    // Not `lock`: the thread that held the lock may have been left behind by a fork.
    let Ok(mut registered) = REGISTERED.try_lock() else {
        return command(REGISTER_GLOBAL_EXPEDITED);
    };
    if registered.is_some_and(Epoch::is_current) {
        return true;
    }
    let done = command(REGISTER_GLOBAL_EXPEDITED);
    if done {
        *registered = Some(Epoch::current()); // what was refused is tried again
    }
    done
}

/// The process that has registered.
static REGISTERED: Mutex<Option<Epoch>> = Mutex::new(None);

/// A full barrier here, and in every thread of the processes that registered.
/// `false` where the kernel refuses; then there was none, here or anywhere.
pub(crate) fn everywhere() -> bool {
    command(GLOBAL_EXPEDITED)
}

fn command(command: c_int) -> bool {
    let (no_flags, no_cpu): (c_uint, c_int) = (0, 0);
    // SAFETY: integers only; the call touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, no_flags, no_cpu) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_had_as_often_as_asked_for() {
        let registered = register();
        assert_eq!(register(), registered);
        assert!(everywhere() || !registered);
    }
}
