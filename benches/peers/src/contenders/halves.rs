//! What each side of a ring can do alone. The writer copies into memory that the reader has
//! read last. The reader copies, with the check, out of memory that the writer has written
//! last. In place, the writer makes the bytes in that memory, and the reader checks them
//! there. The two take turns of a whole ring, so neither waits, and they never
//! want one line at once. The slower half is the speed of such a ring whose sides do not
//! disturb each other.
#![allow(unsafe_code)] // memory of two processes

use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use crate::board::{Board, Slot, Slots};
use crate::cells::CAPACITY;
use crate::channel::Spec;
use crate::job::stream::Target;
use crate::job::{Job, in_place, sized};
use crate::pattern::{Cursor, Source};
use crate::run::{Plan, Sample, TRIPS};
use crate::sys::{self, Shared, Usage, Zeroed};

#[repr(C, align(4096))]
struct Memory([AtomicU8; CAPACITY]);

// SAFETY: atomic integers through and through.
unsafe impl Zeroed for Memory {}

impl Memory {
    fn at(&self, at: usize, len: usize) -> *mut u8 {
        self.0[at..at + len].as_ptr().cast_mut().cast()
    }
}

pub(crate) fn writer(spec: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(spec, job, plan, copy, |board| &board.writer)
}

pub(crate) fn reader(spec: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(spec, job, plan, copy, |board| &board.reader)
}

pub(crate) fn writer_in_place(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    _: usize,
) -> Result<Sample, String> {
    run(spec, job, plan, touch, |board| &board.writer)
}

pub(crate) fn reader_in_place(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    _: usize,
) -> Result<Sample, String> {
    run(spec, job, plan, touch, |board| &board.reader)
}

/// One side's way to take its turns. Returns its GB/s.
type Side = fn(&Turns<'_>) -> f64;

/// Runs both sides, and returns the figure of one of them.
fn run(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    side: Side,
    whose: fn(&Board) -> &Slots,
) -> Result<Sample, String> {
    let board = Shared::<Board>::new();
    let ring = Shared::<Memory>::new();
    let capacity = spec.capacity.min(CAPACITY);
    let block = job.block();
    // A longer block passes in pieces of the whole ring.
    let piece = block.min(capacity);
    assert!(capacity.is_multiple_of(piece), "a ring is whole pieces");
    assert!(block.is_multiple_of(piece), "a block is whole pieces");
    let children = [true, false].map(|reads| {
        sys::fork(|| {
            sys::pin(plan.cpus[usize::from(!reads)]);
            let before = board.bounce(reads, TRIPS);
            let (used, start) = (Usage::of_process(), Instant::now());
            let rate = side(&Turns {
                board: &board,
                ring: &ring,
                reads,
                time: plan.time,
                capacity,
                block,
                piece,
            });
            let (elapsed, used) = (start.elapsed(), Usage::of_process().since(used));
            let after = board.bounce(reads, TRIPS);
            let slots = if reads { &board.reader } else { &board.writer };
            slots.set(Slot::KeptWaiting, used.kept_waiting / elapsed.as_secs_f64());
            slots.set(Slot::Value, rate);
            slots.set(Slot::LineBefore, before);
            slots.set(Slot::LineAfter, after);
        })
    });
    sys::reap(&children, plan.limit)?;
    Ok(Sample {
        // A side that cannot run keeps the other one waiting.
        kept_waiting: (board.reader.get(Slot::KeptWaiting))
            .max(board.writer.get(Slot::KeptWaiting)),
        line_before: board.reader.get(Slot::LineBefore),
        line_after: board.reader.get(Slot::LineAfter),
        ..Sample::bare(whose(&board).get(Slot::Value))
    })
}

/// Copies blocks into the ring, or copies them out and checks them. The private memory has the
/// length and the alignment of a contender's. So a block that is longer than the ring and than
/// a cache passes through the same caches.
fn copy(turns: &Turns<'_>) -> f64 {
    let Turns { block, piece, .. } = *turns;
    let source = Source::new(block, 0);
    let mut target = Target::new(block, 0);
    let mut cursor = Cursor::default();
    let mut checked = cursor;
    let mut from = source.next(&mut cursor, block);
    let mut passed = 0; // bytes of the present block
    turns.take(|| {
        for at in (0..turns.capacity).step_by(piece) {
            let place = turns.ring.at(at, piece);
            if turns.reads {
                let to = &mut target.bytes()[passed..][..piece];
                // SAFETY: both ranges have `piece` bytes. It is the reader's turn, and the
                // barrier orders the turns.
                unsafe { to.as_mut_ptr().copy_from_nonoverlapping(place, piece) };
            } else {
                let from = &from[passed..][..piece];
                // SAFETY: both ranges have `piece` bytes. It is the writer's turn, and the
                // barrier orders the turns.
                unsafe { place.copy_from_nonoverlapping(from.as_ptr(), piece) };
            }
            passed += piece;
            if passed < block {
                continue;
            }
            passed = 0;
            if turns.reads {
                assert!(source.check(&mut checked, target.bytes()));
            } else {
                from = source.next(&mut cursor, block);
            }
        }
    })
}

/// Makes blocks in the ring, or checks them there.
fn touch(turns: &Turns<'_>) -> f64 {
    let block = turns.piece; // no grant is longer than the ring
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    turns.take(|| {
        sized!(
            block,
            for at in (0..turns.capacity).step_by(block) {
                let place = turns.ring.at(at, block);
                if turns.reads {
                    // SAFETY: the ring has `block` bytes there, and it is the reader's turn.
                    let bytes = unsafe { std::slice::from_raw_parts(place, block) };
                    in_place::check(&source, &mut cursor, bytes, block);
                } else {
                    // SAFETY: the ring has `block` bytes there, and it is the writer's turn.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(place, block) };
                    in_place::make(&source, &mut cursor, bytes, block);
                }
            }
        );
    })
}

/// What one side needs for its turns.
struct Turns<'a> {
    board: &'a Board,
    ring: &'a Memory,
    reads: bool,
    time: Duration,
    capacity: usize,
    block: usize,
    /// Bytes that are copied at once: a block, or a whole ring of a longer one.
    piece: usize,
}

