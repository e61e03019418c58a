//! What the two sides of a channel do while they are measured.

mod delays;
pub(crate) mod in_place;
pub(crate) mod many;
pub(crate) mod stream;
#[cfg(feature = "async")]
pub(crate) mod tasks;

use std::time::{Duration, Instant};

use crate::board::{Board, Slot};
use crate::channel::{Receiver, Sender};
use crate::clock;
use crate::pattern::{Cursor, Source};
use crate::sys::Usage;

/// Which side is slowed down, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    pub(crate) reader: bool,
    /// The time that the slow side works after each block.
    pub(crate) work: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Blocks as fast as they go: GB/s.
    Stream {
        block: usize,
        /// Bytes past a page, of the memory sent from and received to.
        skew: (usize, usize),
        slow: Option<Slow>,
        /// Bytes of the measured leg; otherwise as many as fit the time.
        total: Option<u64>,
    },
    /// A fixed number of bytes, beside as many busy loops on each processor: ms.
    Busy {
        block: usize,
        total: u64,
        loops: usize,
    },
    /// One block there and back at a time: ns.
    RoundTrip { block: usize },
    /// Messages of 64 bytes at fixed times: ns from the call that sends a message to the
    /// return of the call that receives it.
    Paced { every: Duration, burst: u32 },
    /// One message to a receiver that has slept for a while: ns.
    Wake,
    /// Messages of 64 bytes over many channels in turn, as fast as they go: GB/s. Or one at a
    /// time, while the receiver of all sleeps: ns.
    Many { singly: bool },
}

const PACED_BLOCK: usize = 64;
/// How long the receiver has slept before it is woken.
const NAP: Duration = Duration::from_micros(250);
/// Blocks of the measured leg at least.
const LEAST: u64 = 8;

impl Job {
    /// Bytes of its largest message.
    pub(crate) fn block(&self) -> usize {
        match *self {
            Job::Stream { block, .. } | Job::Busy { block, .. } | Job::RoundTrip { block } => block,
            Job::Paced { .. } | Job::Many { .. } => PACED_BLOCK,
            Job::Wake => 8,
        }
    }

    /// How much longer than other jobs this one may take: a second for each gigabyte.
    pub(crate) fn at_most(&self) -> Duration {
        match *self {
            Job::Stream {
                total: Some(total), ..
            } => Duration::from_nanos(total),
            _ => Duration::ZERO,
        }
    }

    /// Busy loops beside it, on each processor.
    pub(crate) fn loops(&self) -> usize {
        match *self {
            Job::Busy { loops, .. } => loops,
            _ => 0,
        }
    }

    pub(crate) fn needs_a_way_back(&self) -> bool {
        matches!(self, Job::RoundTrip { .. })
    }
}

/// Runs `$it` with `$block` as a constant, if it is the size of a message. A program whose
/// messages have one size knows it when it is compiled, as a ring of typed values has to.
macro_rules! sized {
    ($block:ident, $it:expr) => {
        match $block {
            8 => {
                let $block = 8;
                $it
            }
            64 => {
                let $block = 64;
                $it
            }
            256 => {
                let $block = 256;
                $it
            }
            _ => $it,
        }
    };
}
pub(crate) use sized;

/// What both sides know.
pub(crate) struct Setting<'a> {
    pub(crate) board: &'a Board,
    pub(crate) job: Job,
    /// How long the measured leg shall take.
    pub(crate) time: Duration,
    /// Bytes after which each page of the channel is present.
    pub(crate) capacity: usize,
    /// The number of sides that meet: two for each pair.
    pub(crate) parties: u64,
    /// Whether this is the first pair, whose reader chooses the number of blocks.
    pub(crate) first: bool,
    pub(crate) usage: fn() -> Usage,
}

impl Setting<'_> {
    fn meet(&self) {
        self.board.meet(self.parties);
    }

    /// The reader's side of the agreement. The first pair's reader says how many blocks the
    /// next leg has.
    fn announce(&self, count: u64) -> u64 {
        if self.first {
            self.board.set_count(count);
        }
        self.meet();
        self.board.count()
    }

    /// Reports GB/s: the blocks of every pair, in the time that the last pair took.
    fn report_speed(&self, blocks: u64, took: Duration) {
        let bytes = blocks * self.job.block() as u64 * (self.parties / 2);
        if self.first {
            let speed = bytes as f64 / took.as_nanos() as f64;
            self.board.reader.set(Slot::Value, speed);
        }
    }

    /// Runs one leg of `count` blocks before the measured one.
    fn warm_by(&self, count: u64, leg: impl FnOnce(u64)) {
        let count = self.announce(count);
        leg(count);
        if self.first {
            self.board.set_more(false);
        }
        self.meet();
    }

    /// Runs longer and longer legs, until all of the channel was used and its pace is known. The pace
    /// is that of a leg that took a good part of the measured one. In the first laps, the kernel
    /// provides the memory, and a side that waited for that sleeps. Returns the number of blocks for
    /// the measured leg.
    fn warm_up(&self, block: usize, mut leg: impl FnMut(u64)) -> u64 {
        const ENOUGH: Duration = Duration::from_millis(60);
        let start = Instant::now();
        let (mut count, mut moved) = (LEAST, 0);
        let mut pace;
        loop {
            count = self.announce(count);
            let from = Instant::now();
            leg(count);
            let took = from.elapsed();
            pace = took.as_secs_f64() / count as f64;
            moved += count * block as u64;
            let all_used = moved >= 2 * self.capacity as u64;
            let over = start.elapsed() > ENOUGH || all_used && took > self.time / 4;
            // The first pair decides, since the others may see another clock.
            if self.first {
                self.board.set_more(!over);
            }
            self.meet();
            if !self.board.more() {
                break;
            }
            count *= 2;
        }
        ((self.time.as_secs_f64() / pace) as u64).max(LEAST)
    }
}

