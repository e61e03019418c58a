//! Round trips and delays: how long one message takes.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{NAP, PACED_BLOCK, Setting, check, follow, measure, sized};
use crate::board::Slot;
use crate::channel::{Receiver, Sender};
use crate::clock;
use crate::figures::stats::median;
use crate::pattern::{Cursor, Source};

/// Sends each block back.
pub(super) fn answer<S: Sender, R: Receiver>(
    set: &Setting<'_>,
    tx: &mut S,
    rx: &mut R,
    block: usize,
) {
    let mut buffer = vec![0; block];
    follow(set, tx, S::calls, |tx, count| {
        sized!(
            block,
            for _ in 0..count {
                rx.receive(&mut buffer[..block]);
                tx.send(&buffer[..block]);
            }
        );
    });
}

/// Sends `burst` messages every `every`, each with the time of its call.
pub(super) fn write_by_the_clock<S: Sender>(
    set: &Setting<'_>,
    tx: &mut S,
    every: Duration,
    burst: u64,
) {
    let source = Source::new(PACED_BLOCK, 0);
    let mut cursor = Cursor::default();
    let every = (every.as_nanos() as f64 / clock::ns_per_tick()) as u64;
    let mut block = [0; PACED_BLOCK];
    follow(set, tx, S::calls, |tx, count| {
        let mut due = clock::ticks();
        for at in 0..count {
            if at % burst == 0 {
                clock::spin_until(due);
            }
            let now = clock::ticks();
            block.copy_from_slice(source.next(&mut cursor, PACED_BLOCK));
            block[..8].copy_from_slice(&now.to_le_bytes());
            tx.send(&block);
            if (at + 1) % burst == 0 {
                // A late writer does not catch up: the wait is measured, not a queue.
                due = (due + every).max(clock::ticks());
            }
        }
    });
}

/// Sends one message at a time, with the time of its call, to a receiver that sleeps.
pub(super) fn write_to_a_sleeper<S: Sender>(set: &Setting<'_>, tx: &mut S) {
    let nap = (NAP.as_nanos() as f64 / clock::ns_per_tick()) as u64;
    let mut sent = 0;
    follow(set, tx, S::calls, |tx, count| {
        for _ in 0..count {
            // The receiver has the last message, and goes to sleep.
            while set.board.taken() < sent {
                std::hint::spin_loop();
            }
            clock::spin_until(clock::ticks() + nap);
            tx.send(&clock::ticks().to_le_bytes());
            sent += 1;
        }
    });
}

/// Measures round trips, in ns.
///
/// The median is that of batches of 2 us, since reading the clock takes a part of a trip.
/// The high percentiles are those of single trips: a batch hides a late one.
pub(super) fn ask<R: Receiver, S: Sender>(set: &Setting<'_>, rx: &mut R, mut tx: S, block: usize) {
    let source = Source::new(block, 0);
    let mut buffer = vec![0; block];
    let (mut there, mut back) = (Cursor::default(), Cursor::default());
    let mut trip = |rx: &mut R| {
        sized!(block, {
            tx.send(source.next(&mut there, block));
            let buffer = &mut buffer[..block];
            rx.receive(buffer);
            check(&source, &mut back, buffer);
        });
    };
    let count = set.warm_up(block, |count| (0..count).for_each(|_| trip(rx)));
    let pace = set.time.as_nanos() as u64 / count;
    let plan = Trips::of(count, pace);
    let (mut batches, mut singles) = (room_for(plan.batches), histogram());
    measure(
        set,
        rx,
        R::calls,
        plan.batches * plan.batch + plan.singles,
        |rx, _| {
            for _ in 0..plan.batches {
                let start = clock::ticks();
                (0..plan.batch).for_each(|_| trip(rx));
                batches.push((clock::ticks() - start) as f64 / plan.batch as f64);
            }
            let mut last = clock::ticks();
            for _ in 0..plan.singles {
                trip(rx);
                let now = clock::ticks();
                singles.saturating_record(now - last);
                last = now;
            }
        },
    );
    report(set, &singles);
    if !batches.is_empty() {
        let typical = median(&mut batches) * clock::ns_per_tick();
        set.board.reader.set(Slot::Value, typical);
    }
}

/// How the trips of a leg are timed.
#[derive(Debug, PartialEq)]
struct Trips {
    batches: u64,
    /// Trips of a batch.
    batch: u64,
    singles: u64,
}

impl Trips {
    /// Half of `count` trips of `pace` ns in batches, and half of them singly. All singly,
    /// if a batch is one trip.
    fn of(count: u64, pace: u64) -> Trips {
        let batch = 2000 / pace.max(1);
        let batches = count / 2 / batch.max(1);
        if batch <= 1 || batches == 0 {
            return Trips {
                batches: 0,
                batch: 1,
                singles: count,
            };
        }
        Trips {
            batches,
            batch,
            singles: count - batches * batch,
        }
    }
}

/// Measures the delays of messages that hold the time of their sending, in ns.
pub(super) fn read<R: Receiver>(set: &Setting<'_>, rx: &mut R) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    let mut buffer = vec![0; block];
    let mut one = |rx: &mut R| {
        rx.receive(&mut buffer);
        let now = clock::ticks();
        let (sent, rest) = buffer.split_first_chunk::<8>().expect("8 bytes at least");
        let sent = u64::from_le_bytes(*sent);
        cursor.pass(8);
        if rest.is_empty() {
            set.board.take();
        } else {
            check(&source, &mut cursor, rest);
        }
        now.saturating_sub(sent)
    };
    let count = set.warm_up(block, |count| {
        for _ in 0..count {
            one(rx);
        }
    });
    let mut delays = histogram();
    measure(set, rx, R::calls, count, |rx, count| {
        for _ in 0..count {
            delays.saturating_record(one(rx));
        }
    });
    report(set, &delays);
}

/// Room for `count` times. Its pages are present: a page fault would count as a delay.
fn room_for(count: u64) -> Vec<f64> {
    let mut room = vec![1.0; count as usize];
    std::hint::black_box(&mut room).clear();
    room
}

/// A histogram of ticks, to a thousandth of each value, up to some minutes. Its pages are
/// present, too.
pub(super) fn histogram() -> Histogram<u64> {
    let mut empty = Histogram::new_with_bounds(1, 1 << 40, 3).expect("bounds in order");
    for bit in 0..40 {
        empty.saturating_record(1 << bit);
    }
    empty.reset();
    empty
}

/// Reports the percentiles of `ticks`. A high one needs as many values as to have one beyond
/// itself.
pub(super) fn report(set: &Setting<'_>, ticks: &Histogram<u64>) {
    for (slot, part, least) in [
        (Slot::Value, 0.5, 1),
        (Slot::P99, 0.99, 100),
        (Slot::P999, 0.999, 1000),
    ] {
        if ticks.len() >= least {
            let value = ticks.value_at_quantile(part) as f64;
            set.board.reader.set(slot, value * clock::ns_per_tick());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trip_is_timed_in_a_batch_or_singly() {
        for (count, pace) in [(8, 1), (600_000, 100), (1200, 50_000), (13, 700), (0, 0)] {
            let plan = Trips::of(count, pace);
            let all = plan.batches * plan.batch + plan.singles;
            assert_eq!(all, count, "{plan:?}");
            assert!(plan.singles * 2 >= count, "{plan:?}");
        }
        let plan = Trips::of(600_000, 100);
        assert_eq!((plan.batch, plan.batches), (20, 15_000));
    }
}
