//! Rings, what is written to them, and what is read from them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, OpenError, Options, PeekError, Producer, RemoveError, WaitError};

use crate::{Folder, PATIENCE};

/// The capacity of the rings: small, so that they fill.
pub(crate) const CAPACITY: usize = 256 << 10;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Finished,
    Aborted,
    Died,
}

/// The file of a ring that persists. The ring goes with it.
pub(crate) struct Ring {
    folder: Folder,
    capacity: usize,
}

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring::of(CAPACITY)
    }

    pub(crate) fn of(capacity: usize) -> Ring {
        let ring = Ring {
            folder: Folder::new(),
            capacity,
        };
        std::fs::write(ring.path(), "").unwrap();
        // It is there, with its capacity, before any relay comes.
        drop(ring.options().open_consumer(ring.path()).unwrap());
        ring
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ring")
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        options
            .persistent(true)
            .capacity(self.capacity)
            .timeout(Some(PATIENCE));
        options
    }

    pub(crate) fn producer(&self) -> Producer {
        self.options().open_producer(self.path()).unwrap()
    }

    pub(crate) fn consumer(&self) -> Consumer {
        self.options().open_consumer(self.path()).unwrap()
    }

    pub(crate) fn consumer_nonce(&self) -> u64 {
        self.options().snapshot(self.path()).unwrap().nonce
    }

    /// Removes the ring, as a reboot of its host does. The file beside it stays.
    pub(crate) fn lose(&self) {
        Options::new().force_remove(self.path()).unwrap();
    }
}

/// The ring goes before its file: the file's inode, and so the key, is the next file's.
impl Drop for Ring {
    fn drop(&mut self) {
        match Options::new().force_remove(self.path()) {
            Ok(()) | Err(RemoveError::Open(OpenError::NoRing { .. })) => {} // `lose` may have done so
            Err(error) if std::thread::panicking() => eprintln!("a ring is left: {error}"),
            Err(error) => panic!("a ring is left: {error}"),
        }
    }
}

/// Eight bytes of a test's data, those with this number.
fn word(number: u64) -> [u8; 8] {
    let word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ ((word >> 59) * 0x0101_0101_0101_0101)).to_le_bytes()
}

/// The bytes of a test's data from a position on.
pub(crate) fn bytes(from: u64, len: usize) -> Vec<u8> {
    let skipped = (from % 8) as usize;
    let mut bytes = Vec::with_capacity(skipped + len + 8);
    for number in from / 8.. {
        if bytes.len() >= skipped + len {
            break;
        }
        bytes.extend_from_slice(&word(number));
    }
    bytes.truncate(skipped + len);
    bytes.drain(..skipped);
    bytes
}

/// What the source got: ends and their positions, in order.
pub(crate) type Ends = Arc<Mutex<VecDeque<(u64, How)>>>;

/// Writes streams of all lengths and endings, until it is told to stop.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    pub(crate) ends: Ends,
    thread: Option<JoinHandle<u64>>,
}

impl Writer {
    /// Writes from this position on.
    pub(crate) fn start(ring: &Ring, from: u64, seed: u64, longest: u64) -> Writer {
        let (stop, ends) = (Arc::new(AtomicBool::new(false)), Ends::default());
        let (options, path) = (ring.options(), ring.path());
        let (told, written) = (Arc::clone(&stop), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut position = from;
            while !told.load(Ordering::Relaxed) {
                let most = 1 << random.u32(1..=longest.ilog2());
                let len = random.u64(..most);
                write_stream(&options, &path, position, len, &mut random, &written);
                position += len;
            }
            // The last stream is whole, so that a death before it has its end.
            let last = options.open_producer(&path).unwrap();
            drop(last);
            written.lock().unwrap().push_back((position, How::Finished));
            position
        });
        Writer {
            stop,
            ends,
            thread: Some(thread),
        }
    }

    /// Stops. Returns the end of the last stream.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn write_stream(
    options: &Options,
    path: &Path,
    mut position: u64,
    mut len: u64,
    random: &mut fastrand::Rng,
    ends: &Ends,
) {
    let mut producer = options.open_producer(path).unwrap();
    let how = match random.u8(..4) {
        0 if len > 0 => How::Died, // without a byte, it leaves no end
        1 => How::Aborted,
        _ => How::Finished,
    };
    // It counts before it can be seen.
    ends.lock().unwrap().push_back((position + len, how));
    while len > 0 {
        let part = len.min(random.u64(1..64 << 10));
        let part_bytes = bytes(position, part as usize);
        producer
            .write_all_deadline(&part_bytes, Instant::now() + PATIENCE)
            .unwrap();
        position += part;
        len -= part;
    }
    match how {
        How::Finished => producer.close().unwrap(),
        How::Aborted => producer.abort(),
        How::Died => producer.abandon(),
    }
}

