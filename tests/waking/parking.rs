//! No wake is lost. Two sides park and wake each other as often as they can, on one
//! processor and on two, after random short spins. A sleep lasts 60 seconds, so that
//! nothing makes up for a lost wake.
//!
//! `SHMPIPE_PARKS=100000000` sets the number of wakes in all, 200,000 by default. `--
//! --nocapture` shows the figures.
#![cfg(feature = "__failpoints")] // for the length of a slice
#![allow(unsafe_code)] // mmap, sched_setaffinity

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::kill::Pattern;
use crate::common::pin::{allowed_cpus, pin_to};
use crate::common::random::{any, dawdle};
use crate::common::{End, Fork, Task, alone, asked_for, for_some_time, sleeps, until};
use fastrand::Rng;
use shmpipe::failpoint::set_slice;
use shmpipe::sysv::SegmentId;
use shmpipe::{Consumer, Occupant, Options, Producer, Ring, Role, WaitPolicy};

/// Nobody looks by itself before this has passed.
const SLICE: Duration = Duration::from_secs(60);
/// No progress for so long is a wake that went missing.
const STUCK: Duration = Duration::from_secs(30);
const CAPACITY: usize = 4096;

/// Wakes in all.
fn parks() -> u64 {
    asked_for("SHMPIPE_PARKS").unwrap_or(200_000)
}

/// A moment, so that the other side is met at every point of its way to
/// sleep.
fn pause(random: &mut Rng) {
    let most = any(random, &[1, 30, 300, 1_000]);
    dawdle(random, most);
}

/// Mostly parks at once.
fn policy(random: &mut Rng) -> WaitPolicy {
    match random.u64(..4) {
        0 => WaitPolicy::SpinThenPark(Duration::from_nanos(random.u64(..5_000))),
        _ => WaitPolicy::Park,
    }
}

/// What the two sides have done, seen by the process that watches them.
struct Tally(*const AtomicU64);

impl Tally {
    const LEN: usize = 4096;
    const WORDS: usize = 4;

    fn new() -> Tally {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), Self::LEN, access, kind, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        Tally(page.cast())
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < Self::WORDS);
        let word = self.0.wrapping_add(number);
        // SAFETY: a word of the page, which is zeroed and mapped while `self`
        // lives; a fork shares it.
        unsafe { &*word }
    }

    /// Side `number` has woken its peer so often. Stands for itself.
    fn set(&self, number: usize, count: u64) {
        self.word(number).store(count, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        let load = |number| self.word(number).load(Ordering::Relaxed);
        (0..Self::WORDS).map(load).sum()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference to it is left.
        unsafe { libc::munmap(self.0.cast_mut().cast(), Self::LEN) };
    }
}

/// Where the sides run: on one processor, on two, or where the kernel likes;
/// each for a while.
struct Places {
    all: Vec<usize>,
    side: usize,
    last: u64,
}

impl Places {
    fn new(side: usize) -> Places {
        let (all, last) = (allowed_cpus(), u64::MAX);
        Places { all, side, last }
    }

