//! Coalescing: how often a side that has caught up with its peer looks again.
//!
//! A reader that takes every message at once makes the two processors exchange several cache lines
//! per message. A reader that leaves the writer alone for a moment finds many messages. Their lines
//! then arrive one after the other, and neither side stalls on the other in the meantime.
//!
//! Coalescing adds that moment to the latency. So it is done only while it pays, and given up at
//! once when it does not. After a reply, or a lone message, there is nothing to wait for.
//!
//! All state is private. The peer influences it only by what it writes.

use std::time::{Duration, Instant};

use crate::sync::spin_loop;
use crate::tuning::{ALONE, BALANCED, ENOUGH, FAST, GLANCE, INTERVAL, MOST_LOOKS, THROUGHPUT};

/// Trades latency for throughput in a reader that has caught up.
///
/// # Examples
///
/// ```
/// use shmpipe::Pace;
///
/// let (_producer, mut consumer) = shmpipe::pair()?;
/// assert_eq!(consumer.pace(), Pace::Balanced);
/// consumer.set_pace(Pace::Latency);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pace {
    /// Takes bytes as soon as they are there.
    Latency,
    /// Lets bytes gather for up to three microseconds while they keep coming. The limit is eight
    /// microseconds while bytes come at more than two gigabytes a second. Replies and lone messages
    /// are not delayed.
    #[default]
    Balanced,
    /// Lets bytes gather for up to 64 microseconds while they keep coming. Stops at a quarter of
    /// the ring, or at one mebibyte.
    Throughput,
}

/// What one handle has learned about the arrival of its peer's bytes.
#[derive(Debug)]
pub(crate) struct Coalescer {
    pub(crate) pace: Pace,
    /// Looks left that take their bytes at once.
    looks: u32,
    /// The number that `looks` started from; 0 while waiting pays.
    backoff: u32,
}

impl Coalescer {
    pub(crate) fn new(pace: Pace) -> Coalescer {
        Coalescer {
            pace,
            looks: 1,
            backoff: 1,
        }
    }

    /// Lets bytes gather, after the caller has found `found` bytes. `look` returns how many there
    /// are now, and `capacity` is that of the ring.
    #[inline]
    pub(crate) fn coalesce<E>(
        &mut self,
        found: u64,
        capacity: u64,
        look: impl FnMut() -> Result<u64, E>,
    ) -> Result<u64, E> {
        if self.takes_at_once() {
            self.note_taken();
            return Ok(found);
        }
        self.coalesce_now(found, capacity, look)
    }

    /// Whether the bytes of the next look are to be taken at once.
    #[inline]
    pub(crate) fn takes_at_once(&self) -> bool {
        self.looks > 0 || self.pace == Pace::Latency
    }

