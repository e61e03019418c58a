//! What each side of a ring of copies can do alone. The writer copies into memory that the
//! reader has read last. The reader copies, with the check, out of memory that the writer
//! has written last. The two take turns of a whole ring, so neither waits, and they never
//! want one line at once. The slower half is the speed of such a ring whose sides do not
//! disturb each other.
#![allow(unsafe_code)] // memory of two processes

use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use crate::board::{Board, Slot};
use crate::cells::CAPACITY;
use crate::channel::Spec;
use crate::job::Job;
use crate::pattern::{Cursor, Source};
use crate::run::{Plan, Sample, TRIPS};
use crate::sys::{self, Shared, Zeroed};

#[repr(C, align(4096))]
struct Memory([AtomicU8; CAPACITY]);

// SAFETY: atomic integers through and through.
unsafe impl Zeroed for Memory {}

impl Memory {
    fn at(&self, at: usize, len: usize) -> *mut u8 {
        self.0[at..at + len].as_ptr().cast_mut().cast()
    }
}

pub(crate) fn writer(_: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(job, plan, |board| board.writer.get(Slot::Value))
}

pub(crate) fn reader(_: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(job, plan, |board| board.reader.get(Slot::Value))
}

fn run(job: Job, plan: &Plan, value: fn(&Board) -> f64) -> Result<Sample, String> {
    let board = Shared::<Board>::new();
    let ring = Shared::<Memory>::new();
    let block = job.block();
    assert!(CAPACITY.is_multiple_of(block), "a ring is whole blocks");
    let children = [true, false].map(|reads| {
        sys::fork(|| {
            sys::pin(plan.cpus[usize::from(!reads)]);
            let source = Source::new(block, 0);
            let mut target = vec![1; block];
            let mut cursor = Cursor::default();
            let one = |at| {
                let place = ring.at(at, block);
                if reads {
                    // SAFETY: both ranges have `block` bytes. It is the reader's turn, and
                    // the barrier orders the turns.
                    unsafe { target.as_mut_ptr().copy_from_nonoverlapping(place, block) };
                    assert!(source.check(&mut cursor, &target));
                } else {
                    let from = source.next(&mut cursor, block).as_ptr();
                    // SAFETY: both ranges have `block` bytes. It is the writer's turn, and
                    // the barrier orders the turns.
                    unsafe { place.copy_from_nonoverlapping(from, block) };
                }
            };
            let before = board.bounce(reads, TRIPS);
            let rate = turns(&board, reads, plan.time, block, one);
            let after = board.bounce(reads, TRIPS);
            let slots = if reads { &board.reader } else { &board.writer };
            slots.set(Slot::Value, rate);
            slots.set(Slot::LineBefore, before);
            slots.set(Slot::LineAfter, after);
        })
    });
    sys::reap(&children, plan.limit)?;
    Ok(Sample {
        line_before: board.reader.get(Slot::LineBefore),
        line_after: board.reader.get(Slot::LineAfter),
        ..Sample::bare(value(&board))
    })
}

/// Goes round the ring by blocks, in turns with the other side. The writer is first. Ends
/// once this side's turns have taken `time`, and returns its GB/s.
fn turns(
    board: &Board,
    reads: bool,
    time: Duration,
    block: usize,
    mut one: impl FnMut(usize),
) -> f64 {
    // In the first rounds the memory and the source are in no cache.
    const WARM: u32 = 2;
    let mut spent = Duration::ZERO;
    let mut rounds = 0;
    board.set_more(true);
    board.meet(2);
    while board.more() {
        if reads {
            board.meet(2); // the ring is full
        }
        let start = Instant::now();
        (0..CAPACITY).step_by(block).for_each(&mut one);
        if rounds >= WARM {
            spent += start.elapsed();
        }
        rounds += 1;
        if !reads {
            board.meet(2);
        } else if spent >= time {
            board.set_more(false);
        }
        board.meet(2); // the ring is empty
    }
    f64::from(rounds - WARM) * CAPACITY as f64 / spent.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_reader_finds_what_the_writer_left_in_each_round() {
        const BLOCK: usize = 64 << 10;
        let board = Shared::<Board>::new();
        let ring: Vec<AtomicU32> = (0..CAPACITY / BLOCK).map(|_| AtomicU32::new(0)).collect();
        let count = |reads: bool| {
            let mut done = 0;
            let rate = turns(&board, reads, Duration::from_micros(50), BLOCK, |at| {
                let round = done / ring.len() as u32 + 1;
                let left = ring[at / BLOCK].swap(round, Ordering::Relaxed);
                assert_eq!(left, if reads { round } else { round - 1 });
                done += 1;
            });
            assert!(rate > 0.0);
            done
        };
        let (read, written) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| count(false));
            (count(true), writer.join().unwrap())
        });
        assert_eq!(read, written);
        assert!(read > 2 * ring.len() as u32);
    }
}
