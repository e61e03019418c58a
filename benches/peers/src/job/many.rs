//! Messages over many channels between two processes. The writer sends to one after the
//! other. The reader waits for all of them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::delays::{histogram, report};
use super::{Job, Setting, check, follow, measure};
use crate::channel::{Channel, Sender, Spec};
use crate::clock;
use crate::pattern::{Cursor, Source};
use crate::sys::{Line, Shared, Zeroed};

const BLOCK: usize = super::PACED_BLOCK;
/// Bytes that a channel is read for at once.
const MOST: usize = 4 << 10;
/// How long all channels are empty before a single message.
const NAP: Duration = Duration::from_micros(50);

/// A way to wait for many channels.
pub(crate) trait Way {
    /// One of the channels.
    type One: Channel<Sender: Sender>;

    /// Gets ready to read from `ends`. The function returned reads until the inboxes have
    /// that many bytes in all.
    fn start(ends: Vec<<Self::One as Channel>::Receiver>, tally: Arc<Tally>)
    -> Box<dyn FnMut(u64)>;
}

/// All channels of one contender.
pub(crate) struct Many<W: Way> {
    all: Vec<W::One>,
    taken: Arc<Shared<Taken>>,
}

/// Single messages that the reader has taken.
#[repr(C)]
pub(crate) struct Taken(Line<AtomicU64>);

// SAFETY: an atomic integer, for which zero is a value.
#[allow(unsafe_code)]
unsafe impl Zeroed for Taken {}

/// All writing ends, each with its place in its stream.
pub(crate) struct Senders<S> {
    ends: Vec<(S, Cursor)>,
    next: usize,
    sent: u64,
    taken: Arc<Shared<Taken>>,
}

/// All reading ends.
pub(crate) struct Receivers<W: Way> {
    ends: Vec<<W::One as Channel>::Receiver>,
    taken: Arc<Shared<Taken>>,
}

impl<W: Way> Channel for Many<W> {
    type Sender = Senders<<W::One as Channel>::Sender>;
    type Receiver = Receivers<W>;

    fn open(spec: &Spec) -> io::Result<Many<W>> {
        let all: io::Result<Vec<W::One>> = (0..spec.channels).map(|_| W::One::open(spec)).collect();
        Ok(Many {
            all: all?,
            taken: Arc::new(Shared::new()),
        })
    }

    fn sender(self) -> io::Result<Self::Sender> {
        let ends: io::Result<Vec<_>> = self.all.into_iter().map(Channel::sender).collect();
        Ok(Senders {
            ends: ends?
                .into_iter()
                .map(|end| (end, Cursor::default()))
                .collect(),
            next: 0,
            sent: 0,
            taken: self.taken,
        })
    }

    fn receiver(self) -> io::Result<Self::Receiver> {
        let ends: io::Result<Vec<_>> = self.all.into_iter().map(Channel::receiver).collect();
        Ok(Receivers {
            ends: ends?,
            taken: self.taken,
        })
    }
}

/// What the inboxes of all channels have in common.
pub(crate) struct Tally {
    /// Bytes that arrived.
    bytes: AtomicU64,
    /// Bytes that are awaited.
    wanted: AtomicU64,
    /// The delays of single messages, if messages are sent one at a time.
    delays: Option<Mutex<Histogram<u64>>>,
    taken: Arc<Shared<Taken>>,
    source: Source,
}

impl Tally {
    fn new(singly: bool, taken: Arc<Shared<Taken>>) -> Tally {
        Tally {
            bytes: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            delays: singly.then(|| Mutex::new(histogram())),
            taken,
            source: Source::new(MOST, 0),
        }
    }

    /// Says how many bytes are awaited, before the first look at [`Tally::is_complete`].
    pub(crate) fn want(&self, bytes: u64) {
        self.wanted.store(bytes, Ordering::SeqCst);
    }

    /// Whether all awaited bytes are there. Who adds the last of them finds this true, or
    /// the one that waits does: both write before they read.
    pub(crate) fn is_complete(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= self.wanted.load(Ordering::SeqCst)
    }