    /// Counts a look whose bytes were taken at once.
    #[inline]
    pub(crate) fn note_taken(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// Whether every recent attempt to wait found nothing more: messages come alone.
    #[inline]
    pub(crate) fn finds_nothing_more(&self) -> bool {
        self.backoff >= ALONE
    }

    fn coalesce_now<E>(
        &mut self,
        found: u64,
        capacity: u64,
        mut look: impl FnMut() -> Result<u64, E>,
    ) -> Result<u64, E> {
        let (slow, fast) = match self.pace {
            Pace::Latency => return Ok(found), // handled by the caller already
            Pace::Balanced => BALANCED,
            Pace::Throughput => THROUGHPUT,
        };
        let enough = ENOUGH.min(capacity / 4);
        let mut there = found;
        if self.backoff > 0 {
            pause(GLANCE);
            there = look()?;
            if there == found {
                self.back_off();
                return Ok(there);
            }
        }
        for interval in 0..fast {
            if there >= enough {
                break;
            }
            pause(INTERVAL);
            let now = look()?;
            let gained = now.saturating_sub(there); // a peer that lies may take bytes back
            there = now;
            if interval == 0 {
                if gained < FAST.min(8 * found) {
                    self.back_off();
                    return Ok(there);
                }
                self.backoff = 0;
            }
            if gained == 0 || (gained < FAST && interval + 1 >= slow) {
                break;
            }
        }
        Ok(there)
    }

    /// Backs off: waiting did not pay, and is tried again after twice as many looks.
    fn back_off(&mut self) {
        self.backoff = (2 * self.backoff + 1).min(MOST_LOOKS);
        self.looks = self.backoff;
    }
}

/// How long the writer of a full ring of `capacity` bytes does not read the reader's cache line. At
/// most an interval, and less than the reader needs for a quarter of the ring.
pub(crate) fn full_ring_pause(capacity: u64) -> Duration {
    INTERVAL.min(Duration::from_nanos(capacity / 128))
}

/// Spins for `time` without touching shared memory.
pub(crate) fn pause(time: Duration) {
    let start = Instant::now();
    loop {
        for _ in 0..4 {
            spin_loop();
        }
        if start.elapsed() >= time {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 4 << 20;

    /// Coalesces with looks that each find `gain` more bytes. Returns the result and the number of
    /// looks.
    fn coalesce(coalescer: &mut Coalescer, found: u64, gain: u64) -> (u64, u32) {
        let (mut there, mut looks) = (found, 0);
        let gathered = coalescer.coalesce(found, CAPACITY, || {
            looks += 1;
            there += gain;
            Ok::<_, ()>(there)
        });
        (gathered.unwrap(), looks)
    }

    fn ready(pace: Pace) -> Coalescer {
        let mut coalescer = Coalescer::new(pace);
        while coalescer.takes_at_once() {
            coalescer.note_taken();
        }
        coalescer
    }

    #[test]
    fn waits_after_single_messages_become_rare() {
        let mut coalescer = Coalescer::new(Pace::Balanced);
        let mut waits = 0;
        for _ in 0..20_000 {
            let (gathered, looks) = coalesce(&mut coalescer, 8, 0);
            assert_eq!(gathered, 8);
            assert!(looks <= 1, "a glance, no more");
            waits += looks;
        }
        assert!((10..40).contains(&waits), "{waits}");
    }

    #[test]
    fn a_stream_gathers_up_to_the_limit_of_the_pace() {
        for (pace, gain, looks) in [
            (Pace::Balanced, FAST, BALANCED.1),
            (Pace::Balanced, FAST - 1, BALANCED.0),
            (Pace::Throughput, FAST - 1, THROUGHPUT.0),
        ] {
            let mut coalescer = ready(pace);
            // The first attempt begins with one more look, the glance.
            assert_eq!(coalesce(&mut coalescer, 64, gain).1, looks + 1);
            assert_eq!(coalesce(&mut coalescer, 64, gain).1, looks);
        }
    }

    #[test]
    fn gathering_ends_with_enough_bytes() {
        let mut coalescer = ready(Pace::Throughput);
        let (gathered, looks) = coalesce(&mut coalescer, 64, 200 << 10);
        assert_eq!((gathered, looks), (64 + 6 * (200 << 10), 6));
        assert_eq!(coalesce(&mut coalescer, ENOUGH, 1), (ENOUGH, 0));
    }

    #[test]
    fn bytes_that_are_taken_back_end_the_wait() {
        let mut coalescer = ready(Pace::Balanced);
        let mut there = 1000;
        let gathered = coalescer.coalesce(there, CAPACITY, || {
            there -= 100;
            Ok::<_, ()>(there)
        });
        assert!(gathered.unwrap() < 1000);
    }

    #[test]
    fn latency_waits_for_nothing() {
        let mut coalescer = Coalescer::new(Pace::Latency);
        for _ in 0..3 {
            assert!(coalescer.takes_at_once(), "bytes are taken at once");
            assert_eq!(coalesce(&mut coalescer, 64, 1 << 20), (64, 0));
        }
    }

    #[test]
    fn a_small_ring_is_left_alone_for_less() {
        assert_eq!(full_ring_pause(CAPACITY), INTERVAL);
        assert!(full_ring_pause(4096) < Duration::from_nanos(100));
    }
}
