//! The kernel's part of the asymmetric fence (`wait/mod.rs`): a memory barrier that a sleeper runs
//! on the processors of every registered process. Those processes then need no fence of their own.
//!
//! `MEMBARRIER_CMD_GLOBAL_EXPEDITED` is the form that works between processes. A call reaches the
//! running threads of each registered process. Threads that do not run pass a barrier before they
//! run again.
//! <https://man7.org/linux/man-pages/man2/membarrier.2.html>
#![allow(unsafe_code)] // the only caller of SYS_membarrier

use std::ffi::{c_int, c_uint};
use std::sync::Mutex;

use crate::sys::fork::Epoch;

/// The commands, as numbered in `linux/membarrier.h`.
const GLOBAL_EXPEDITED: c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: c_int = 1 << 2;

/// Registers this process for the barriers of others. Returns `false` if the kernel refuses.
///
/// A registration lasts until the process execs, so each process registers once. In a process with
/// several threads the call takes some milliseconds, a grace period of the kernel.
pub(crate) fn register() -> bool {
    // `try_lock`, since a fork may have left the lock held by a thread that the child lacks.
    let Ok(mut registered) = REGISTERED.try_lock() else {
        return command(REGISTER_GLOBAL_EXPEDITED);
    };
    if registered.is_some_and(Epoch::is_current) {
        return true;
    }
    let done = command(REGISTER_GLOBAL_EXPEDITED);
    if done {
        *registered = Some(Epoch::current()); // a refused registration is tried again
    }
    done
}

/// The process that has registered.
static REGISTERED: Mutex<Option<Epoch>> = Mutex::new(None);

/// Runs a full barrier here, and in every thread of the registered processes. Returns `false` if
/// the kernel refuses; then no barrier was run at all.
pub(crate) fn everywhere() -> bool {
    command(GLOBAL_EXPEDITED)
}

fn command(command: c_int) -> bool {
    let (no_flags, no_cpu): (c_uint, c_int) = (0, 0);
    // SAFETY: all arguments are integers. The call touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, no_flags, no_cpu) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registering_twice_gives_the_same_answer() {
        let registered = register();
        assert_eq!(register(), registered);
        assert!(everywhere() || !registered);
    }
}
