//! Time in ticks of a counter that all processors share: the cheapest one that the machine
//! has.
#![allow(unsafe_code)] // the counter

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The present value of the counter.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has RDTSC.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes a timespec to `now`.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// Nanoseconds of a tick. The first call takes 20 ms.
pub(crate) fn ns_per_tick() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, from) = (Instant::now(), ticks());
        std::thread::sleep(Duration::from_millis(20));
        let (took, to) = (start.elapsed(), ticks());
        took.as_nanos() as f64 / (to - from) as f64
    })
}

/// Reads the counter until it has reached `tick`.
#[inline]
pub(crate) fn spin_until(tick: u64) {
    while ticks() < tick {
        std::hint::spin_loop();
    }
}
