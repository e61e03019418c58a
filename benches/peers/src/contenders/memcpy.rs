//! What one core can do alone: a copy into memory as large as the ring, and a copy out of
//! it, checked and unchecked.

use std::time::Instant;

use crate::board::{Board, Slot};
use crate::channel::Spec;
use crate::job::Job;
use crate::pattern::{Cursor, Source};
use crate::run::{Plan, Sample};
use crate::sys::{self, Shared};

pub(crate) fn unchecked(spec: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(spec, job, plan, false)
}

pub(crate) fn checked(spec: &Spec, job: Job, plan: &Plan, _: usize) -> Result<Sample, String> {
    run(spec, job, plan, true)
}

fn run(spec: &Spec, job: Job, plan: &Plan, checks: bool) -> Result<Sample, String> {
    let board = Shared::<Board>::new();
    let block = job.block();
    let child = sys::fork(|| {
        sys::pin(plan.cpus[0]);
        let source = Source::new(block, 0);
        let mut ring = vec![1; spec.capacity.max(block)];
        let mut target = vec![1; block];
        let (mut sent, mut received, mut at) = (Cursor::default(), Cursor::default(), 0);
        let mut turn = || {
            let slot = &mut ring[at..at + block];
            slot.copy_from_slice(source.next(&mut sent, block));
            target.copy_from_slice(std::hint::black_box(slot));
            std::hint::black_box(&mut target);
            if checks {
                assert!(source.check(&mut received, &target));
            }
            at = (at + block) & (spec.capacity.max(block) - 1);
        };
        let warm = (2 * spec.capacity / block).max(4);
        let start = Instant::now();
        (0..warm).for_each(|_| turn());
        let pace = start.elapsed().as_secs_f64() / warm as f64;
        let count = ((plan.time.as_secs_f64() / pace) as usize).max(4);
        let start = Instant::now();
        (0..count).for_each(|_| turn());
        let value = (count * block) as f64 / start.elapsed().as_nanos() as f64;
        board.reader.set(Slot::Value, value);
    });
    sys::reap(&[child], plan.limit)?;
    Ok(Sample::bare(board.reader.get(Slot::Value)))
}
