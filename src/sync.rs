//! The atomics that the ring is made of: those of `core`, or loom's under its
//! model checker. The only file that knows which.

#[cfg(not(loom))]
mod imp {
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

    /// Loom moves nothing as a compiler may.
    pub(crate) fn compiler_fence(_: Ordering) {}
}

pub(crate) use imp::*;
