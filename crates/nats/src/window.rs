//! How many bytes a sender keeps in flight. Pure code.
//!
//! The window follows the path: twice the rate at which acknowledgements come, times the
//! shortest round trip. While the path takes more, the rate grows with the window, and so
//! the window doubles in each round. When the rate no longer grows, neither does the window.
//! A window that is full for longer only fills the broker's queue.
//!
//! A round trip counts as [`LEAST_TRIP`] at least. On a short path most of the trip is the work of the
//! broker's threads. A thread then idles unless it has a record to work on, and the next one too.

use std::time::{Duration, Instant};

/// The least window, in bytes. Also the first one.
pub const LEAST: usize = 512 << 10;
/// The largest window, in bytes. It bounds the memory of a sender.
pub const MOST: usize = 8 << 20;
/// The most bytes of a record's payload. A longer one would fill the window alone.
pub const LONGEST: usize = 1 << 20;
/// The most records that may be in flight, however short they are.
pub const RECORDS: usize = 512;

/// The least round trip that the window is made for. A record then waits in the broker for about twice
/// as long.
pub const LEAST_TRIP: Duration = Duration::from_millis(4);

/// How long the shortest round trip counts: the path may have become longer since.
const FORGET: Duration = Duration::from_secs(10);

/// The window of a sender.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    bytes: usize,
    shortest: Option<(Duration, Instant)>,
    round: Option<Round>,
}

/// The acknowledgements of about one round trip, from one acknowledgement on.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    bytes: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            bytes: LEAST,
            shortest: None,
            round: None,
        }
    }
}

impl Window {
    /// Bytes that may be in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The shortest round trip seen lately.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shortest.map(|(shortest, _)| shortest)
    }

    /// Notes that a record of `len` bytes, published at `sent`, was acknowledged `now`.
    pub fn acknowledged(&mut self, len: usize, sent: Instant, now: Instant) {
        let took = now.saturating_duration_since(sent);
        match self.shortest {
            Some((shortest, seen)) if took > shortest => {
                if now.saturating_duration_since(seen) >= FORGET {
                    // The queue drains, so that the next round trips are those of the path.
                    self.shortest = Some((took, now));
                    self.bytes = LEAST;
                    self.round = None;
                }
            }
            _ => self.shortest = Some((took, now)),
        }
        let Some((shortest, _)) = self.shortest else {
            return;
        };
        let Some(round) = &mut self.round else {
            self.round = Some(Round {
                began: now,
                bytes: 0,
            });
            return;
        };
        round.bytes += len;
        let lasted = now.saturating_duration_since(round.began);
        let trip = shortest.max(LEAST_TRIP);
        if lasted < trip {
            return;
        }
        // The bytes of a round trip at the present rate, twice. The window moves by a factor of two
        // at most, so that one odd round does little.
        let in_trip = trip.as_secs_f64() / lasted.as_secs_f64() * round.bytes as f64;
        let wanted = (2.0 * in_trip) as usize;
        self.bytes = wanted
            .clamp(self.bytes / 2, self.bytes * 2)
            .clamp(LEAST, MOST);
        self.round = None;
    }

    /// Begins again, after the path failed.
    pub fn reset(&mut self) {
        *self = Window::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Sends through a path of `rate` bytes a second and this round trip, for a while.
    /// Returns the window, and the share of the time that the path was busy at the end.
    fn through(rate: f64, trip: Duration) -> (usize, f64) {
        const RECORD: usize = 128 << 10;
        let start = Instant::now();
        let (mut window, mut in_flight) = (Window::default(), VecDeque::new());
        let (mut now, mut free_at, mut bytes) = (start, start, 0);
        let takes = Duration::from_secs_f64(RECORD as f64 / rate);
        let (mut busy, mut since) = (Duration::ZERO, start);
        for sent in 0..4000 {
            if sent == 2000 {
                (busy, since) = (Duration::ZERO, now);
            }
            while bytes + RECORD > window.bytes() {
                let (at, came): (Instant, Instant) = in_flight.pop_front().unwrap();
                now = now.max(came);
                bytes -= RECORD;
                window.acknowledged(RECORD, at, now);
            }
            free_at = free_at.max(now) + takes;
            busy += takes;
            in_flight.push_back((now, free_at + trip));
            bytes += RECORD;
        }
        (
            window.bytes(),
            busy.as_secs_f64() / (now - since).as_secs_f64(),
        )
    }

    #[test]
    fn the_window_fills_each_path_and_stays_near_it() {
        for (rate, trip) in [
            (200e6, Duration::from_micros(200)),
            (200e6, Duration::from_millis(5)),
            (50e6, Duration::from_millis(40)),
            (12.5e6, Duration::from_millis(100)),
        ] {
            let (window, busy) = through(rate, trip);
            let product = rate * trip.max(LEAST_TRIP).as_secs_f64();
            assert!(
                busy > 0.85,
                "{rate} {trip:?}: window {window}, busy {busy:.2}"
            );
            let most = (4.0 * product) as usize + LEAST;
            assert!(window <= most.min(MOST), "{rate} {trip:?}: window {window}");
        }
    }

    /// Found by reading: beside a broker on the same host the window stayed at its least, four records.
    #[test]
    fn a_short_path_has_records_for_each_stage_of_the_broker() {
        for trip in [Duration::ZERO, Duration::from_micros(100)] {
            let (window, _) = through(400e6, trip);
            let least = (400e6 * LEAST_TRIP.as_secs_f64()) as usize;
            assert!((least..MOST / 2).contains(&window), "{trip:?}: {window}");
        }
    }

    #[test]
    fn the_window_has_a_bound_whatever_the_path() {
        let (window, _) = through(10e9, Duration::from_secs(2));
        assert_eq!(window, MOST);
        let (window, _) = through(1e6, Duration::ZERO);
        assert_eq!(window, LEAST);
    }

    #[test]
    fn a_longer_path_is_believed_after_a_while() {
        let start = Instant::now();
        let mut window = Window::default();
        let short = start + Duration::from_millis(1);
        window.acknowledged(1000, start, short);
        let later = short + FORGET;
        window.acknowledged(1000, later - Duration::from_millis(90), later);
        assert_eq!(window.round_trip(), Some(Duration::from_millis(90)));
        window.reset();
        assert_eq!((window.bytes(), window.round_trip()), (LEAST, None));
    }
}
