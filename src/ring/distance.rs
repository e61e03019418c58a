//! How far the peer's cache is, as the time of a load that the peer's cache answers.
//!
//! Two processors may share their last-level cache, or be in different parts of the machine. The
//! host may move them at any time, and the topology that a virtual machine shows need not be true.
//! So a side measures, now and then, the load of a position that its peer has stored since.

use std::time::Duration;

use crate::segment::region::Pays;
use crate::sync::now;
use crate::tuning::{FAR, LOOKS_PER_SAMPLE, NEAR_LOAD, SAMPLES};

/// What a side knows about the distance.
#[derive(Debug)]
pub(crate) struct Distance {
    /// Looks until the next sample.
    looks: u32,
    /// Far samples less near ones, from 0 to [`SAMPLES`].
    score: u32,
    /// Whether a measure pays that moves cache lines sooner.
    pays: bool,
    /// Whether the distance matters, and the clock is fast enough to time a load.
    measures: bool,
}

impl Distance {
    /// A peer that is near until samples say otherwise.
    pub(crate) fn new(pays: Pays) -> Distance {
        let matters = pays == Pays::WhenFar;
        Distance {
            looks: LOOKS_PER_SAMPLE,
            score: 0,
            pays: pays == Pays::Always,
            measures: matters && (0..4).any(|_| clock_cost() < NEAR_LOAD),
        }
    }

    /// Whether the measure pays: always, or since the peer is in another part of the machine.
    #[inline(always)]
    pub(crate) fn pays(&self) -> bool {
        self.pays
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
        if took < NEAR_LOAD {
            return;
        }
        if took >= FAR {
            self.score = (self.score + 1).min(SAMPLES);
        } else {
            self.score = self.score.saturating_sub(1);
        }
        if self.score == SAMPLES {
            self.pays = true;
        } else if self.score == 0 {
            self.pays = false;
        }
    }
}

/// The time that a measurement of nothing takes: the cost of the clock.
fn clock_cost() -> Duration {
    let start = now();
    now().saturating_duration_since(start)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A distance after these samples.
    fn after(samples: &[Duration]) -> Distance {
        let mut distance = Distance::new(Pays::WhenFar);
        for &sample in samples {
            distance.note(sample);
        }
        distance
    }

    #[test]
    fn a_peer_is_near_until_several_samples_say_otherwise() {
        let few = vec![FAR; SAMPLES as usize - 1];
        assert!(!after(&[]).pays());
        assert!(!after(&few).pays());
        assert!(after(&[few.as_slice(), &[FAR]].concat()).pays());
    }

    #[test]
    fn a_peer_that_comes_nearer_is_noticed() {
        let mut distance = after(&vec![FAR; 10 * SAMPLES as usize]);
        for _ in 1..SAMPLES {
            distance.note(NEAR_LOAD);
            assert!(distance.pays());
        }
        distance.note(NEAR_LOAD);
        assert!(!distance.pays());
    }

    #[test]
    fn the_own_cache_says_nothing_about_the_peer() {
        let mut distance = after(&[FAR; SAMPLES as usize]);
        for _ in 0..10 * SAMPLES {
            distance.note(Duration::from_nanos(1));
        }
        assert!(distance.pays());
    }

    #[test]
    fn where_the_distance_does_not_matter_nothing_is_timed() {
        for (pays, is_paid) in [(Pays::Never, false), (Pays::Always, true)] {
            let mut distance = Distance::new(pays);
            for known in 0..u64::from(LOOKS_PER_SAMPLE * SAMPLES * 2) {
                distance.sample(known, || known + 1);
            }
            assert_eq!((distance.pays(), distance.score), (is_paid, 0));
        }
    }

    #[test]
    fn each_load_is_made_once() {
        let mut distance = Distance::new(Pays::WhenFar);
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
