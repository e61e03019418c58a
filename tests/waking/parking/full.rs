//! Wake-ups by a ring that is full or empty.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::failpoint::set_slice;
use shmpipe::sysv::SegmentId;
use shmpipe::{Consumer, Producer, Role};

use super::{CAPACITY, Places, SLICE, STUCK, Tally, options, parks, pause, policy, watch};
use crate::common::kill::Pattern;
use crate::common::{Fork, Task, alone, for_some_time, sleeps, until};

/// One small ring: the writer parks on a full one, the reader on an empty one.
#[test]
fn full_and_empty_lose_no_wake() {
    alone("parking::full::full_and_empty_lose_no_wake", || {
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
    alone(
        "parking::full::a_sleeping_writer_is_woken_for_a_quarter",
        || {
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
            let (mut producer, mut consumer) =
                options().create_anonymous().unwrap().split().unwrap();
            let id = producer.id().unwrap();
            producer.write_all(&[5; CAPACITY]).unwrap();
            let writer = asleep(id, move || producer.write_all(&[6]).map(|()| producer));
            assert_eq!(consumer.try_read(&mut bytes[..1]), Ok(1));
            let deadline = Instant::now() + STUCK;
            drop(consumer.peek_deadline(CAPACITY, deadline).unwrap());
            writer.join().unwrap().unwrap();
        },
    );
}
