//! Killing processes: who does it and when, and what they were doing.
#![allow(dead_code)] // each test binary uses a part

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer, Role, Snapshot};

use super::random::any;
use super::{
    Fork, PATIENCE, asked_for, byte_at, exit_now, move_to_own_ipc_namespace, not_run, until_gone,
};

/// How many processes the tests kill in all.
pub(crate) fn kills() -> u64 {
    asked_for("SHMPIPE_KILLS").unwrap_or(10_000)
}

/// A stream that repeats after a prime number of bytes, so that bytes from
/// another lap of the ring do not fit.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) const PERIOD: u64 = 65_521;

    pub(crate) fn new() -> Pattern {
        let once = (0..Self::PERIOD).map(|position| byte_at(7, position));
        Pattern(once.clone().chain(once).collect())
    }

    pub(crate) fn at(&self, position: u64, len: usize) -> &[u8] {
        &self.0[(position % Self::PERIOD) as usize..][..len]
    }
}

/// A process that kills others at a time it is told.
pub(crate) struct Killer {
    orders: io::PipeWriter,
    done: io::PipeReader,
    _process: Fork,
}

impl Killer {
    pub(crate) fn new() -> Killer {
        let (orders_in, orders) = io::pipe().unwrap();
        let (done, done_in) = io::pipe().unwrap();
        let process = Fork::new(|| {
            // SAFETY: the descriptor is this process's copy, closed once.
            unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&orders)) };
            Killer::work(orders_in.into(), done_in.into());
            exit_now(0);
        });
        Killer {
            orders,
            done,
            _process: process,
        }
    }

    fn work(orders: OwnedFd, done: OwnedFd) {
        let (mut orders, mut done) = (io::PipeReader::from(orders), io::PipeWriter::from(done));
        let mut order = [0; 16];
        while orders.read_exact(&mut order).is_ok() {
            let start = Instant::now();
            let pid = i32::from_ne_bytes(order[..4].try_into().unwrap());
            let signal = i32::from_ne_bytes(order[4..8].try_into().unwrap());
            let delay = Duration::from_nanos(u64::from_ne_bytes(order[8..].try_into().unwrap()));
            if delay > Duration::from_millis(1) {
                std::thread::sleep(delay);
            }
            while start.elapsed() < delay {
                std::hint::spin_loop();
            }
            let now = monotonic();
            // SAFETY: integers; the parent reaps the pid only after the answer.
            unsafe { libc::kill(pid, signal) };
            done.write_all(&now.to_ne_bytes()).unwrap();
        }
    }

    pub(crate) fn order(&mut self, victim: &Fork, signal: i32, delay: Duration) {
        let mut order = [0; 16];
        order[..4].copy_from_slice(&(victim.pid() as i32).to_ne_bytes());
        order[4..8].copy_from_slice(&signal.to_ne_bytes());
        order[8..].copy_from_slice(&(delay.as_nanos() as u64).to_ne_bytes());
        self.orders.write_all(&order).unwrap();
    }

    /// When the last victim was killed, by the monotonic clock in nanoseconds.
    pub(crate) fn killed_at(&mut self) -> u64 {
        let mut at = [0; 8];
        self.done.read_exact(&mut at).unwrap();
        u64::from_ne_bytes(at)
    }
}

pub(crate) fn monotonic() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes a timespec, which outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Moves this process to an IPC namespace of its own, so that every segment in
/// it is the test's. Says whether that was possible.
pub(crate) fn own_namespace() -> bool {
    let moved = move_to_own_ipc_namespace();
    if !moved {
        not_run(
            "in part: without an IPC namespace of its own, segments left behind are not counted",
        );
    }
    moved
}

#[track_caller]
pub(crate) fn assert_no_segments(isolated: bool) {
    if isolated {
        assert_eq!(sysv::list().unwrap(), [], "segments left behind");
    }
}

/// What a victim does between two of its operations, so that both sides come
/// to sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) block: usize,
    pub(crate) pause: Duration,
    /// Closes after so many operations.
    pub(crate) close_after: u64,
}

impl Habits {
    pub(crate) const STREAMING: Habits = Habits {
        block: 3000,
        pause: Duration::ZERO,
        close_after: u64::MAX,
    };

    pub(crate) fn any(random: &mut Rng) -> Habits {
        let most = any(random, &[64, 5000, 40_000]);
        Habits {
            block: random.usize(1..=most),
            pause: Duration::from_micros(any(random, &[0, 0, 20, 300])),
            close_after: u64::MAX,
        }
    }

    /// Rests after the operation of this number, unless it is a late one: a
    /// survivor has a whole ring to drain.
    pub(crate) fn rest(&self, operation: u64) {
        if operation < 50 && !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
    }
}