    fn delays(&self) -> Option<std::sync::MutexGuard<'_, Histogram<u64>>> {
        let delays = self.delays.as_ref()?;
        Some(delays.lock().expect("no holder panics"))
    }
}

/// Where one channel is read into, and checked.
pub(crate) struct Inbox {
    tally: Arc<Tally>,
    cursor: Cursor,
    pub(crate) buffer: Box<[u8]>,
}

impl Inbox {
    pub(crate) fn new(tally: &Arc<Tally>) -> Inbox {
        Inbox {
            tally: Arc::clone(tally),
            cursor: Cursor::default(),
            buffer: vec![0; MOST].into(),
        }
    }

    /// Checks the first `len` bytes of the buffer, which have just arrived. Returns whether
    /// all awaited bytes are there.
    pub(crate) fn take(&mut self, len: usize) -> bool {
        assert_ne!(len, 0, "the stream has ended");
        let tally = &*self.tally;
        let bytes = &self.buffer[..len];
        if let Some(mut delays) = tally.delays() {
            let now = clock::ticks();
            let (sent, rest) = bytes.split_first_chunk().expect("a message");
            assert_eq!(len, BLOCK, "a message is sent alone");
            delays.saturating_record(now.saturating_sub(u64::from_le_bytes(*sent)));
            self.cursor.pass(sent.len());
            check(&tally.source, &mut self.cursor, rest);
        } else {
            check(&tally.source, &mut self.cursor, bytes);
        }
        tally.bytes.fetch_add(len as u64, Ordering::SeqCst);
        let complete = tally.is_complete();
        if tally.delays.is_some() {
            tally.taken.0.0.fetch_add(1, Ordering::Release);
        }
        complete
    }
}

/// The side of the writer.
pub(crate) fn write<S: Sender, W: Way>(
    set: &Setting<'_>,
    mut tx: Senders<S>,
    _: Option<Receivers<W>>,
) {
    let singly = is_singly(set.job);
    let source = Source::new(BLOCK, 0);
    let nap = (NAP.as_nanos() as f64 / clock::ns_per_tick()) as u64;
    follow(
        set,
        &mut tx,
        |_| None,
        |tx, count| {
            for _ in 0..count {
                let at = tx.next;
                tx.next = (at + 1) % tx.ends.len();
                let (end, cursor) = &mut tx.ends[at];
                if !singly {
                    end.send(source.next(cursor, BLOCK));
                    continue;
                }
                while tx.taken.0.0.load(Ordering::Acquire) < tx.sent {
                    std::hint::spin_loop();
                }
                clock::spin_until(clock::ticks() + nap);
                let mut block = [0; BLOCK];
                block.copy_from_slice(source.next(cursor, BLOCK));
                block[..8].copy_from_slice(&clock::ticks().to_le_bytes());
                end.send(&block);
                tx.sent += 1;
            }
        },
    );
}

/// The side of the reader. Measures GB/s, or delays in ns. Threads may wait for more bytes
/// until the process ends.
pub(crate) fn read<W: Way, S>(set: &Setting<'_>, rx: Receivers<W>, _: Option<S>) {
    let singly = is_singly(set.job);
    let tally = Arc::new(Tally::new(singly, rx.taken));
    let mut gather = W::start(rx.ends, Arc::clone(&tally));
    let mut bytes = 0;
    let mut leg = |count: u64| {
        bytes += count * BLOCK as u64;
        gather(bytes);
    };
    let count = set.warm_up(BLOCK, &mut leg);
    if let Some(mut delays) = tally.delays() {
        delays.reset();
    }
    let took = measure(set, &mut leg, |_| None, count, |leg, count| leg(count));
    match tally.delays() {
        Some(delays) => report(set, &delays),
        None => set.report_speed(count, took),
    }
}

fn is_singly(job: Job) -> bool {
    matches!(job, Job::Many { singly: true })
}
