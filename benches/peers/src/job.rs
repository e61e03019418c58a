//! What the two sides of a channel do while they are measured.

use std::time::{Duration, Instant};

use crate::board::{Board, Slot};
use crate::channel::{Receiver, Sender};
use crate::clock;
use crate::pattern::{Cursor, Source};
use crate::stats;
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
    /// One block there and back at a time: ns.
    RoundTrip { block: usize },
    /// Messages of 64 bytes at fixed times: ns from the call that sends a message to the
    /// return of the call that receives it.
    Paced { every: Duration, burst: u32 },
    /// One message to a receiver that has slept for a while: ns.
    Wake,
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
            Job::Stream { block, .. } | Job::RoundTrip { block } => block,
            Job::Paced { .. } => PACED_BLOCK,
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

    /// Runs longer and longer legs, until all of the channel was used and its pace is known.
    /// Returns the number of blocks for the measured leg.
    fn warm_up(&self, block: usize, mut leg: impl FnMut(u64)) -> u64 {
        const ENOUGH: Duration = Duration::from_millis(60);
        let start = Instant::now();
        let (mut count, mut moved) = (LEAST, 0);
        let mut pace;
        loop {
            count = self.announce(count);
            let from = Instant::now();
            leg(count);
            pace = from.elapsed().as_secs_f64() / count as f64;
            moved += count * block as u64;
            let over = start.elapsed() > ENOUGH || moved >= 2 * self.capacity as u64;
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
        Job::Stream {
            block, skew, slow, ..
        } => {
            let work = slow.filter(|slow| !slow.reader).map(|slow| slow.work);
            write_stream(set, &mut tx, Source::new(block, skew.0), block, work);
        }
        Job::RoundTrip { block } => {
            let mut rx = back.expect("a round trip has a way back");
            answer(set, &mut tx, &mut rx, block);
        }
        Job::Paced { every, burst } => write_by_the_clock(set, &mut tx, every, burst.into()),
        Job::Wake => write_to_a_sleeper(set, &mut tx),
    }
}

fn write_stream<S: Sender>(
    set: &Setting<'_>,
    tx: &mut S,
    source: Source,
    block: usize,
    work: Option<Duration>,
) {
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

fn answer<S: Sender, R: Receiver>(set: &Setting<'_>, tx: &mut S, rx: &mut R, block: usize) {
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
fn write_by_the_clock<S: Sender>(set: &Setting<'_>, tx: &mut S, every: Duration, burst: u64) {
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
fn write_to_a_sleeper<S: Sender>(set: &Setting<'_>, tx: &mut S) {
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
            block,
            skew,
            slow,
            total,
        } => {
            let work = slow.filter(|slow| slow.reader).map(|slow| slow.work);
            read_stream(set, &mut rx, Target::new(block, skew.1), work, total);
        }
        Job::RoundTrip { block } => {
            let tx = there.expect("a round trip has a way there");
            ask(set, &mut rx, tx, block);
        }
        Job::Paced { .. } | Job::Wake => read_delays(set, &mut rx),
    }
}

fn check(source: &Source, cursor: &mut Cursor, bytes: &[u8]) {
    assert!(source.check(cursor, bytes), "a block came out wrong");
}

/// Measures GB/s.
fn read_stream<R: Receiver>(
    set: &Setting<'_>,
    rx: &mut R,
    mut memory: Target,
    work: Option<Duration>,
    total: Option<u64>,
) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    let buffer = memory.bytes();
    let mut leg = |rx: &mut R, count| {
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
    };
    let count = set.warm_up(block, |count| leg(rx, count));
    let count = total.map_or(count, |total| total / block as u64);
    measure(set, rx, count, |rx, count| {
        let start = Instant::now();
        leg(rx, count);
        let bytes = count * block as u64;
        (bytes as f64 / start.elapsed().as_nanos() as f64, f64::NAN)
    });
}

/// Measures round trips, in ns.
fn ask<R: Receiver, S: Sender>(set: &Setting<'_>, rx: &mut R, mut tx: S, block: usize) {
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
    // The clock is read every 2 us, or after every trip.
    let pace = set.time.as_nanos() as u64 / count;
    let batch = (2000 / pace.max(1)).clamp(1, count);
    let batches = count / batch;
    measure(set, rx, batches * batch, |rx, _| {
        let mut times: Vec<f64> = (0..batches)
            .map(|_| {
                let start = clock::ticks();
                (0..batch).for_each(|_| trip(rx));
                (clock::ticks() - start) as f64 * clock::ns_per_tick() / batch as f64
            })
            .collect();
        (stats::median(&mut times), stats::quantile(&mut times, 0.99))
    });
}

/// Measures the delays of messages that hold the time of their sending, in ns.
fn read_delays<R: Receiver>(set: &Setting<'_>, rx: &mut R) {
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
        now.saturating_sub(sent) as f64 * clock::ns_per_tick()
    };
    let count = set.warm_up(block, |count| {
        for _ in 0..count {
            one(rx);
        }
    });
    measure(set, rx, count, |rx, count| {
        let mut delays: Vec<f64> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            delays.push(one(rx));
        }
        (
            stats::median(&mut delays),
            stats::quantile(&mut delays, 0.99),
        )
    });
}

/// Runs the measured leg, and writes its figures to the board.
fn measure<R: Receiver>(
    set: &Setting<'_>,
    rx: &mut R,
    blocks: u64,
    leg: impl FnOnce(&mut R, u64) -> (f64, f64),
) {
    let blocks = set.announce(blocks);
    let (used, called) = ((set.usage)(), rx.calls());
    let start = Instant::now();
    let (mut value, high) = leg(rx, blocks);
    let used = (set.usage)().since(used);
    let elapsed = start.elapsed().as_secs_f64();
    let bytes = (blocks * set.job.block() as u64) as f64;
    set.meet();
    if set.parties > 2 {
        // Of several pairs: all bytes, by the time at which the last pair was done.
        value = bytes * (set.parties / 2) as f64 / start.elapsed().as_nanos() as f64;
    }
    if set.first {
        let slots = &set.board.reader;
        slots.set(Slot::Value, value);
        slots.set(Slot::High, high);
        slots.set(Slot::Bytes, bytes);
        slots.set(Slot::Cpu, used.cpu);
        slots.set(Slot::Waits, used.waits);
        slots.set(Slot::Preemptions, used.preemptions);
        slots.set(Slot::KeptWaiting, used.kept_waiting);
        slots.set(Slot::Elapsed, elapsed);
        slots.set(Slot::Calls, count(called, rx.calls()));
    }
}

fn count(before: Option<u64>, after: Option<u64>) -> f64 {
    match (before, after) {
        (Some(before), Some(after)) => (after - before) as f64,
        _ => f64::NAN,
    }
}

fn pretend_to_work(time: Duration) {
    let ticks = (time.as_nanos() as f64 / clock::ns_per_tick()) as u64;
    clock::spin_until(clock::ticks() + ticks);
}

/// Memory to receive into, `skew` bytes past a page.
struct Target {
    memory: Vec<u8>,
    range: std::ops::Range<usize>,
}

impl Target {
    fn new(block: usize, skew: usize) -> Target {
        let memory = vec![1; block + skew + 4096];
        let start = memory.as_ptr().align_offset(4096) + skew;
        Target {
            memory,
            range: start..start + block,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.range.clone()]
    }
}
