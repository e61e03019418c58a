//! The atomics that the ring is made of, and the clock: those of `core` and
//! `std`, or loom's under its model checker. The only file that knows which.
//! In the unit tests they also say what is done with them.

#[cfg(feature = "__failpoints")]
pub mod failpoint;
#[cfg(not(feature = "__failpoints"))]
pub(crate) mod failpoint;
#[cfg(all(test, not(loom)))]
pub(crate) mod recording;

#[cfg(not(loom))]
mod imp {
    use std::time::Instant;

    pub(crate) use core::hint::spin_loop;
    #[cfg(not(test))]
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
    pub(crate) use core::sync::atomic::{Ordering, compiler_fence, fence};

    #[cfg(test)]
    pub(crate) use super::recording::{AtomicU32, AtomicU64};

    /// The time.
    #[inline]
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}

#[cfg(loom)]
mod imp {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    /// Loom moves nothing as a compiler may.
    pub(crate) fn compiler_fence(_: Ordering) {}

    /// The time, which stands still: no slice and no deadline ever ends, so
    /// that a wake that is missed is a deadlock, which loom reports.
    pub(crate) fn now() -> Instant {
        static NOW: OnceLock<Instant> = OnceLock::new();
        *NOW.get_or_init(Instant::now)
    }
}

pub(crate) use imp::*;
