//! A small generator, so that a run can be told by its seed.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit
    }

    /// A number near an end of some range.
    pub(crate) fn edge(&mut self) -> u64 {
        let edges = [0, 1 << 16, 1 << 32, 1 << 63, u64::MAX];
        edges[self.below(5) as usize].wrapping_add(self.below(5).wrapping_sub(2))
    }

    pub(crate) fn dawdle(&mut self) {
        for _ in 0..self.below(500) {
            std::hint::spin_loop();
        }
    }
}
