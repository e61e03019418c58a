//! The kernel: System V segments, futexes, memory barriers, and facts about processes.
//!
//! | file | system calls |
//! |---|---|
//! | `sysv/` | `shmget`, `shmat`, `shmdt`, `shmctl`, `mremap` |
//! | `futex.rs` | `futex` |
//! | `membarrier.rs` | `membarrier` |
//! | `process/` | `pidfd_open`, `poll`, `kill`; `/proc` |
//! | `fork/` | `pthread_atfork`, `madvise(MADV_WIPEONFORK)` |
//! | `eventfd.rs` | `eventfd`, `read`, `write` |
//! | `affinity.rs` | `sched_getaffinity` |
//! | `random.rs` | `getrandom` |
//! | `environment.rs` | none: `getenv(3)` reads memory |
//! | `errno.rs`, `place.rs`, `events.rs` | none: parts of errors, events for `tracing` |

pub(crate) mod affinity;
pub(crate) mod environment;
pub(crate) mod errno;
#[cfg(not(loom))]
pub(crate) mod eventfd;
pub(crate) mod events;
pub(crate) mod fork;
#[cfg(not(loom))]
pub(crate) mod futex;
#[cfg(loom)]
#[path = "../models/futex.rs"]
pub(crate) mod futex;
pub(crate) mod membarrier;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod random;
pub mod sysv;