/// The side of the writer, or of the one that answers.
pub(crate) fn write<S: Sender, R: Receiver>(set: &Setting<'_>, mut tx: S, back: Option<R>) {
    match set.job {
        Job::Stream { skew, slow, .. } => {
            let work = slow.filter(|slow| !slow.reader).map(|slow| slow.work);
            stream::write(set, &mut tx, skew.0, work);
        }
        Job::Busy { .. } => stream::write(set, &mut tx, 0, None),
        Job::RoundTrip { block } => {
            let mut rx = back.expect("a round trip has a way back");
            delays::answer(set, &mut tx, &mut rx, block);
        }
        Job::Paced { every, burst } => {
            delays::write_by_the_clock(set, &mut tx, every, burst.into());
        }
        Job::Wake => delays::write_to_a_sleeper(set, &mut tx),
        Job::Many { .. } => unreachable!("it has its own sides"),
    }
}

/// The writer's side of the agreement. Runs the legs that are announced; the last one is
/// measured.
fn follow<S>(
    set: &Setting<'_>,
    tx: &mut S,
    calls: impl Fn(&S) -> Option<u64>,
    mut leg: impl FnMut(&mut S, u64),
) {
    loop {
        set.meet();
        leg(tx, set.board.count());
        set.meet();
        if !set.board.more() {
            break;
        }
    }
    set.meet();
    let (used, called) = ((set.usage)(), calls(tx));
    leg(tx, set.board.count());
    let used = (set.usage)().since(used);
    set.board.writer.set(Slot::Cpu, used.cpu);
    set.board.writer.set(Slot::Waits, used.waits);
    set.board.writer.set(Slot::Preemptions, used.preemptions);
    set.board.writer.set(Slot::KeptWaiting, used.kept_waiting);
    set.board.writer.set(Slot::Calls, count(called, calls(tx)));
    set.meet();
}

/// The side of the reader, or of the one that asks.
pub(crate) fn read<R: Receiver, S: Sender>(set: &Setting<'_>, mut rx: R, there: Option<S>) {
    match set.job {
        Job::Stream {
            skew, slow, total, ..
        } => {
            let work = slow.filter(|slow| slow.reader).map(|slow| slow.work);
            stream::read(set, &mut rx, skew.1, work, total);
        }
        Job::Busy { total, .. } => stream::read_all(set, &mut rx, total),
        Job::RoundTrip { block } => {
            let tx = there.expect("a round trip has a way there");
            delays::ask(set, &mut rx, tx, block);
        }
        Job::Paced { .. } | Job::Wake => delays::read(set, &mut rx),
        Job::Many { .. } => unreachable!("it has its own sides"),
    }
}

fn check(source: &Source, cursor: &mut Cursor, bytes: &[u8]) {
    assert!(source.check(cursor, bytes), "a block came out wrong");
}

/// Runs the measured leg, and writes to the board what it used. Returns how long it took,
/// until the last pair was done. The caller writes the figure that was asked for.
fn measure<R>(
    set: &Setting<'_>,
    rx: &mut R,
    calls: impl Fn(&R) -> Option<u64>,
    blocks: u64,
    leg: impl FnOnce(&mut R, u64),
) -> Duration {
    let blocks = set.announce(blocks);
    let (used, called) = ((set.usage)(), calls(rx));
    let start = Instant::now();
    leg(rx, blocks);
    let elapsed = start.elapsed();
    let used = (set.usage)().since(used);
    set.meet();
    if set.first {
        let slots = &set.board.reader;
        slots.set(Slot::Bytes, (blocks * set.job.block() as u64) as f64);
        slots.set(Slot::Cpu, used.cpu);
        slots.set(Slot::Waits, used.waits);
        slots.set(Slot::Preemptions, used.preemptions);
        slots.set(Slot::KeptWaiting, used.kept_waiting);
        slots.set(Slot::Elapsed, elapsed.as_secs_f64());
        slots.set(Slot::Calls, count(called, calls(rx)));
    }
    if set.parties > 2 {
        return start.elapsed();
    }
    elapsed
}

fn pretend_to_work(time: Duration) {
    let ticks = (time.as_nanos() as f64 / clock::ns_per_tick()) as u64;
    clock::spin_until(clock::ticks() + ticks);
}

fn count(before: Option<u64>, after: Option<u64>) -> f64 {
    match (before, after) {
        (Some(before), Some(after)) => (after - before) as f64,
        _ => f64::NAN,
    }
}
