//! A limit is for each wait, a deadline for the whole call; neither is
//! prolonged by a peer that dribbles.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use shmpipe::{PartialError, WaitError};

use crate::common::{PATIENCE, byte_at, check, for_some_time, once_waiting, until};
use crate::{CAPACITY, POLICIES, in_millis, passed, split};

/// Gaps between bytes, longer in all than the limit, of which each has eight.
const GAPS: usize = 10;

#[test]
fn a_limit_is_for_each_wait() {
    let in_time = |moved: io::Result<()>| match moved {
        Err(error) if error.kind() == ErrorKind::TimedOut => false,
        moved => {
            moved.unwrap();
            true
        }
    };
    for_some_time(Duration::from_secs(1), |limit| {
        let (mut producer, mut consumer) = split(Default::default());
        consumer.set_timeout(Some(limit));
        let mut bytes = [0; GAPS];
        let read = thread::scope(|scope| {
            scope.spawn(|| {
                for position in 0..GAPS {
                    thread::sleep(limit / 8);
                    producer.write_all(&[byte_at(1, position as u64)]).unwrap();
                }
            });
            consumer.read_exact(&mut bytes)
        });
        let in_time = in_time(read);
        if in_time {
            check(1, 0, &bytes);
        }
        in_time
    });
    for_some_time(Duration::from_secs(1), |limit| {
        let (mut producer, mut consumer) = split(Default::default());
        producer.set_timeout(Some(limit));
        producer.write_all(&[0; CAPACITY]).unwrap();
        in_time(thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..GAPS {
                    thread::sleep(limit / 8);
                    consumer.read_exact(&mut [0]).unwrap();
                }
            });
            producer.write_all(&[7; GAPS])
        }))
    });
}

/// Lets the peer move a byte each millisecond, without an end, during `call`. Its first
/// try comes before.
fn beside_a_dribbler(mut dribble: impl FnMut() + Send, call: impl FnOnce()) {
    let (tried, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                dribble();
                tried.store(true, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        until(|| tried.load(Ordering::Relaxed));
        call();
        done.store(true, Ordering::Relaxed);
    });
}

/// Not all, and something.
#[track_caller]
fn assert_partly(result: Result<(), PartialError>, len: usize) {
    let partial = result.unwrap_err();
    assert_eq!(partial.cause, WaitError::TimedOut);
    assert!((1..len).contains(&partial.moved), "{partial}");
}

#[test]
fn a_deadline_is_for_the_whole_call() {
    // A byte each millisecond: far more than any test may take.
    const LEN: usize = 1 << 20;
    for policy in POLICIES {
        let (mut producer, mut consumer) = split(policy);
        let bytes = vec![7; LEN];
        beside_a_dribbler(
            || {
                let _ = consumer.try_read(&mut [0]);
            },
            || assert_partly(producer.write_all_deadline(&bytes, in_millis(100)), LEN),
        );

        let (mut producer, mut consumer) = split(policy);
        let mut bytes = vec![0; LEN];
        beside_a_dribbler(
            || {
                let _ = producer.try_write(b"x");
            },
            || {
                assert_partly(
                    consumer.read_exact_deadline(&mut bytes, in_millis(100)),
                    LEN,
                )
            },
        );
    }
}

#[test]
fn a_write_with_a_deadline_writes_what_there_is_room_for() {
    for policy in POLICIES {
        let (mut producer, mut consumer) = split(policy);
        let all = [7; 2 * CAPACITY];
        assert_eq!(producer.write_deadline(&all, in_millis(10)), Ok(CAPACITY));
        assert_eq!(producer.write_deadline(&[], passed()), Ok(0));
        let partial = producer.write_deadline(&all, in_millis(10)).unwrap_err();
        assert_eq!((partial.moved, partial.cause), (0, WaitError::TimedOut));
        let deadline = std::time::Instant::now() + PATIENCE;
        let (written, ()) = once_waiting(
            || producer.write_deadline(&all, deadline),
            |_| consumer.read_exact(&mut [0; 9]).unwrap(),
        );
        assert_eq!(written, Ok(9));
    }
}

/// A peer that moves a byte whenever the last one is gone, as fast as it can:
/// each look finds one. After the deadline there is one look.
#[test]
fn a_deadline_that_has_passed_leaves_one_look() {
    const LEN: usize = 1000;
    const MOST: usize = 3; // found by the look, or while it was read
    for policy in POLICIES {
        let (mut producer, mut consumer) = split(policy);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if producer.room() == Ok(CAPACITY) {
                        producer.try_write(b"x").unwrap();
                    }
                }
            });
            let mut bytes = [0; LEN];
            for _ in 0..300 {
                if let Err(partial) = consumer.read_exact_deadline(&mut bytes, passed())
                    && partial.moved <= MOST
                {
                    continue;
                }
                done.store(true, Ordering::Relaxed);
                panic!("{policy:?}: it went on after the deadline");
            }
            done.store(true, Ordering::Relaxed);
        });

        let (mut producer, mut consumer) = split(policy);
        producer.write_all(&[0; CAPACITY]).unwrap();
        done.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if consumer.available() == Ok(CAPACITY) {
                        consumer.try_read(&mut [0]).unwrap();
                    }
                }
            });
            for _ in 0..300 {
                if let Err(partial) = producer.write_all_deadline(&[7; LEN], passed())
                    && partial.moved <= MOST
                {
                    continue;
                }
                done.store(true, Ordering::Relaxed);
                panic!("{policy:?}: it went on after the deadline");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
