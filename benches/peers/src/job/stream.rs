//! Blocks as fast as they go.

use std::time::Duration;

use super::{Setting, check, follow, measure, pretend_to_work, sized};
use crate::board::Slot;
use crate::channel::{Receiver, Sender};
use crate::pattern::{Cursor, Source};

/// Sends from memory `skew` bytes past a page.
pub(super) fn write<S: Sender>(set: &Setting<'_>, tx: &mut S, skew: usize, work: Option<Duration>) {
    let block = set.job.block();
    let source = Source::new(block, skew);
    let mut cursor = Cursor::default();
    follow(set, tx, S::calls, |tx, count| {
        sized!(
            block,
            for _ in 0..count {
                tx.send(source.next(&mut cursor, block));
                if let Some(work) = work {
                    pretend_to_work(work);
                }
            }
        );
    });
}

/// Receives into memory `skew` bytes past a page, and measures the speed. The measured leg
/// has `total` bytes, or as many as fit the time.
pub(super) fn read<R: Receiver>(
    set: &Setting<'_>,
    rx: &mut R,
    skew: usize,
    work: Option<Duration>,
    total: Option<u64>,
) {
    let block = set.job.block();
    let mut memory = Target::new(block, skew);
    let mut leg = leg(block, memory.bytes(), work);
    let count = set.warm_up(block, |count| leg(rx, count));
    let count = total.map_or(count, |total| total / block as u64);
    let took = measure(set, rx, R::calls, count, leg);
    set.report_speed(count, took);
}

/// Receives `total` bytes, and measures the time in ms. The channel was used once before.
pub(super) fn read_all<R: Receiver>(set: &Setting<'_>, rx: &mut R, total: u64) {
    let block = set.job.block();
    let mut memory = Target::new(block, 0);
    let mut leg = leg(block, memory.bytes(), None);
    let lap = set.capacity.div_ceil(block) as u64;
    set.warm_by(lap, |count| leg(rx, count));
    let took = measure(set, rx, R::calls, total / block as u64, leg);
    set.board.reader.set(Slot::Value, took.as_secs_f64() * 1e3);
}

/// Returns a function that receives a number of blocks into `buffer`, and checks them.
fn leg<R: Receiver>(
    block: usize,
    buffer: &mut [u8],
    work: Option<Duration>,
) -> impl FnMut(&mut R, u64) {
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    move |rx, count| {
        sized!(
            block,
            for _ in 0..count {
                let buffer = &mut buffer[..block];
                rx.receive(buffer);
                check(&source, &mut cursor, buffer);
                if let Some(work) = work {
                    pretend_to_work(work);
                }
            }
        );
    }
}

/// Memory to receive into, `skew` bytes past a page.
pub(crate) struct Target {
    memory: Vec<u8>,
    range: std::ops::Range<usize>,
}

impl Target {
    pub(crate) fn new(block: usize, skew: usize) -> Target {
        let memory = vec![1; block + skew + 4096];
        let start = memory.as_ptr().align_offset(4096) + skew;
        Target {
            memory,
            range: start..start + block,
        }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.range.clone()]
    }
}
