//! The ring's atomics and its clock: those of `core` and `std`, or loom's under its model checker.
//! Only this file knows which. In the unit tests the atomics also record each access.

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

    /// The current time.
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

    /// Loom has no compiler reordering to prevent.
    pub(crate) fn compiler_fence(_: Ordering) {}

    /// The current time, which stands still under loom. No slice and no deadline ever ends, so a
    /// missed wake is a deadlock, which loom reports.
    pub(crate) fn now() -> Instant {
        static NOW: OnceLock<Instant> = OnceLock::new();
        *NOW.get_or_init(Instant::now)
    }
}

pub(crate) use imp::*;