/// Reads a ring and compares each byte and each end, until the end at a position that is
/// told later.
pub(crate) struct Reader {
    pub(crate) position: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(crate) fn start(ring: &Ring, from: u64, ends: &Ends) -> Reader {
        let (position, last) = (
            Arc::new(AtomicU64::new(from)),
            Arc::new(AtomicU64::new(u64::MAX)),
        );
        let (at, until, ends) = (Arc::clone(&position), Arc::clone(&last), Arc::clone(ends));
        let consumer = ring.consumer();
        let thread = std::thread::spawn(move || read(consumer, &at, &until, &ends));
        Reader {
            position,
            last,
            thread: Some(thread),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    pub(crate) fn fails(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until all came, up to this position and its last end.
    pub(crate) fn finish(mut self, last: u64) {
        self.last.store(last, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        let start = Instant::now();
        while !thread.is_finished() {
            let position = self.position.load(Ordering::Relaxed);
            assert!(
                start.elapsed() < PATIENCE * 2,
                "{position} of {last} bytes came"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        thread.join().unwrap();
    }
}

fn read(mut ring: Consumer, at: &AtomicU64, last: &AtomicU64, ends: &Ends) {
    loop {
        let here = at.load(Ordering::Relaxed);
        if here == last.load(Ordering::Relaxed) && ends.lock().unwrap().is_empty() {
            return;
        }
        match next(&mut ring, here) {
            Some(Ok(len)) => {
                at.fetch_add(len, Ordering::Relaxed);
            }
            Some(Err(how)) => {
                let expected = ends.lock().unwrap().pop_front();
                assert_eq!(Some((here, how)), expected, "an end");
            }
            None => {}
        }
    }
}

/// Reads bytes at this position, or an end, if one comes soon.
pub(crate) fn next(ring: &mut Consumer, here: u64) -> Option<Result<u64, How>> {
    let soon = Instant::now() + Duration::from_millis(20);
    let how = match ring.wait_readable_deadline(1, soon) {
        Ok(()) => {
            let grant = ring.try_peek_up_to(64 << 10).unwrap();
            let got = grant.to_vec();
            assert!(
                got == bytes(here, got.len()),
                "other bytes than were written, at {here}"
            );
            let len = got.len();
            grant.consume(len);
            return Some(Ok(len as u64));
        }
        Err(PeekError::TimedOut { .. }) => return None,
        Err(PeekError::Ended { .. }) => How::Finished,
        Err(PeekError::Broken(Broken::ProducerAborted)) => How::Aborted,
        Err(PeekError::Broken(Broken::Died { .. })) if ring.is_at_end() => How::Died,
        // The relay is away, or tells that its producer is dead: not an end.
        Err(PeekError::Broken(Broken::Died { .. })) => {
            match ring.wait_for_peer_deadline(Instant::now() + Duration::from_millis(20)) {
                Ok(()) | Err(WaitError::TimedOut) => return None,
                Err(error) => panic!("{error}"),
            }
        }
        Err(error) => panic!("{error}"),
    };
    assert!(ring.next_stream().unwrap());
    Some(Err(how))
}

/// Reads streams: their bytes, from this position on, and how they ended.
pub(crate) fn read_ends(ring: &mut Consumer, mut here: u64, count: usize) -> Vec<(u64, How)> {
    let start = Instant::now();
    let mut ends = Vec::new();
    while ends.len() < count {
        assert!(start.elapsed() < PATIENCE, "got {ends:?}, and {here} bytes");
        match next(ring, here) {
            Some(Ok(len)) => here += len,
            Some(Err(how)) => ends.push((here, how)),
            None => {}
        }
    }
    ends
}