    fn at(&mut self, round: u64) {
        let phase = round >> 11;
        if phase == self.last {
            return;
        }
        self.last = phase;
        let len = self.all.len();
        let one = |number: usize| &self.all[number % len..=number % len];
        // A refusal changes nothing.
        let _ = match phase % 3 {
            0 => pin_to(one(phase as usize / 3)),
            1 => pin_to(one(phase as usize / 3 + self.side)),
            _ => pin_to(&self.all),
        };
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options.capacity(CAPACITY).wait_policy(WaitPolicy::Park);
    options
}

/// Watches two children until both are done, and panics when nothing moves.
fn watch(what: &str, tally: &Tally, mut sides: [Fork; 2]) {
    let start = Instant::now();
    let (mut seen, mut since) = (0, start);
    while sides.iter_mut().any(|side| side.is_running()) {
        let now = tally.sum();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < STUCK,
            "{what}: a wake was lost after {now}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    for side in &mut sides {
        assert_eq!(side.wait(), End::Exit(0), "{what}");
    }
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / tally.sum().max(1) as f64;
    let count = tally.sum();
    println!("{what}: {count}, none lost, in {took:.1?}: {each:.1} us each");
}

/// Two rings, one byte to and fro: each side parks on an empty ring.
#[test]
fn one_byte_to_and_fro_loses_no_wake() {
    alone("parking::one_byte_to_and_fro_loses_no_wake", || {
        set_slice(SLICE);
        let (tally, quota) = (Tally::new(), parks() / 2);
        let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
        let mut take = |number: usize| rings[number].take().unwrap();
        let lead = Fork::new(|| {
            let mut out = take(0).into_producer().unwrap();
            let mut back = take(1).into_consumer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(1), Places::new(0));
            for round in 0.. {
                places.at(round);
                out.write_all(&[round as u8]).unwrap();
                tally.set(0, out.stats().wakes);
                pause(&mut random);
                back.set_wait_policy(policy(&mut random));
                let mut reply = [0];
                back.read_exact(&mut reply).unwrap();
                assert_eq!(reply, [round as u8]);
                pause(&mut random);
                if tally.sum() >= quota {
                    return;
                }
            }
        });
        let follow = Fork::new(|| {
            let mut inward = take(0).into_consumer().unwrap();
            let mut out = take(1).into_producer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(2), Places::new(1));
            for round in 0.. {
                places.at(round);
                let mut byte = [0];
                inward.set_wait_policy(policy(&mut random));
                if inward.read(&mut byte).unwrap() == 0 {
                    return;
                }
                pause(&mut random);
                out.write_all(&byte).unwrap();
                tally.set(1, out.stats().wakes);
                pause(&mut random);
            }
        });
        watch("wakes, to and fro", &tally, [lead, follow]);
        assert!(tally.sum() >= quota);
    });
}

/// Two rings, one byte to and fro: each side waits awake for long enough to
/// promise a barrier, so that its peer leaves out its fence, and parks then.
#[test]
fn a_promise_loses_no_wake() {
    /// Rounds from one park to the next: enough for a promise.
    const CYCLE: u64 = 24;
    const AWAKE: WaitPolicy = WaitPolicy::SpinThenPark(Duration::from_millis(1));
    let policy = |round: u64, parks: u64| match round % CYCLE == parks {
        true => WaitPolicy::Park,
        false => AWAKE,
    };
    alone("parking::a_promise_loses_no_wake", || {
        set_slice(SLICE);
        let (tally, quota) = (Tally::new(), parks() / 10);
        let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
        let mut take = |number: usize| rings[number].take().unwrap();
        let all = allowed_cpus();
        let lead = Fork::new(|| {
            let _ = pin_to(&all[..1]);
            let mut out = take(0).into_producer().unwrap();
            let mut back = take(1).into_consumer().unwrap();
            let mut random = Rng::with_seed(7);
            for round in 0.. {
                if round % CYCLE == CYCLE / 2 {
                    pause(&mut random); // the other parks
                }
                out.write_all(&[round as u8]).unwrap();
                tally.set(0, out.stats().wakes);
                back.set_wait_policy(policy(round, 0));
                let mut reply = [0];
                back.read_exact(&mut reply).unwrap();
                assert_eq!(reply, [round as u8]);
                if tally.sum() >= quota {
                    return;
                }
            }
        });
        let follow = Fork::new(|| {
            let _ = pin_to(&all[all.len() - 1..]);
            let mut inward = take(0).into_consumer().unwrap();
            let mut out = take(1).into_producer().unwrap();
            let mut random = Rng::with_seed(8);
            for round in 0.. {
                let mut byte = [0];
                inward.set_wait_policy(policy(round, CYCLE / 2));
                if inward.read(&mut byte).unwrap() == 0 {
                    return;
                }
                if round % CYCLE == 0 {
                    pause(&mut random); // as above
                }
                out.write_all(&byte).unwrap();
                tally.set(1, out.stats().wakes);
            }
        });
        watch("wakes after a promise", &tally, [lead, follow]);
        assert!(tally.sum() >= quota);
    });
}

