//! Ends of streams, counted beside the bytes: in a ring that persists, both of
//! whose sides are killed at random.
#![allow(unsafe_code)] // maps the counts that survive a kill

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::failpoint::{Point, kill_at};
use shmpipe::{Broken, Consumer, Options, PeekError};

use crate::common::kill::{
    Killer, SHARDS, assert_no_segments, in_shards, kills, options, own_namespace,
};
use crate::common::random::any;
use crate::common::{End, Fork, TempPath, alone, exit_now};

/// Bytes of a record: the number of the session that wrote it.
const RECORD: u64 = 8;
/// The most records that a session writes.
const MOST: u64 = 60;

/// How a stream ended, in the log, above bit 8 the process id of the dead.
const FINISHED: u64 = 1;
const ABORTED: u64 = 2;
const DIED: u64 = 3;
/// The same: acknowledged.
const ACKNOWLEDGED: u64 = 1 << 63;

/// What consumers saw, by place: in memory that outlives them.
struct Log {
    start: *mut u64,
    /// Records that there is room for.
    len: u64,
}

impl Log {
    fn new(len: u64) -> Log {
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let (bytes, access) = (len as usize * 16, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, shared, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Log {
            start: start.cast(),
            len,
        }
    }

    fn word(&self, index: u64) -> &AtomicU64 {
        assert!(index < 2 * self.len);
        let word = self.start.wrapping_add(index as usize);
        // SAFETY: inside the mapping, which is there as long as the log.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// The record at a position, one more than its number; 0 if none was seen.
    fn record(&self, position: u64) -> &AtomicU64 {
        assert!(position.is_multiple_of(RECORD));
        self.word(position / RECORD)
    }

    /// The end of a stream, before the byte at a position.
    fn end(&self, position: u64) -> &AtomicU64 {
        assert!(position.is_multiple_of(RECORD));
        self.word(self.len + position / RECORD)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let bytes = self.len as usize * 16;
        // SAFETY: the log's own mapping, no longer used.
        unsafe { libc::munmap(self.start.cast(), bytes) };
    }
}

/// Takes what there is, and logs it before it is given back. Whether there was
/// nothing for a while.
fn take_some(consumer: &mut Consumer, log: &Log) -> bool {
    let (position, wanted) = (consumer.position(), RECORD as usize);
    // What does not wait is told of ends, and not of deaths alone.
    let end = match consumer.try_peek(wanted) {
        Ok(grant) => {
            let mut bytes = [0; RECORD as usize];
            grant.read_at(&mut bytes, 0);
            let now = u64::from_le_bytes(bytes) + 1;
            let before = log.record(position).swap(now, Ordering::Relaxed);
            assert!(before == 0 || before == now, "another one at {position}");
            grant.consume_all();
            return false;
        }
        Err(PeekError::Empty { .. }) => {
            let soon = Instant::now() + Duration::from_millis(2);
            let waited = consumer.peek_deadline(wanted, soon).map(drop);
            return match waited {
                Err(PeekError::Broken(Broken::Died { .. })) => {
                    std::thread::sleep(Duration::from_millis(1));
                    true
                }
                Err(PeekError::TimedOut { .. }) => true,
                _ => false,
            };
        }
        Err(PeekError::Ended { available: 0, .. }) => FINISHED,
        Err(PeekError::Broken(Broken::ProducerAborted)) => ABORTED,
        Err(PeekError::Broken(Broken::Died { pid, .. })) => u64::from(pid) << 8 | DIED,
        Err(other) => panic!("{other} at {position}"),
    };
    let before = log.end(position).fetch_or(end, Ordering::Relaxed);
    assert!(
        before == 0 || before == end,
        "{before:#x}, then {end:#x} at {position}"
    );
    assert!(consumer.next_stream().unwrap());
    log.end(position).fetch_or(ACKNOWLEDGED, Ordering::Relaxed);
    false
}

/// How a session ended, as its parent knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Finished,
    Aborted,
    Killed(u32),
}

#[derive(Clone, Copy, Debug)]
struct Session {
    resumes: bool,
    records: u64,
    ended: Ended,
}

/// A session that a process is to have.
fn write(options: &Options, path: &TempPath, number: u64, random: &mut Rng) -> i32 {
    let resumes = random.bool();
    let records = random.u64(1..=MOST);
    // Some die at a point that they come by, once or again.
    if random.u64(..3) == 0 {
        kill_at(any_point(random), random.u32(..4));
    }
    let pause = any(random, &[0, 0, 50]);
    let mut options = options.clone();
    let mut producer = options.resume(resumes).open_producer(path).unwrap();
    for _ in 0..records {
        producer.write_all(&number.to_le_bytes()).unwrap();
        if pause > 0 {
            std::thread::sleep(Duration::from_micros(pause));
        }
    }
    if random.u64(..3) == 0 {
        producer.abort();
        2
    } else {
        producer.close().unwrap();
        0
    }
}

fn any_point(random: &mut Rng) -> Point {
    any(random, Point::ALL)
}

/// A consumer in a process of its own, which takes all that comes until it is killed.
fn fork_reader(options: &Options, path: &TempPath, log: &Log, random: &mut Rng) -> Fork {
    let point = (random.u64(..3) == 0).then(|| any_point(random));
    let passes = random.u32(..4);
    Fork::new(|| {
        if let Some(point) = point {
            kill_at(point, passes);
        }
        let mut consumer = options.open_consumer(path).unwrap();
        loop {
            take_some(&mut consumer, log);
        }
    })
}

/// Writes the last session, of number `number`, and takes all that is left. Says how many
/// bytes were published.
fn take_the_rest(options: &Options, path: &TempPath, log: &Log, number: u64) -> u64 {
    // The last stream breaks off whatever is left of one that died.
    let mut last = options.open_producer(path).unwrap();
    last.write_all(&number.to_le_bytes()).unwrap();
    last.close().unwrap();
    let mut consumer = options.open_consumer(path).unwrap();
    while !take_some(&mut consumer, log) {}
    let published = last.position();
    assert_eq!(consumer.position(), published, "bytes are lost");
    published
}

/// Has consumers that are killed take what producers write that are, too.
fn one_shard(shard: u64, rounds: u64) -> [u64; 4] {
    let path = TempPath::new();
    let mut options = options(4096);
    options.persistent(true);
    let log = Log::new((rounds + 1) * (MOST + 1));
    drop(options.open_consumer(&path).unwrap());
    let reader = |random: &mut Rng| fork_reader(&options, &path, &log, random);
    let (mut killer, mut deaths) = (Killer::new(), 0);
    let (mut sessions, mut reading) = (Vec::new(), reader(&mut Rng::with_seed(shard)));
    for round in 0..rounds {
        let seed = shard << 32 | round << 8 | 3;
        let mut random = Rng::with_seed(seed);
        let (mut mine, mut same) = (Rng::with_seed(seed + 100), Rng::with_seed(seed + 100));
        let mut writing = Fork::new(|| exit_now(write(&options, &path, round, &mut mine)));
        if random.bool() {
            let delay = Duration::from_micros(random.u64(..2500));
            killer.order(&writing, libc::SIGKILL, delay);
            killer.killed_at();
        }
        let kills = random.bool();
        if kills && reading.is_running() {
            let delay = Duration::from_micros(random.u64(..1500));
            killer.order(&reading, libc::SIGKILL, delay);
            killer.killed_at();
        }
        if kills || !reading.is_running() {
            assert_eq!(reading.wait(), End::Signal(libc::SIGKILL), "round {round}");
            reading = reader(&mut random);
            deaths += 1;
        }
        let resumes = same.bool();
        let records = same.u64(1..=MOST);
        let ended = match writing.wait() {
            End::Exit(0) => Ended::Finished,
            End::Exit(2) => Ended::Aborted,
            End::Signal(libc::SIGKILL) => {
                deaths += 1;
                Ended::Killed(writing.pid())
            }
            other => panic!("round {round}: {other:?}"),
        };
        sessions.push(Session {
            resumes,
            records,
            ended,
        });
    }
    if reading.is_running() {
        reading.kill();
    }
    assert_eq!(reading.wait(), End::Signal(libc::SIGKILL));
    let published = take_the_rest(&options, &path, &log, rounds);
    sessions.push(Session {
        resumes: false,
        records: 1,
        ended: Ended::Finished,
    });
    let [finished, aborted, died] = check(&log, published, &sessions);
    [deaths, finished, aborted, died]
}

/// Checks how a stream ended: that of session `number`, which wrote so many records. It is
/// the first of `sessions`, which come before the next one that wrote.
fn check_end(how: u64, records: u64, number: u64, sessions: &[Session]) {
    let session = sessions[0];
    match (session.ended, how & 0xff) {
        (Ended::Finished, _) => assert_eq!(how, FINISHED, "session {number}"),
        (Ended::Aborted, _) => assert_eq!(how, ABORTED, "session {number}"),
        // It may have come to its end, or have been followed.
        (Ended::Killed(_), FINISHED | ABORTED) => {}
        (Ended::Killed(_), DIED) => {
            let pid = (how >> 8) as u32;
            // It, or one that resumed it. One that did not, and died before it broke
            // the stream off, was none that held it.
            let named = (sessions.iter().enumerate())
                .filter(|(at, session)| *at == 0 || session.resumes)
                .any(|(_, session)| session.ended == Ended::Killed(pid));
            assert!(named, "session {number} died as process {pid}");
        }
        (Ended::Killed(_), _) => assert_eq!(how, 0, "session {number}"),
    }
    if matches!(how & 0xff, FINISHED | ABORTED) {
        assert_eq!(records, session.records, "session {number}");
    }
}

/// Goes through the log: each session's records lie together, in order; each
/// stream ends once, where it did and as it did. Counts the ends.
fn check(log: &Log, published: u64, sessions: &[Session]) -> [u64; 3] {
    let mut ends = [0; 3];
    let mut position = 0;
    // The last session that wrote, and whether an end has followed.
    let mut before: Option<(u64, bool)> = None;
    while position < published {
        let record = log.record(position).load(Ordering::Relaxed);
        assert_ne!(record, 0, "nobody was given the record at {position}");
        let number = record - 1;
        let session = sessions[number as usize];
        if let Some((earlier, has_ended)) = before {
            assert!(number > earlier, "session {number} after {earlier}");
            assert!(
                has_ended || session.resumes,
                "{number} ran on from {earlier}"
            );
        }
        let mut records = 0;
        while position < published && log.record(position).load(Ordering::Relaxed) == record {
            position += RECORD;
            records += 1;
            if log.end(position).load(Ordering::Relaxed) != 0 {
                break;
            }
        }
        assert!(records <= session.records, "session {number}");
        let how = log.end(position).load(Ordering::Relaxed) & !ACKNOWLEDGED;
        let next = match position < published {
            true => log.record(position).load(Ordering::Relaxed) - 1,
            false => sessions.len() as u64,
        };
        check_end(
            how,
            records,
            number,
            &sessions[number as usize..next as usize],
        );
        if how != 0 {
            ends[(how & 0xff) as usize - 1] += 1;
        }
        before = Some((number, how != 0));
    }
    ends
}

#[test]
fn kills_of_both_sides_lose_no_end_and_repeat_none() {
    alone(
        "kills::ends::kills_of_both_sides_lose_no_end_and_repeat_none",
        || {
            let isolated = own_namespace();
            let rounds = (kills() / 5 / SHARDS).max(20);
            let counts = Log::new(2);
            in_shards(|shard| {
                for (index, count) in (0..).zip(one_shard(shard, rounds)) {
                    counts.word(index).fetch_add(count, Ordering::Relaxed);
                }
            });
            let [deaths, finished, aborted, died] =
                [0, 1, 2, 3].map(|index| counts.word(index).load(Ordering::Relaxed));
            println!(
                "kills of both sides of rings that persist: {deaths}; {finished} ends finished, \
             {aborted} aborted, {died} died; 0 lost, repeated or out of place"
            );
            assert!(finished > 0 && aborted > 0 && died > 0);
            assert_no_segments(isolated);
        },
    );
}
