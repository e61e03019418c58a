//! Failpoints: named places between two steps of the protocol, where a test kills or stops its
//! process. A test can also set the length of a slice of sleep here.
//!
//! For this crate's own tests, without any stability promise. Without the feature `__failpoints` a
//! failpoint compiles to nothing.
#![cfg_attr(feature = "__failpoints", allow(unsafe_code))] // kill(2) on ourselves

/// Marks a failpoint.
macro_rules! failpoint {
    ($point:ident) => {
        #[cfg(feature = "__failpoints")]
        crate::sync::failpoint::reached(crate::sync::failpoint::Point::$point);
    };
}

pub(crate) use failpoint;

#[cfg(feature = "__failpoints")]
pub use armed::*;

#[cfg(feature = "__failpoints")]
mod armed {
    use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    macro_rules! points {
        ($($point:ident: $what:literal,)*) => {
            /// A point between two steps.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u32)]
            pub enum Point {
                $(#[doc = $what] $point,)*
            }

            impl Point {
                /// Every point.
                pub const ALL: &[Point] = &[$(Point::$point),*];
            }
        };
    }

    points! {
        Created: "create: the segment is there, nobody has attached it",
        Attached: "create: attached, all zero",
        Unkeyed: "create: an anonymous ring's segment is marked for removal",
        MagicStored: "create: the magic is stored, the rest of the identity is not",
        Formatted: "create: the identity line is written",
        Published: "create: the state word says open",
        OwnerTaken: "claim: the owner word is swapped, the record is the last owner's",
        MarkWritten: "mark: the mark is written and not counted",
        MarkCounted: "mark: the mark is counted",
        ClaimCounted: "claim: the claim is counted, the record is the last owner's",
        RecordComplete: "claim: the record is written",
        SideCleared: "claim: what the last holder left is cleared",
        RoleHeld: "claim: the state word says held",
        KeyRemoved: "claim: a paired ring's key is gone, its waiter not yet told",
        Announced: "wait for the peer: about to wait in open",
        CopiedIn: "publish: the bytes are in the ring, the tail is old",
        TailStored: "publish: the tail is stored, nobody is woken",
        CopiedOut: "release: the bytes are copied out, the head is old",
        HeadStored: "release: the head is stored, nobody is woken",
        Acknowledged: "acknowledge: the end is acknowledged, nobody is woken",
        SleepSet: "wait: the sleeping word is set",
        SleepNow: "wait: looked once more, about to sleep",
        Slept: "wait: back from sleep",
        WakeSeen: "wake: the peer is seen to sleep",
        WakeCleared: "wake: the sleeping word is cleared, the peer not yet woken",
        Woken: "wake: the peer is woken",
        ClosedStored: "close: the closed word is stored",
        RoleLeft: "close: the state word says left",
        OwnerFreed: "close: the owner word is free",
        LeftTold: "close: the peer is told, the segment not yet removed",
        OrphanTaken: "reclaim: an orphan's state word says removed",
    }

    /// 0, or one more than the point at which this process dies or stops.
    static POINT: AtomicU32 = AtomicU32::new(0);
    /// How often the process passes the point before the signal.
    static PASSES: AtomicU32 = AtomicU32::new(0);
    /// The signal that the process sends to itself at the point.
    static SIGNAL: AtomicI32 = AtomicI32::new(libc::SIGKILL);

    /// Arms `point`: this process kills itself there, after it has passed the point
    /// `passes` times.
    pub fn kill_at(point: Point, passes: u32) {
        signal_at(point, passes, libc::SIGKILL);
    }

    /// Arms `point`: this process stops itself there the first time, until it gets
    /// SIGCONT or SIGKILL.
    pub fn stop_at(point: Point) {
        signal_at(point, 0, libc::SIGSTOP);
    }

    fn signal_at(point: Point, passes: u32, signal: i32) {
        SIGNAL.store(signal, Ordering::Relaxed); // read by this thread
        PASSES.store(passes, Ordering::Relaxed); // read by this thread
        POINT.store(point as u32 + 1, Ordering::Relaxed); // read by this thread
    }

    /// Nanoseconds of a slice; 0 means the default.
    static SLICE: AtomicU64 = AtomicU64::new(0);

    /// Sets the length of a slice: how long a sleeper of this process sleeps without
    /// a look of its own. With long slices a lost wake shows in a test as a long
    /// wait. A death and a cancel flag are noticed later, too.
    pub fn set_slice(len: Duration) {
        let nanos = u64::try_from(len.as_nanos()).unwrap_or(u64::MAX);
        SLICE.store(nanos, Ordering::Relaxed); // publishes no other data
    }

    pub(crate) fn slice() -> Option<Duration> {
        let nanos = SLICE.load(Ordering::Relaxed); // publishes no other data
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Passes a point, or dies or stops there.
    pub(crate) fn reached(point: Point) {
        // Relaxed here and below: one thread uses these words.
        if POINT.load(Ordering::Relaxed) != point as u32 + 1 {
            return;
        }
        let passes = PASSES.load(Ordering::Relaxed); // one thread
        if passes > 0 {
            PASSES.store(passes - 1, Ordering::Relaxed); // one thread
            return;
        }
        let own = std::process::id() as libc::pid_t; // fits: below 2^22
        POINT.store(0, Ordering::Relaxed); // one thread; only once
        let signal = SIGNAL.load(Ordering::Relaxed); // one thread
        // SAFETY: integers. SIGKILL or SIGSTOP to ourselves takes effect before
        // kill returns to user mode.
        unsafe { libc::kill(own, signal) };
    }
}
