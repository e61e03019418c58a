//! How far the peer's cache is, as the time of a load that the peer's cache answers.
//!
//! Two processors may share their last cache, or be in different parts of the machine. The host may
//! move them at any time, and the topology that a virtual machine shows need not be true. So a side
//! measures, now and then, the load of a position that its peer has stored since.

use std::time::Duration;

use crate::sync::now;
use crate::tuning::{FAR, LOOKS_PER_SAMPLE, NEAR, SAMPLES};

/// What a side knows about the distance.
#[derive(Debug)]
pub(crate) struct Distance {
    /// Looks until the next sample.
    looks: u32,
    /// Far samples less near ones, from 0 to [`SAMPLES`].
    score: u32,
    is_far: bool,
    /// Whether the clock is fast enough to time a load.
    measures: bool,
}

impl Distance {
    /// A peer that is near until samples say otherwise. `pays` says whether the distance matters
    /// on this processor.
    pub(crate) fn new(pays: bool) -> Distance {
        Distance {
            looks: LOOKS_PER_SAMPLE,
            score: 0,
            is_far: false,
            measures: pays && (0..4).any(|_| clock_cost() < NEAR),
        }
    }

    /// Whether the peer is in another part of the machine.
    #[inline(always)]
    pub(crate) fn is_far(&self) -> bool {
        self.is_far
    }

    /// Makes the load of a position, and times some loads. `known` is the last accepted position.
    #[inline(always)]
    pub(crate) fn sample(&mut self, known: u64, load: impl Fn() -> u64) -> u64 {
        self.looks = self.looks.wrapping_sub(1);
        if self.looks != 0 || !self.measures {
            return load();
        }
        self.sample_now(known, load)
    }

    #[cold]
    fn sample_now(&mut self, known: u64, load: impl Fn() -> u64) -> u64 {
        self.looks = LOOKS_PER_SAMPLE;
        let start = now();
        let position = load();
        let took = now().saturating_duration_since(start);
        if position != known {
            self.note(took);
        }
        position
    }

    /// Counts a load that took this long. This side's own cache answers the shortest ones, and an
    /// interrupt prolongs the longest ones: a single sample decides nothing.
    fn note(&mut self, took: Duration) {
        if took < NEAR {
            return;
        }
        if took >= FAR {
            self.score = (self.score + 1).min(SAMPLES);
        } else {
            self.score = self.score.saturating_sub(1);
        }
        if self.score == SAMPLES {
            self.is_far = true;
        } else if self.score == 0 {
            self.is_far = false;
        }
    }
}

/// The time of a measurement of nothing.
fn clock_cost() -> Duration {
    let start = now();
    now().saturating_duration_since(start)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A distance after these samples.
    fn after(samples: &[Duration]) -> Distance {
        let mut distance = Distance::new(true);
        for &sample in samples {
            distance.note(sample);
        }
        distance
    }

    #[test]
    fn a_peer_is_near_until_several_samples_say_otherwise() {
        let few = vec![FAR; SAMPLES as usize - 1];
        assert!(!after(&[]).is_far());
        assert!(!after(&few).is_far());
        assert!(after(&[few.as_slice(), &[FAR]].concat()).is_far());
    }

    #[test]
    fn a_peer_that_comes_nearer_is_noticed() {
        let mut distance = after(&vec![FAR; 10 * SAMPLES as usize]);
        for _ in 1..SAMPLES {
            distance.note(NEAR);
            assert!(distance.is_far());
        }
        distance.note(NEAR);
        assert!(!distance.is_far());
    }

    #[test]
    fn the_own_cache_says_nothing_about_the_peer() {
        let mut distance = after(&[FAR; SAMPLES as usize]);
        for _ in 0..10 * SAMPLES {
            distance.note(Duration::from_nanos(1));
        }
        assert!(distance.is_far());
    }

    #[test]
    fn each_load_is_made_once() {
        let mut distance = Distance::new(true);
        let loads = std::cell::Cell::new(0);
        for known in 0..3 * u64::from(LOOKS_PER_SAMPLE) {
            let load = || {
                loads.set(loads.get() + 1);
                loads.get()
            };
            assert_eq!(distance.sample(known, load), known + 1);
        }
    }
}
