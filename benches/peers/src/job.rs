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
    /// Works so long after each block.
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
        /// Bytes, if not as many as fit the time.
        total: Option<u64>,
    },
    /// There and back, one at a time: ns.
    RoundTrip { block: usize },
    /// Messages of 64 bytes by the clock: ns from the call that sends to the
    /// return of the call that receives.
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

    /// How much longer than another job it may take: a gigabyte a second.
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

/// Does it with `$block` known to the compiler where that is the size of a message: whoever has
/// messages of one size says so in the source, as the ring of typed values here has to.
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
    /// Bytes that make each page of the channel be there.
    pub(crate) capacity: usize,
    /// Sides that meet: two of each pair.
    pub(crate) parties: u64,
    /// Whether this is the first pair, whose reader says how far to go.
    pub(crate) first: bool,
    pub(crate) usage: fn() -> Usage,
}

impl Setting<'_> {
    fn meet(&self) {
        self.board.meet(self.parties);
    }

    /// The reader's side of the agreement: the leader says how many blocks the
    /// next leg has.
    fn announce(&self, count: u64) -> u64 {
        if self.first {
            self.board.set_count(count);
        }
        self.meet();
        self.board.count()
    }

    /// Runs legs of more and more blocks until the channel has been round and
    /// its pace is known, then gives the count for the measured leg.
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
            // The leader's word counts: the others may see another clock.
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
            let source = Source::new(block, skew.0);
            let mut cursor = Cursor::default();
            let work = slow.filter(|slow| !slow.reader).map(|slow| slow.work);
            follow(set, &mut tx, S::calls, |tx, count| {
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
        Job::RoundTrip { block } => {
            let mut rx = back.expect("a round trip has a way back");
            let mut buffer = vec![0; block];
            follow(set, &mut tx, S::calls, |tx, count| {
                sized!(
                    block,
                    for _ in 0..count {
                        rx.receive(&mut buffer[..block]);
                        tx.send(&buffer[..block]);
                    }
                );
            });
        }
        Job::Paced { every, burst } => {
            let source = Source::new(PACED_BLOCK, 0);
            let mut cursor = Cursor::default();
            let every = (every.as_nanos() as f64 / clock::ns_per_tick()) as u64;
            let mut block = [0; PACED_BLOCK];
            follow(set, &mut tx, S::calls, |tx, count| {
                let mut due = clock::ticks();
                for at in 0..count {
                    if at % u64::from(burst) == 0 {
                        clock::spin_until(due);
                    }
                    let now = clock::ticks();
                    block.copy_from_slice(source.next(&mut cursor, PACED_BLOCK));
                    block[..8].copy_from_slice(&now.to_le_bytes());
                    tx.send(&block);
                    if (at + 1) % u64::from(burst) == 0 {
                        // A writer that is late goes on from there: what is
                        // measured is the wait, not the queue.
                        due = (due + every).max(clock::ticks());
                    }
                }
            });
        }
        Job::Wake => {
            let nap = (NAP.as_nanos() as f64 / clock::ns_per_tick()) as u64;
            let mut sent = 0;
            follow(set, &mut tx, S::calls, |tx, count| {
                for _ in 0..count {
                    // The last one has come, however late, and the receiver
                    // is on its way to sleep.
                    while set.board.taken() < sent {
                        std::hint::spin_loop();
                    }
                    clock::spin_until(clock::ticks() + nap);
                    tx.send(&clock::ticks().to_le_bytes());
                    sent += 1;
                }
            });
        }
    }
}

/// The writer's side of the agreement: legs as they are announced, the last of
/// which is measured.
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
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    let check = |cursor: &mut Cursor, bytes: &[u8]| {
        assert!(source.check(cursor, bytes), "a block came out wrong");
    };
    match set.job {
        Job::Stream {
            block,
            skew,
            slow,
            total,
        } => {
            let mut memory = Target::new(block, skew.1);
            let buffer = memory.bytes();
            let work = slow.filter(|slow| slow.reader).map(|slow| slow.work);
            let mut leg = |rx: &mut R, count| {
                sized!(
                    block,
                    for _ in 0..count {
                        let buffer = &mut buffer[..block];
                        rx.receive(buffer);
                        check(&mut cursor, buffer);
                        if let Some(work) = work {
                            pretend_to_work(work);
                        }
                    }
                );
            };
            let count = set.warm_up(block, |count| leg(&mut rx, count));
            let count = total.map_or(count, |total| total / block as u64);
            measure(set, &mut rx, count, |rx, count| {
                let start = Instant::now();
                leg(rx, count);
                let bytes = count * block as u64;
                (bytes as f64 / start.elapsed().as_nanos() as f64, f64::NAN)
            });
        }
        Job::RoundTrip { block } => {
            let mut tx = there.expect("a round trip has a way there");
            let mut buffer = vec![0; block];
            let mut back = Cursor::default();
            let mut trip = |rx: &mut R| {
                sized!(block, {
                    tx.send(source.next(&mut cursor, block));
                    let buffer = &mut buffer[..block];
                    rx.receive(buffer);
                    check(&mut back, buffer);
                });
            };
            let count = set.warm_up(block, |count| (0..count).for_each(|_| trip(&mut rx)));
            // A look at the clock for every 2 us or every trip.
            let pace = set.time.as_nanos() as u64 / count;
            let batch = (2000 / pace.max(1)).clamp(1, count);
            let batches = count / batch;
            measure(set, &mut rx, batches * batch, |rx, _| {
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
        Job::Paced { .. } | Job::Wake => {
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
                    check(&mut cursor, rest);
                }
                now.saturating_sub(sent) as f64 * clock::ns_per_tick()
            };
            let count = set.warm_up(block, |count| {
                for _ in 0..count {
                    one(&mut rx);
                }
            });
            measure(set, &mut rx, count, |rx, count| {
                let mut delays = Vec::with_capacity(count as usize);
                for _ in 0..count {
                    delays.push(one(rx));
                }
                (
                    stats::median(&mut delays),
                    stats::quantile(&mut delays, 0.99),
                )
            });
        }
    }
}

/// Runs the measured leg and leaves its figures on the board.
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
        // Several pairs: all that was moved until the last one had done.
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
