//! Random numbers that a run can be told by: what the tests make of fastrand's.
#![allow(dead_code)] // each test binary uses a part

use fastrand::Rng;

/// One of them.
pub(crate) fn any<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// A number near an end of some range.
pub(crate) fn edge(random: &mut Rng) -> u64 {
    let edge = any(random, &[0, 1 << 16, 1 << 32, 1 << 63, u64::MAX]);
    edge.wrapping_add(random.u64(..5).wrapping_sub(2))
}

/// Turns round fewer than `most` times, so that the other side is met
/// elsewhere.
pub(crate) fn dawdle(random: &mut Rng, most: u64) {
    for _ in 0..random.u64(..most) {
        std::hint::spin_loop();
    }
}