pub(crate) fn options(capacity: usize) -> Options {
    let mut options = Options::new();
    options.capacity(capacity).timeout(Some(PATIENCE));
    options
}

/// Writes until it breaks or has written enough.
pub(crate) fn write_on(
    producer: &mut Producer,
    pattern: &Pattern,
    habits: Habits,
) -> io::Result<()> {
    for operation in 0..habits.close_after {
        producer.write_all(pattern.at(producer.position(), habits.block))?;
        habits.rest(operation);
    }
    producer.close().unwrap();
    Ok(())
}

/// Reads until it breaks or ends, and checks each byte.
pub(crate) fn read_on(
    consumer: &mut Consumer,
    pattern: &Pattern,
    habits: Habits,
) -> io::Result<()> {
    let mut bytes = vec![0; habits.block];
    for operation in 0..habits.close_after {
        let position = consumer.position();
        let len = consumer.read(&mut bytes)?;
        if len == 0 {
            return Ok(());
        }
        assert!(
            bytes[..len] == *pattern.at(position, len),
            "the {len} bytes from {position} are not those of the stream"
        );
        habits.rest(operation);
    }
    consumer.close().unwrap();
    Ok(())
}

#[derive(Debug)]
pub(crate) enum Opened {
    Producer(Producer),
    Consumer(Consumer),
}

pub(crate) fn open(options: &Options, path: &Path, role: Role) -> Result<Opened, OpenError> {
    Ok(match role {
        Role::Producer => Opened::Producer(options.open_producer(path)?),
        Role::Consumer => Opened::Consumer(options.open_consumer(path)?),
    })
}

impl Opened {
    pub(crate) fn id(&self) -> SegmentId {
        match self {
            Opened::Producer(producer) => producer.id().unwrap(),
            Opened::Consumer(consumer) => consumer.id().unwrap(),
        }
    }

    /// Bytes published since the ring was made, as the segment says.
    pub(crate) fn published(&self) -> u64 {
        Snapshot::of(self.id()).unwrap().written
    }

    /// The victim's part: streams until it is killed, has closed, or finds
    /// its peer gone. Panics on anything else.
    pub(crate) fn play(mut self, pattern: &Pattern, habits: Habits) {
        self.stream(pattern, habits);
    }

    /// The survivor's part: goes on until the peer is gone, and checks that
    /// nothing that was published is missing.
    pub(crate) fn outlive(&mut self, pattern: &Pattern, habits: Habits) -> Outcome {
        // An opener may have had a shorter limit, which a busy machine exceeds.
        match self {
            Opened::Producer(producer) => producer.set_timeout(Some(PATIENCE)),
            Opened::Consumer(consumer) => consumer.set_timeout(Some(PATIENCE)),
        }
        let outcome = self.stream(pattern, habits);
        assert_ne!(outcome, Outcome::TimedOut, "a hang of {PATIENCE:?}");
        self.assert_drained();
        outcome
    }

    /// Panics if a byte that was published was not read.
    #[track_caller]
    pub(crate) fn assert_drained(&self) {
        if let Opened::Consumer(consumer) = self {
            let published = self.published();
            assert_eq!(consumer.position(), published, "bytes are lost");
        }
    }

    pub(crate) fn set_timeout(&mut self, limit: Duration) {
        match self {
            Opened::Producer(producer) => producer.set_timeout(Some(limit)),
            Opened::Consumer(consumer) => consumer.set_timeout(Some(limit)),
        }
    }

    /// Streams until something ends it. A peer that is not there for long
    /// counts as ended only where the caller has set a shorter timeout.
    pub(crate) fn stream(&mut self, pattern: &Pattern, habits: Habits) -> Outcome {
        let ended = match self {
            Opened::Producer(producer) => write_on(producer, pattern, habits),
            Opened::Consumer(consumer) => read_on(consumer, pattern, habits),
        };
        let Err(error) = ended else {
            return Outcome::Finished;
        };
        if error.kind() == ErrorKind::TimedOut {
            return Outcome::TimedOut;
        }
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Broken::Died { .. } | Broken::NeverCame { .. }) => Outcome::Died,
            Some(Broken::ConsumerClosed) => Outcome::Finished,
            _ => panic!("not an answer to a death: {error}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Died,
    Finished,
    TimedOut,
}

#[track_caller]
pub(crate) fn assert_gone(id: SegmentId) {
    until_gone(id);
}

/// Runs `shard` with the numbers 0 to 7 in as many processes at a time: the
/// rounds of a shard sleep more than they work.
pub(crate) fn in_shards(shard: impl Fn(u64)) {
    let shards: Vec<Fork> = (0..SHARDS)
        .map(|number| Fork::new(|| shard(number)))
        .collect();
    for mut process in shards {
        assert_eq!(process.wait(), super::End::Exit(0));
    }
}

pub(crate) const SHARDS: u64 = 8;