/// One small ring: the writer parks on a full one, the reader on an empty one.
#[test]
fn full_and_empty_lose_no_wake() {
    alone("parking::full_and_empty_lose_no_wake", || {
        set_slice(SLICE);
        let (tally, quota) = (Tally::new(), parks() / 2);
        let mut ring = Some(options().create_anonymous().unwrap());
        let pattern = Pattern::new();
        let writer = Fork::new(|| {
            let mut producer: Producer = ring.take().unwrap().into_producer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(3), Places::new(0));
            while tally.sum() < quota {
                places.at(producer.position() >> 11);
                producer.set_wait_policy(policy(&mut random));
                let len = 1 + random.usize(..2 * CAPACITY);
                let bytes = pattern.at(producer.position(), len);
                producer.write_all(bytes).unwrap();
                tally.set(0, producer.stats().wakes);
                pause(&mut random);
            }
            // The reader must have parked as well as the writer.
            assert!(producer.stats().wakes > quota / 100);
            tally.set(2, 1);
        });
        let reader = Fork::new(|| {
            let mut consumer: Consumer = ring.take().unwrap().into_consumer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(4), Places::new(1));
            let mut bytes = vec![0; CAPACITY];
            loop {
                let position = consumer.position();
                places.at(position >> 11);
                consumer.set_wait_policy(policy(&mut random));
                let most = 1 + random.usize(..CAPACITY);
                let len = consumer.read(&mut bytes[..most]).unwrap();
                if len == 0 {
                    break;
                }
                assert!(bytes[..len] == *pattern.at(position, len));
                tally.set(1, consumer.stats().wakes);
                pause(&mut random);
            }
            assert!(consumer.stats().wakes > quota / 100);
        });
        watch("wakes, full and empty", &tally, [writer, reader]);
        assert!(tally.sum() >= quota);
    });
}

/// Waits for the other side to take its role: it is about to sleep then.
fn await_peer(peer: impl Fn() -> Occupant) {
    let start = Instant::now();
    while peer() == Occupant::Nobody {
        assert!(start.elapsed() < STUCK, "it does not come");
        std::thread::yield_now();
    }
}

/// What a side of a round does: one closes, while the other parks or is about
/// to. Returns whether the other was seen to sleep.
fn close_or_park(ring: Ring, role: Role, closes: bool, how: u64, random: &mut Rng) -> bool {
    match (role, closes) {
        (Role::Producer, true) => {
            let mut producer = ring.into_producer().unwrap();
            await_peer(|| producer.peer());
            (0..9).for_each(|_| pause(random));
            match how {
                0 => producer.close().unwrap(),
                1 => producer.abort(),
                _ => drop(producer),
            }
            false
        }
        (Role::Consumer, true) => {
            let mut consumer = ring.into_consumer().unwrap();
            await_peer(|| consumer.peer());
            (0..9).for_each(|_| pause(random));
            match how {
                0 => consumer.close().unwrap(),
                _ => drop(consumer),
            }
            false
        }
        (Role::Producer, false) => {
            let mut producer = ring.into_producer().unwrap();
            let _ = producer.try_write(&[0; CAPACITY]); // it may have closed
            (0..9).for_each(|_| pause(random));
            let error = producer.write(&[0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            producer.stats().sleeps > 0
        }
        (Role::Consumer, false) => {
            let mut consumer = ring.into_consumer().unwrap();
            (0..9).for_each(|_| pause(random));
            match consumer.read(&mut [0]) {
                Ok(len) => assert_eq!(len, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
            }
            consumer.stats().sleeps > 0
        }
    }
}

/// A ring for each round: one side closes it while the other goes to sleep.
#[test]
fn closing_loses_no_wake() {
    alone("parking::closing_loses_no_wake", || {
        set_slice(SLICE);
        let (tally, rounds) = (Tally::new(), parks() / 100);
        let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
        let mut take = |number: usize| rings[number].take().unwrap();
        let plan = |round: u64| {
            let role = [Role::Producer, Role::Consumer][(round & 1) as usize];
            (role, round >> 1 & 1 == 0, (round >> 2) % 3)
        };
        let lead = Fork::new(|| {
            let mut out = take(0).into_producer().unwrap();
            let mut back = take(1).into_consumer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(5), Places::new(0));
            let mut slept = 0;
            for round in 0..rounds {
                places.at(round << 4);
                let ring = options().create_anonymous().unwrap();
                out.write_all(&ring.id().unwrap().raw().to_ne_bytes())
                    .unwrap();
                let (role, closes, how) = plan(round);
                let waits = close_or_park(ring, role, closes, how, &mut random);
                slept += u64::from(waits);
                let mut reply = [0];
                back.read_exact(&mut reply).unwrap();
                slept += u64::from(reply[0]);
                tally.set(0, round + 1);
            }
            println!("rings closed on a sleeper: {slept} of {rounds}");
            assert!(slept > rounds / 20, "{slept} of {rounds} slept");
        });
        let follow = Fork::new(|| {
            let mut inward = take(0).into_consumer().unwrap();
            let mut out = take(1).into_producer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(6), Places::new(1));
            for round in 0..rounds {
                places.at(round << 4);
                let mut id = [0; 4];
                inward.read_exact(&mut id).unwrap();
                let id = SegmentId::from_raw(i32::from_ne_bytes(id)).unwrap();
                let ring = options().attach(id).unwrap();
                let (role, closes, how) = plan(round);
                let waits = close_or_park(ring, role.peer(), !closes, how, &mut random);
                out.write_all(&[u8::from(waits)]).unwrap();
            }
        });
        watch("rings closed", &tally, [lead, follow]);
    });
}

/// Starts `wait` in a thread, and returns once the producer sleeps in it, or it is over.
fn asleep<T: Send + 'static>(
    id: SegmentId,
    wait: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        tell.send(Task::current()).unwrap();
        wait()
    });
    let task = told.recv().unwrap();
    // Once it has said so, it looks once more before it does.
    until(|| sleeps(id, Role::Producer) && task.is_asleep() || thread.is_finished());
    thread
}