impl Turns<'_> {
    /// Takes turns with the other side, each of one lap of the ring. The writer is first.
    /// Ends once this side's turns have taken the time, and returns its GB/s.
    fn take(&self, mut lap: impl FnMut()) -> f64 {
        // At first the memory and the source are in no cache.
        let warm = 2 * (CAPACITY / self.capacity) as u32;
        let Turns { board, reads, .. } = *self;
        let mut spent = Duration::ZERO;
        let mut rounds = 0;
        board.set_more(true);
        board.meet(2);
        while board.more() {
            if reads {
                board.meet(2); // the ring is full
            }
            let start = Instant::now();
            lap();
            if rounds >= warm {
                spent += start.elapsed();
            }
            rounds += 1;
            if !reads {
                board.meet(2);
            } else if spent >= self.time {
                board.set_more(false);
            }
            board.meet(2); // the ring is empty
        }
        f64::from(rounds - warm) * self.capacity as f64 / spent.as_nanos() as f64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_reader_finds_what_the_writer_left_in_each_round() {
        let board = Shared::<Board>::new();
        let ring = Shared::<Memory>::new();
        let left = AtomicU32::new(0);
        let count = |reads: bool| {
            let mut rounds = 0;
            let rate = turns(&board, &ring, reads, 4096, CAPACITY).take(|| {
                rounds += 1;
                let before = left.swap(rounds, Ordering::Relaxed);
                assert_eq!(before, if reads { rounds } else { rounds - 1 });
            });
            assert!(rate > 0.0);
            rounds
        };
        let (read, written) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| count(false));
            (count(true), writer.join().unwrap())
        });
        assert_eq!(read, written);
        assert!(read > 2);
    }

    #[test]
    fn both_ways_check_every_block() {
        for side in [copy, touch] {
            for (block, capacity) in [
                (64, CAPACITY),
                (4096, CAPACITY),
                (1 << 20, CAPACITY),
                (1 << 20, 64 << 10),
            ] {
                let board = Shared::<Board>::new();
                let ring = Shared::<Memory>::new();
                let turns = |reads| turns(&board, &ring, reads, block, capacity);
                std::thread::scope(|scope| {
                    let writer = scope.spawn(|| side(&turns(false)));
                    assert!(side(&turns(true)) > 0.0);
                    assert!(writer.join().unwrap() > 0.0);
                });
            }
        }
    }

    fn turns<'a>(
        board: &'a Board,
        ring: &'a Memory,
        reads: bool,
        block: usize,
        capacity: usize,
    ) -> Turns<'a> {
        Turns {
            board,
            ring,
            reads,
            time: Duration::from_micros(50),
            capacity,
            block,
            piece: block.min(capacity),
        }
    }
}
