//! Sets of handles: what makes a member ready, blocking waits, the descriptor, and collectors whose
//! producers die.
#![allow(missing_docs)]
#![allow(unsafe_code)] // fork, futex, poll, epoll

mod bad_input;
mod busy;
mod collector;
#[path = "../common/mod.rs"]
mod common;
mod deaths;
mod descriptor;
mod floods;
mod loops;
#[cfg(feature = "__failpoints")]
mod lost_wakes;
mod many;
mod members;
#[cfg(feature = "__failpoints")]
mod quiet_peers;
mod waiting;

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use common::offsets::{SIGNALS, SLEEPING};
use common::{PATIENCE, options};
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Consumer, Producer, Ring, Role};

/// A ring of so many bytes, and a limit that turns a hang into an error.
fn ring(capacity: usize) -> Ring {
    options().capacity(capacity).create_anonymous().unwrap()
}

/// Both ends of one, in this process.
fn pair() -> (Producer, Consumer) {
    ring(4096).split().unwrap()
}

/// Waits until the descriptor is readable, for so many milliseconds. Says whether it is.
fn is_readable_within(descriptor: &OwnedFd, milliseconds: i32) -> bool {
    let mut watched = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one `pollfd`, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut watched, 1, milliseconds) };
    assert!(ready >= 0, "{}", std::io::Error::last_os_error());
    ready == 1
}

/// Waits until the descriptor is readable.
#[track_caller]
fn until_readable(descriptor: &OwnedFd) {
    let patience = PATIENCE.as_millis() as i32;
    assert!(is_readable_within(descriptor, patience), "no wake came");
}

/// What a hostile peer does all the time to the word that a member sleeps on.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Clear,
    Flip,
    WakeOnly,
}

impl Flood {
    const ALL: [Flood; 3] = [Flood::Clear, Flood::Flip, Flood::WakeOnly];

    /// Floods the holder of `role` until the process is killed.
    fn run(self, id: SegmentId, role: Role) -> ! {
        let attached = sysv::attach(id).unwrap();
        let signals = match role {
            Role::Producer => SIGNALS[0],
            Role::Consumer => SIGNALS[1],
        };
        let word = attached.as_ptr().wrapping_add(signals + SLEEPING);
        let word = NonNull::new(word.cast::<AtomicU32>());
        // SAFETY: aligned, inside the attachment, which is kept.
        let word = unsafe { word.unwrap().as_ref() };
        loop {
            match self {
                Flood::Clear => word.store(0, Ordering::SeqCst),
                Flood::Flip => word.store(7, Ordering::SeqCst),
                Flood::WakeOnly => {}
            }
            // SAFETY: FUTEX_WAKE names a word and touches nothing.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 9) };
            if let Flood::Flip = self {
                word.store(0, Ordering::SeqCst);
            }
        }
    }
}

/// How often a thread of this process, or this process, has gone to sleep.
fn sleeps_of(status: &str) -> u64 {
    let status = std::fs::read_to_string(status).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}