/// A writer that sleeps in a full ring is woken for a quarter of it, however
/// little it has to write. Less than that it finds when its time is over.
#[test]
fn a_sleeping_writer_is_woken_for_a_quarter() {
    alone("parking::a_sleeping_writer_is_woken_for_a_quarter", || {
        set_slice(SLICE);
        const QUARTER: usize = CAPACITY / 4;
        let mut bytes = [0; CAPACITY];
        let mut ends = None;
        for_some_time(Duration::from_millis(200), |time| {
            let (mut producer, mut consumer) =
                options().create_anonymous().unwrap().split().unwrap();
            let id = producer.id().unwrap();
            producer.write_all(&[1; CAPACITY]).unwrap();
            let deadline = Instant::now() + time;
            let writer = asleep(id, move || {
                let written = producer.write_all_deadline(&[2], deadline);
                (producer, written, Instant::now())
            });
            assert_eq!(consumer.try_read(&mut bytes[1..QUARTER]), Ok(QUARTER - 1));
            let is_in_time = Instant::now() < deadline;
            let (producer, written, end) = writer.join().unwrap();
            if is_in_time {
                assert_eq!(written, Ok(()));
                assert!(end >= deadline, "it is woken for less than a quarter");
                assert_eq!(consumer.stats().wakes, 0);
                ends = Some((producer, consumer));
            }
            is_in_time
        });
        let (mut producer, mut consumer) = ends.unwrap();
        let id = producer.id().unwrap();

        producer.write_all(&[3; QUARTER - 2]).unwrap(); // full again
        let writer = asleep(id, move || producer.write_all(&[4]));
        assert_eq!(consumer.try_read(&mut bytes[1..QUARTER]), Ok(QUARTER - 1));
        assert_eq!(consumer.stats().wakes, 0);
        assert_eq!(consumer.try_read(&mut bytes[..1]), Ok(1));
        assert_eq!(consumer.stats().wakes, 1);
        writer.join().unwrap().unwrap();

        // A reader that waits for more wakes it for less.
        let (mut producer, mut consumer) = options().create_anonymous().unwrap().split().unwrap();
        let id = producer.id().unwrap();
        producer.write_all(&[5; CAPACITY]).unwrap();
        let writer = asleep(id, move || producer.write_all(&[6]).map(|()| producer));
        assert_eq!(consumer.try_read(&mut bytes[..1]), Ok(1));
        let deadline = Instant::now() + STUCK;
        drop(consumer.peek_deadline(CAPACITY, deadline).unwrap());
        writer.join().unwrap().unwrap();
    });
}
